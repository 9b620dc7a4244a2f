package main

import (
	"slices"
	"strings"
	"testing"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

func TestThePolicyOfARead(t *testing.T) {
	codes, limits, err := (&readPolicy{refuse: []string{"column_constant", "LIMIT_AMBIGUOUS", "COLUMN_CONSTANT"}, limits: "lift"}).parse()
	want := []pb.FindingCode{pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT, pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS}
	if err != nil || !slices.Equal(codes, want) || limits != pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS {
		t.Errorf("the flags say %v, %v, %v", codes, limits, err)
	}
	for _, p := range []readPolicy{{refuse: []string{"NOPE"}}, {refuse: []string{"UNSPECIFIED"}}, {refuse: []string{""}}, {limits: "both"}} {
		if _, _, err := p.parse(); err == nil || !strings.Contains(err.Error(), "allowed are") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestAConnectionNamesFindingsByTheirCodes(t *testing.T) {
	c, err := parseConnection([]byte(`{"displayName": "P", "refuseFindings": ["column_constant", "FINDING_CODE_LIMIT_AMBIGUOUS"]}`))
	if err != nil || c.GetDisplayName() != "P" || len(c.GetRefuseFindings()) != 2 || c.GetRefuseFindings()[0] != pb.FindingCode_FINDING_CODE_COLUMN_CONSTANT {
		t.Errorf("the connection is %v, %v", c, err)
	}
	for text, want := range map[string]string{
		`{"refuseFindings": ["NOPE"]}`:                 `"NOPE"`,
		`{"refuseFindings": "COLUMN_CONSTANT"}`:        "list",
		`{"refuseFinding": []}`:                        `unknown field "refuseFinding"`,
		`{"displayName": 7}`:                           "the field displayName",
		`{"sigma": {"clientSecret": {"a": "s3cret"}}}`: "another type",
		`{"sigma": "field s3cret"}`:                    "another type",
		`{"sigma": {"timezone": "s3cret"}}`:            `unknown field "timezone"`,
		`{"sigma": "x: unknown field \"s3cret\""}`:     "another type",
		`{"warehouse": {"snowflake": {"secondaryRoles": "NONE", "password": "s3cret"}}}`: "the field secondaryRoles",
		`not JSON with a s3cret`:                          "JSON object",
		`{"sigma": {"clientSecrets": "s3cret"}, "x": "y"`: "JSON object",
	} {
		if _, err := parseConnection([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
