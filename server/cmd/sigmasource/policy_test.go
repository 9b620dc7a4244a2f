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
