package connections

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// maxCandidates is the maximum number of time zones that a check names.
const maxCandidates = 10

// checkTimeZone compares the connection's time zone with the dates that scans have seen
// in Sigma's SQL.
func checkTimeZone(link *Link, stored []store.ZoneOffset) *pb.Check {
	const kind = pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE
	name := link.Connection.GetSigma().GetTimeZone()
	facts := map[string]string{"dates": strconv.Itoa(len(stored))}
	if name != "" {
		facts["time_zone"] = name
	}
	if len(stored) == 0 {
		unproven := "no scan has seen a date in Sigma's SQL that shows the organization's time zone; set sigma.time_zone to the account time zone of the organization (in Sigma: Administration, Account)"
		if name != "" {
			unproven = "no scan has seen a date in Sigma's SQL to compare with sigma.time_zone, " + name + "; make sure that it is the account time zone of the organization (in Sigma: Administration, Account)"
		}
		return &pb.Check{Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_SKIPPED, Facts: facts,
			Message: unproven}
	}
	offsets := make([]sigmasql.ZoneOffset, len(stored))
	for i, offset := range stored {
		offsets[i] = sigmasql.ZoneOffset(offset)
	}
	candidates := model.Zones(offsets)
	suggestion := "no time zone has the offsets of all of them, as after a change of the time zone in Sigma; start a full scan, and check again"
	if len(candidates) > 0 {
		facts["candidates"] = strings.Join(candidates[:min(len(candidates), maxCandidates)], ",")
		suggestion = "they agree with " + strings.ReplaceAll(facts["candidates"], ",", ", ")
	}
	if name == "" {
		check := warned(kind, "sigma.time_zone is not set, so queries run in UTC; set it to the account time zone of the organization. Of the dates in Sigma's SQL, "+suggestion)
		check.Facts = facts
		return check
	}
	disagree := len(slices.DeleteFunc(offsets, func(o sigmasql.ZoneOffset) bool { return model.Agrees(link.TimeZone, o) }))
	if disagree == 0 {
		return passed(kind, fmt.Sprintf("%d dates in Sigma's SQL agree with the time zone", len(stored)), facts)
	}
	check := &pb.Check{
		Kind: kind, Outcome: pb.CheckOutcome_CHECK_OUTCOME_FAIL, Reason: pb.ErrorReason_ERROR_REASON_TIME_ZONE_MISMATCH, Facts: facts,
		Message: fmt.Sprintf("%d of %d dates in Sigma's SQL have another offset than the time zone %s; set sigma.time_zone to the account time zone of the organization. Of all dates, %s", disagree, len(stored), name, suggestion),
	}
	if link.ModelOptions().AllowTimeZoneMismatch {
		check.Outcome = pb.CheckOutcome_CHECK_OUTCOME_WARN
	}
	return check
}
