package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// readPolicy are the flags of the commands that read or check a model.
type readPolicy struct {
	refuse   []string
	limits   string
	columns  []string
	bookmark string
}

func (p *readPolicy) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&p.columns, "column", nil, "a column to read, by Sigma's column id or label; repeatable (default: all)")
	cmd.Flags().StringArrayVar(&p.refuse, "refuse", nil, "a finding that refuses the read before any row, such as COLUMN_CONSTANT; repeatable")
	cmd.Flags().StringVar(&p.bookmark, "bookmark", "", "the id of a saved view of the workbook, whose filters and controls apply (default: the connection's, or the published state)")
	cmd.Flags().StringVar(&p.limits, "limit-policy", "", "what becomes of limits that can be Sigma's or the author's: keep or lift (default: by number and place)")
}

// findings returns the codes of --refuse.
func (p *readPolicy) findings() ([]pb.FindingCode, error) {
	var codes []pb.FindingCode
	for _, name := range p.refuse {
		code, ok := pb.FindingCode_value["FINDING_CODE_"+strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(name)), "FINDING_CODE_")]
		if !ok || code == 0 {
			return nil, fmt.Errorf("no finding has the code %q; allowed are %s", name, strings.Join(findingNames(), ", "))
		}
		if !slices.Contains(codes, pb.FindingCode(code)) {
			codes = append(codes, pb.FindingCode(code))
		}
	}
	return codes, nil
}

// limitPolicy returns the policy of --limit-policy.
func (p *readPolicy) limitPolicy() (pb.LimitPolicy, error) {
	switch strings.TrimSuffix(strings.ToLower(p.limits), "_ambiguous") {
	case "":
		return pb.LimitPolicy_LIMIT_POLICY_UNSPECIFIED, nil
	case "keep":
		return pb.LimitPolicy_LIMIT_POLICY_KEEP_AMBIGUOUS, nil
	case "lift":
		return pb.LimitPolicy_LIMIT_POLICY_LIFT_AMBIGUOUS, nil
	}
	return 0, fmt.Errorf("--limit-policy %s: allowed are keep and lift", p.limits)
}

// parse returns what both flags say.
func (p *readPolicy) parse() ([]pb.FindingCode, pb.LimitPolicy, error) {
	codes, err := p.findings()
	if err != nil {
		return nil, 0, err
	}
	limits, err := p.limitPolicy()
	return codes, limits, err
}

func findingNames() []string {
	var names []string
	for number := range int32(len(pb.FindingCode_name)) {
		if name, ok := pb.FindingCode_name[number]; ok && number != 0 {
			names = append(names, strings.TrimPrefix(name, "FINDING_CODE_"))
		}
	}
	return names
}
