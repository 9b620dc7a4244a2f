package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// places put a value into a column, alone or inside of another value. %s is the
// value in the third row of five; the other rows hold a NULL in its place.
var places = []struct{ name, sql string }{
	{"alone", "%s"},
	{"in a list", "[%s]"},
	{"in a struct", "{'a': 1, 'b': %s}"},
	{"as the value of a map", "MAP {'key': %s}"},
	{"as the key of a map", "CASE WHEN i = 2 THEN MAP {coalesce(%[1]s, %[2]s): 1} END"},
	{"in an array", "array_value(%s)"},
	{"in a list in a struct", "{'a': [%s]}"},
	{"in a struct in a map in a list", "[MAP {'key': {'a': %s}}]"},
}

// refused stands for a value that is refused by its column and row, and
// refusedType for one whose column is refused.
const (
	refused     = "refused"
	refusedType = "refused type"
)

// verdicts are values at the borders of what DuckDB's types and Arrow's have in
// common: what comes of them alone, and what is inside of the JSON of the others.
var verdicts = []struct{ sql, alone, nested string }{
	{"TIME '24:00:00'", refused, refused},
	{"TIME '23:59:59.999999'", "23:59:59.999999", `"23:59:59.999999"`},
	{"TIME '00:00:00'", "00:00:00", `"00:00:00"`},
	{"TIME_NS '23:59:59.999999999'", "23:59:59.999999999", `"23:59:59.999999999"`},
	{"TIME_NS '24:00:00'", refused, refused},
	{"TIMETZ '12:00:00+02'", refusedType, refusedType},
	{"DATE 'infinity'", refused, refused},
	{"DATE '-infinity'", refused, refused},
	{"DATE '9999-12-31'", "9999-12-31", `"9999-12-31"`},
	{"DATE '10000-01-01'", "+10000-01-01", `"10000-01-01"`},
	{"DATE '5881580-07-10'", "+5881580-07-10", `"5881580-07-10"`},
	{"DATE '0001-01-01'", "0001-01-01", `"0001-01-01"`},
	{"DATE '0001-12-31 (BC)'", "0000-12-31", `"0001-12-31 (BC)"`},
	{"DATE '0044-03-15 (BC)'", "-0043-03-15", `"0044-03-15 (BC)"`},
	{"DATE '5877642-06-25 (BC)'", "-5877641-06-25", `"5877642-06-25 (BC)"`},
	{"TIMESTAMP 'infinity'", refused, refused},
	{"TIMESTAMP '-infinity'", refused, refused},
	{"TIMESTAMP_S 'infinity'", refused, refused},
	{"TIMESTAMP_MS '-infinity'", refused, refused},
	{"TIMESTAMP_NS 'infinity'", refused, refused},
	{"TIMESTAMP '0044-03-15 (BC) 01:02:03.5'", "-0043-03-15T01:02:03.5", `"0044-03-15 (BC) 01:02:03.5"`},
	{"TIMESTAMP '10000-01-01 00:00:00'", "+10000-01-01T00:00:00", `"10000-01-01 00:00:00"`},
	{"TIMESTAMP '294247-01-10 04:00:54.775806'", "+294247-01-10T04:00:54.775806", `"294247-01-10 04:00:54.775806"`},
	{"TIMESTAMP_NS '2262-04-11 23:47:16.854775806'", "2262-04-11T23:47:16.854775806", `"2262-04-11 23:47:16.854775806"`},
	{"TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'", "9999-12-31T23:59:59.999999Z", `"9999-12-31 23:59:59.999999+00"`},
	{"TIMESTAMPTZ '10000-01-01 00:00:00+00'", refused, `"10000-01-01 00:00:00+00"`},
	{"TIMESTAMPTZ '0001-01-01 00:00:00+00'", "0001-01-01T00:00:00Z", `"0001-01-01 00:00:00+00"`},
	{"TIMESTAMPTZ '0001-12-31 (BC) 23:59:59+00'", refused, `"0001-12-31 (BC) 23:59:59+00"`},
	{"TIMESTAMPTZ 'infinity'", refused, refused},
	{"'nan'::DOUBLE", "NaN", refused},
	{"'inf'::DOUBLE", "+Inf", refused},
	{"'-inf'::FLOAT", "-Inf", refused},
	{"'170141183460469231731687303715884105727'::HUGEINT", refused, "170141183460469231731687303715884105727"},
	{"'-99999999999999999999999999999999999999'::HUGEINT", "-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"},
	{"'340282366920938463463374607431768211455'::UHUGEINT", refused, "340282366920938463463374607431768211455"},
	{"INTERVAL '1 year -3 days 04:05:06.7'", `"1 year -3 days 04:05:06.7"`, `"1 year -3 days 04:05:06.7"`},
	{"INTERVAL '25:00:00'", `"25:00:00"`, `"25:00:00"`},
	{"'101'::BIT", refusedType, refusedType},
	{"'12345678901234567890123456789012345678901234567890'::BIGNUM", refusedType, refusedType},
	{"union_value(num := 1)", refusedType, refusedType},
	{"'1'::VARIANT", refusedType, refusedType},
	{`'{"a":NaN}'::JSON`, refused, refused},
	{`'[1,2,]'::JSON`, refused, refused},
	{`'[-Infinity]'::JSON`, refused, refused},
	{`'{"a": 1}'::JSON`, `{"a":1}`, `{"a":1}`},
}

// A value arrives exactly or is refused by name, and it makes no difference in
// what form the rows are sent.
func TestAValueHasTheSameVerdictEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(``, ``)
	w.create(duckdbName, w.duckdbConnection())
	for i, value := range verdicts {
		if i%10 > 0 && fewerIfRaced(10) < 10 {
			continue
		}
		t.Run(value.sql, func(t *testing.T) {
			for i, place := range places {
				want := value.nested
				if i == 0 {
					want = value.alone
				}
				if place.name == "as the key of a map" && strings.HasSuffix(value.sql, "JSON") {
					continue // JSON is the text of a key, whatever it holds
				}
				typed := fmt.Sprintf("CASE WHEN i = 2 THEN %s END", value.sql)
				column := fmt.Sprintf(strings.ReplaceAll(place.sql, "%s", "%[1]s"), typed)
				if strings.Contains(place.sql, "%[2]s") {
					column = fmt.Sprintf(place.sql, typed, value.sql)
				}
				model := w.model(duckdbName, `select i "No", `+column+` "The Value" from range(5) t(i) order by i`)
				w.wantVerdict(t, place.name, model, want)
			}
		})
	}
}

// wantVerdict reads a model in both forms, as a preview and as a session.
func (w *world) wantVerdict(t *testing.T, place, model, want string) {
	t.Helper()
	for _, format := range formats {
		r, err := w.preview(w.ctx, &pb.PreviewModelRequest{Name: model, Format: format})
		if want == refused || want == refusedType {
			if status.Code(err) != codes.FailedPrecondition {
				t.Errorf("%s, %s: ended with %v", place, format, err)
				continue
			}
			facts := wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED)
			if facts["column"] != "The Value" || want == refused && facts["row"] != "3" || r.stats != nil {
				t.Errorf("%s, %s: the facts are %v", place, format, facts)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s, %s: %v", place, format, err)
			continue
		}
		rows := r.table(t)
		got := rows[2][1]
		if place != "alone" {
			bare := strings.Trim(want, `"`)
			if !strings.Contains(got, want) && !strings.Contains(got, `"`+bare+`":1`) {
				t.Errorf("%s, %s: %s does not hold %s", place, format, got, want)
			}
		} else if signless := strings.TrimPrefix(want, "+"); got != want && (format == pb.DataFormat_DATA_FORMAT_ROWS || got != signless) {
			t.Errorf("%s, %s: %s instead of %s", place, format, got, want)
		}
		if len(rows) != 5 || !slices.Equal([]string{rows[0][0], rows[4][0]}, []string{"0", "4"}) {
			t.Errorf("%s, %s: the rows are %q", place, format, rows)
		}
	}
}

// The rows of a session go through the spool, and are refused as those of a
// preview are.
func TestAValueHasTheSameVerdictInASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sigmatest.Organization{}, snowflaketest.Config{})
	w.fill(``, ``)
	w.create(duckdbName, w.duckdbConnection())
	for _, column := range []string{"TIME '24:00:00'", "[TIME '24:00:00']", "TIMESTAMPTZ '10000-01-01 00:00:00+00'", "'[1,]'::JSON", "['[1,]'::JSON]"} {
		for _, format := range formats {
			session := w.session(&pb.CreateReadSessionRequest{Name: w.model(duckdbName, `select `+column+` "The Value"`), Format: format})
			_, err := w.readStream(w.ctx, session.GetStreams()[0].GetName(), 0)
			wantError(t, err, codes.FailedPrecondition, pb.ErrorReason_ERROR_REASON_VALUE_UNSUPPORTED)
			if message := status.Convert(err).Message(); !strings.Contains(message, `column "The Value", row 1`) {
				t.Errorf("%s, %s: %s", column, format, message)
			}
		}
	}
}
