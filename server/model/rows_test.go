package model_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// Texts of Sigma's about which more than the tables decides.
const (
	ownersComment = "\n\n-- Sigma Σ {\"request-id\":\"5f0c1d6e\",\"email\":\"sync@example.com\"}"
	daysInApril   = `select DATETRUNC_3 "Day", COUNT_4 "Orders" from (select date_trunc(day, ORDERED_AT::timestamp_ltz) DATETRUNC_3, count(1) COUNT_4 from SHOP.SALES.T
where date_trunc(day, ORDERED_AT::timestamp_ltz) >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')
and date_trunc(day, ORDERED_AT::timestamp_ltz) <= to_timestamp_ltz('2026-04-02T23:59:59.999000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') group by DATETRUNC_3) Q1 limit 1000`
	joinedBack = `select S "Status", COUNT_9 "Count", ID "Id" from (select Q3.ID ID, Q3.S S, Q6.COUNT_9 COUNT_9 from (select ID, S from SHOP.CRM.T limit 1000) Q3 left join (select count(ID) COUNT_9, S S_2 from SHOP.CRM.T group by S) Q6 on equal_null(Q3.S, Q6.S_2)) Q8 limit 1000`
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// element is an element with a text, and columns whose labels and formulas Sigma lists.
func element(sql string, specs ...string) model.Element {
	return model.Element{Name: "m", Query: sigmaclient.Query{SQL: sql}, Columns: columns(specs...)}
}

// found returns a model's findings as "CODE severity key=value …", without those about limits and about columns that are
// listed or not.
func found(m *model.Model) []string {
	_, findings, _ := m.CatalogState()
	list := []string{}
	for _, f := range findings {
		name := strings.TrimPrefix(f.GetCode().String(), "FINDING_CODE_")
		if strings.Contains(name, "LIMIT") || strings.HasSuffix(name, "_IN_SQL") || strings.HasSuffix(name, "_UNLISTED") || name == "LITERAL_FROZEN" {
			continue
		}
		text := name + " " + strings.ToLower(strings.TrimPrefix(f.GetSeverity().String(), "FINDING_SEVERITY_"))
		for _, key := range slices.Sorted(maps.Keys(f.GetMetadata())) {
			text += " " + key + "=" + f.GetMetadata()[key]
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func wantFound(t *testing.T, name string, m *model.Model, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, found(m)); diff != "" {
		t.Errorf("%s: findings (-want +got):\n%s", name, diff)
	}
}

func reasonOf(err error) pb.ErrorReason {
	var refused *errmap.Error
	if !errors.As(err, &refused) {
		return pb.ErrorReason_ERROR_REASON_UNSPECIFIED
	}
	return refused.Reason
}

// Trap 1: the account time zone.
func TestTheTimeZoneOfTheConnectionIsHeldAgainstTheText(t *testing.T) {
	const (
		eastern = "America/New_York,America/Toronto,"
		ntz     = `select ID "Id" from SHOP.SALES.T where ORDERED_AT >= to_timestamp_ntz('2026-04-01 00:00:00.000000000', 'YYYY-MM-DD HH24:MI:SS.FF9') limit 1000`
		instant = `select ID "Id" from SHOP.SALES.T where ORDERED_AT >= to_timestamp_ltz('2026-04-01T00:00:00.000000000-04:00', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') limit 1000`
		due     = `select D::timestamp_ltz "Due" from SHOP.SALES.T limit 1000`
	)
	utc, newYork, berlin := zone(t, "UTC"), zone(t, "America/New_York"), zone(t, "Europe/Berlin")
	for _, test := range []struct {
		name    string
		sql     string
		zone    *time.Location
		allow   bool
		want    string // the finding's beginning, or empty
		refused bool
	}{
		{name: "right", sql: daysInApril, zone: newYork},
		{name: "right by another name", sql: daysInApril, zone: zone(t, "America/Detroit")},
		{name: "wrong", sql: daysInApril, zone: utc, want: "TIME_ZONE_MISMATCH error candidates=" + eastern, refused: true},
		{name: "east of UTC", sql: daysInApril, zone: berlin, want: "TIME_ZONE_MISMATCH error candidates=" + eastern, refused: true},
		{name: "wrong and allowed", sql: daysInApril, zone: utc, allow: true, want: "TIME_ZONE_MISMATCH warning candidates=" + eastern},
		{name: "not set", sql: daysInApril, want: "TIME_ZONE_UNKNOWN warning candidates=" + eastern},
		{name: "not set, without dates", sql: due, want: "TIME_ZONE_UNKNOWN warning"},
		{name: "set, without dates", sql: due, zone: berlin},
		{name: "zone-less column, not set", sql: ntz},
		{name: "zone-less column", sql: ntz, zone: utc},
		{name: "aware column, not set", sql: instant},
		{name: "aware column, wrong", sql: instant, zone: utc},
	} {
		m := model.Assess(element(test.sql, "Id=[T/ID]"), model.Options{TimeZone: test.zone, AllowTimeZoneMismatch: test.allow})
		got := strings.Join(found(m), "; ")
		if !strings.HasPrefix(got, test.want) || test.want == "" && got != "" {
			t.Errorf("%s: findings %q, want %q", test.name, got, test.want)
		}
		if reason := reasonOf(m.RequireFull()); (reason == pb.ErrorReason_ERROR_REASON_TIME_ZONE_MISMATCH) != test.refused {
			t.Errorf("%s: a full read is refused with %s", test.name, reason)
		}
		if state, _, problem := m.CatalogState(); state != pb.ModelState_MODEL_STATE_READY || m.Problem() != nil {
			t.Errorf("%s: a preview is refused: %s, %v", test.name, state, problem)
		}
	}
	m := model.Assess(element(daysInApril), model.Options{TimeZone: utc})
	var refused *errmap.Error
	if errors.As(m.RequireFull(), &refused); refused.Metadata["time_zone"] != "UTC" || !strings.HasPrefix(refused.Metadata["candidates"], eastern) {
		t.Errorf("the facts are %v", refused.Metadata)
	}
}

// Offsets rule zones out; those of both halves of a year leave few.
func TestZonesAreThoseThatHaveAllOffsets(t *testing.T) {
	offset := func(date string, hours float64) sigmasql.ZoneOffset {
		return sigmasql.ZoneOffset{Date: date, Seconds: int(hours * 3600)}
	}
	for _, test := range []struct {
		name    string
		offsets []sigmasql.ZoneOffset
		first   string // the most common one; empty where there is none
		without string
	}{
		{"nothing known", nil, "UTC", ""},
		{"London's winter", []sigmasql.ZoneOffset{offset("2026-01-15", 0)}, "UTC", "Europe/Berlin"},
		{"London's year", []sigmasql.ZoneOffset{offset("2026-01-15", 0), offset("2026-07-15", 1)}, "Europe/London", "UTC"},
		{"New York's summer", []sigmasql.ZoneOffset{offset("2026-07-15", -4)}, "America/New_York", "America/Chicago"},
		{"both sides of New York's change", []sigmasql.ZoneOffset{offset("2026-03-08", -5), offset("2026-03-08", -4)}, "America/New_York", "Europe/London"},
		{"India", []sigmasql.ZoneOffset{offset("2026-03-08", 5.5)}, "Asia/Kolkata", "Asia/Kathmandu"},
		{"a change of the zone", []sigmasql.ZoneOffset{offset("2026-01-15", -5), offset("2026-01-16", 1)}, "", "UTC"},
		{"no date", []sigmasql.ZoneOffset{offset("2026-13-45", -5)}, "UTC", ""},
		{"no zone's", []sigmasql.ZoneOffset{offset("2026-01-15", 3.2)}, "", "UTC"},
	} {
		got := model.Zones(test.offsets)
		if first := strings.Join(got[:min(len(got), 1)], ""); first != test.first || slices.Contains(got, test.without) {
			t.Errorf("%s: zones %q, want %q first, and not %q", test.name, got, test.first, test.without)
		}
	}
	if got := len(model.Zones(nil)); got < 300 {
		t.Errorf("%d zones are known", got)
	}
}

// A zone agrees with each offset that it has, on every day and at every time of the day, and with no other.
func TestZonesAgreeWithTheirOwnOffsets(t *testing.T) {
	for _, name := range []string{"UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"} {
		zone := zone(t, name)
		for hour := range 366 * 24 {
			at := time.Date(2026, 1, 1, hour, 30, 0, 0, time.UTC).In(zone)
			_, seconds := at.Zone()
			offset := sigmasql.ZoneOffset{Date: at.Format(time.DateOnly), Seconds: seconds}
			if !model.Agrees(zone, offset) {
				t.Fatalf("%s disagrees with %v", name, offset)
			}
			if offset.Seconds += 7 * 3600; model.Agrees(zone, offset) {
				t.Fatalf("%s agrees with %v", name, offset)
			}
		}
	}
}

// A filter from 1900 or until 9999, as people write for all time, says nothing about the zone.
func TestFarDatesRuleNoZoneOut(t *testing.T) {
	for name, dates := range map[string][]string{
		"Asia/Kolkata":     {"1900-01-01T00:00:00.000000000+05:53", "1900-01-01T00:00:00.000000000+05:30", "2026-04-01T00:00:00.000000000+05:30"},
		"Europe/Amsterdam": {"1900-01-01T00:00:00.000000000+00:19", "1900-01-01T00:00:00.000000000+01:00", "2026-07-01T00:00:00.000000000+02:00"},
		"America/New_York": {"0001-01-01T00:00:00.000000000-04:56", "1900-01-01T00:00:00.000000000-05:00", "2099-07-01T00:00:00.000000000-05:00", "9999-07-01T00:00:00.000000000-04:00"},
	} {
		for _, date := range dates {
			sql := `select DAY_1 "Day" from (select date_trunc(day, SINCE::timestamp_ltz) DAY_1 from SHOP.CRM.DEALS where SINCE >= to_timestamp_ltz('` + date + `', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM') limit 1000) Q1 limit 1000`
			m := model.Assess(element(sql), model.Options{TimeZone: zone(t, name)})
			if got := found(m); len(got) > 0 || m.RequireFull() != nil {
				t.Errorf("%s, %s: findings %q, refused: %v", name, date, got, m.RequireFull())
			}
			if unset := model.Assess(element(sql), model.Options{}); strings.Contains(strings.Join(found(unset), " "), "candidates") != strings.HasPrefix(date, "2026") {
				t.Errorf("%s: findings %q", date, found(unset))
			}
		}
	}
}

// Trap 2: whose rows.
func TestRulesOfTheOwnerAreFound(t *testing.T) {
	const (
		deals    = `select ID "Id", REP "Rep" from (select ID, REP from SHOP.CRM.DEALS where REP = 'sync@example.com' limit 1000) Q1 limit 1000`
		others   = `select ID "Id", REP "Rep" from (select ID, REP from SHOP.CRM.DEALS where REP = 'ana@example.com' limit 1000) Q1 limit 1000`
		noRows   = `select ID "Id" from SHOP.CRM.DEALS where false limit 1000`
		evidence = "ROWS_OF_OWNER warning evidence="
	)
	m := model.Assess(element(deals+ownersComment, "Id=[D/ID]", "Rep=[D/REP]"), model.Options{})
	wantFound(t, "address", m, evidence+"email")
	if _, findings, _ := m.CatalogState(); strings.Contains(fmt.Sprint(findings), "example.com") {
		t.Errorf("an address is in %v", findings)
	}
	wantFound(t, "somebody else's address", model.Assess(element(others+ownersComment, "Id=[D/ID]", "Rep=[D/REP]"), model.Options{}))

	rules := element(noRows, "Id=[D/ID]", `In=CurrentUserInTeam("Sales")`)
	m = model.Assess(rules, model.Options{})
	wantFound(t, "formula", m, evidence+"formula")
	if _, findings, _ := m.CatalogState(); !m.OwnerRulesApply() || !strings.Contains(fmt.Sprint(findings), "no row pass") {
		t.Errorf("rules apply: %v, %v", m.OwnerRulesApply(), findings)
	}
	upstream := element(noRows, "Id=[D/ID]")
	upstream.UpstreamFormulas = []string{"[A] + 1", `[Rep] = currentuseremail()`}
	wantFound(t, "formula upstream", model.Assess(upstream, model.Options{}), evidence+"formula")

	custom := element(others, "Id=[D/ID]", "Rep=[D/REP]")
	custom.CustomSQL = []string{"select 1", "select * from T where R = {{ system::CurrentUserEmail }}"}
	wantFound(t, "custom SQL", model.Assess(custom, model.Options{}), evidence+"custom_sql")

	harmless := element(noRows, "Id=[D/ID]", `Note="CurrentUserEmail()"`, "Now=CurrentTimezone()")
	m = model.Assess(harmless, model.Options{})
	wantFound(t, "words in a text", m)
	if m.OwnerRulesApply() {
		t.Error("rules apply without evidence")
	}
	unknown := element(noRows, "Id=[D/ID]")
	unknown.UpstreamErr = &sigmaclient.Error{Kind: sigmaclient.KindForbidden, Status: 403, Code: "forbidden", RequestID: "r", Call: "GET /v2/dataModels/{}/columns"}
	m = model.Assess(unknown, model.Options{})
	wantFound(t, "rules that cannot be seen", m, "ROWS_OF_OWNER info sigma_call=GET /v2/dataModels/{}/columns sigma_code=forbidden sigma_request_id=r sigma_status=403")
	if m.OwnerRulesApply() {
		t.Error("rules apply that are not known")
	}
}

// Trap 2: column-level security.
func TestRestrictedColumnsAreTreatedLikeBrokenOnes(t *testing.T) {
	for _, test := range []struct {
		name, sql string
		list      []string
		want      string
	}{
		{"constant", `select ID "Id", 'No access' "Restricted" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]"}, `"Restricted"`},
		{"constants below", `select ID "Id", V_1 "Restricted", V_2 "Restricted (1)" from (select ID, 'No access'::text V_1, null::text V_2 from SHOP.A.T) Q limit 1000`, []string{"Id=[T/ID]"}, `"Restricted", "Restricted (1)"`},
		{"constant with the column's own name", `select ID "Id", 'No access' "Salary" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", "Salary=[T/SALARY]"}, `"Salary"`},
		{"null in the place of a source's column", `select ID "Id", null::text "Salary" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", "Salary=[T/SALARY]"}, `"Salary"`},
		{"null by way of another column", `select ID "Id", null::text "Pay" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", "Salary=[T/SALARY]", "Pay=[Salary]"}, `"Pay"`},
		{"author's constant", `select ID "Id", 'No access' "Note" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", `Note="No access"`}, ""},
		{"author's null", `select ID "Id", null::text "Note" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", `Note=Null`}, ""},
		{"control without a value", `select ID "Id", null::text "Note" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", `Note=[Region]`}, ""},
		{"level of a pivot", `select null::text "Quarter", sum(AMOUNT) "Total" from SHOP.A.T limit 1000`, []string{"Quarter=[T/QUARTER]", "Total=Sum([T/AMOUNT])"}, ""},
		{"column of that name", `select ID "Id", RESTRICTED "Restricted" from SHOP.A.T limit 1000`, []string{"Id=[T/ID]", "Restricted=[T/RESTRICTED]"}, ""},
		{"constant in a filter", `select ID "Id" from SHOP.A.T where A = 'No access' limit 1000`, []string{"Id=[T/ID]"}, ""},
	} {
		m := model.Assess(element(test.sql, test.list...), model.Options{})
		want := []string{}
		if test.want != "" {
			want = append(want, "COLUMN_RESTRICTED error columns="+test.want)
		}
		if diff := cmp.Diff(want, found(m)); diff != "" {
			t.Errorf("%s: findings (-want +got):\n%s", test.name, diff)
		}
		state, _, problem := m.CatalogState()
		isBroken := test.want != ""
		if (state == pb.ModelState_MODEL_STATE_BROKEN) != isBroken || (reasonOf(problem) == pb.ErrorReason_ERROR_REASON_MODEL_BROKEN) != isBroken {
			t.Errorf("%s: %s, %v", test.name, state, problem)
		}
		read := model.Assess(element(test.sql, test.list...), model.Options{})
		if err := read.RequireUnbroken([]string{"Id"}); err != nil {
			t.Errorf("%s: the other column is refused: %v", test.name, err)
		}
		isLeftOut := slices.ContainsFunc(read.Findings.All(), func(f *pb.Finding) bool { return f.GetCode() == pb.FindingCode_FINDING_CODE_COLUMN_LEFT_OUT })
		if isLeftOut != isBroken {
			t.Errorf("%s: findings of a read of the other column: %v", test.name, read.Findings.All())
		}
		if err := read.RequireUnbroken(nil); (err != nil) != isBroken {
			t.Errorf("%s: the whole ends with %v", test.name, err)
		}
	}
}

// Trap 3: whose warehouse role.
func TestRolesAreCompared(t *testing.T) {
	const sql = `select ID "Id" from SHOP.A.T limit 1000`
	for _, test := range []struct {
		name    string
		sigma   model.SigmaRole
		session *model.Session
		want    []string
	}{
		{"equal", model.SigmaRole{Name: "bi"}, &model.Session{Role: "BI"}, nil},
		{"different", model.SigmaRole{Name: "BI"}, &model.Session{Role: "SYNC"}, []string{"ROLE_DIFFERS info role=SYNC sigma_role=BI"}},
		{"unknown in Sigma", model.SigmaRole{}, &model.Session{Role: "SYNC"}, nil},
		{"unknown here", model.SigmaRole{Name: "BI"}, nil, nil},
		{"warehouse without roles", model.SigmaRole{Name: "BI"}, &model.Session{}, nil},
		{"of each viewer", model.SigmaRole{Name: "SYNC", PerViewer: "oauth"}, &model.Session{Role: "SYNC"}, []string{"ROLE_PER_VIEWER warning cause=oauth role=SYNC"}},
		{"of each viewer, in a scan", model.SigmaRole{PerViewer: "user_attribute"}, nil, []string{"ROLE_PER_VIEWER warning cause=user_attribute"}},
	} {
		e := element(sql, "Id=[T/ID]")
		e.Role = test.sigma
		m := model.Assess(e, model.Options{Session: test.session})
		wantFound(t, test.name, m, test.want...)
		m.SetPolicyTables(nil)
		wantFound(t, test.name, m, test.want...)
		m.SetPolicyTables([]string{"SHOP.A.T"})
		for i := range test.want {
			test.want[i] = strings.Replace(test.want[i], "ROLE_DIFFERS info", "ROLE_DIFFERS warning", 1)
		}
		wantFound(t, test.name+", under policies", m, test.want...)
	}
}

// Trap 4: the grain.
func TestRepeatedValuesAreNamedWithTheirKeys(t *testing.T) {
	m := model.Assess(element(joinedBack, "Status=[T/S]", "Count=Count([T/ID])", "Id=[T/ID]"), model.Options{})
	wantFound(t, "joined back", m, `GRAIN_REPEATED warning columns="Count" keys="Status"`)
	if diff := cmp.Diff(model.Grain{Repeated: []string{"Count"}, Keys: []string{"Status"}, Group: []string{"Status", "Count"}}, m.Grain()); diff != "" {
		t.Errorf("grain (-want +got):\n%s", diff)
	}
	const grouped = `select STATUS "Status", SUM_8 "Amount" from (select STATUS, sum(AMOUNT) SUM_8 from SHOP.A.T group by STATUS) Q1 limit 1000`
	m = model.Assess(element(grouped, "Status=[T/STATUS]", "Amount=Sum([T/AMOUNT])"), model.Options{})
	wantFound(t, "grouped", m)
	if m.Grain().IsRepeated() {
		t.Errorf("grain %+v", m.Grain())
	}
	const totals = `select ID "Id", A "Amount", B "Amount (Grand Total)", C "Amount (Row Total)", D "Own (Grand Total)" from SHOP.A.T limit 1000`
	m = model.Assess(element(totals, "Id=[T/ID]", "Amount=[T/A]", "Own=[T/D]", "Own (Grand Total)=[T/D]"), model.Options{})
	wantFound(t, "totals", m, `GRAIN_REPEATED warning columns="Amount (Grand Total)", "Amount (Row Total)"`)
	if (&model.Model{}).Grain().IsRepeated() {
		t.Error("a model without a query has a grain")
	}
}

// Trap 5: controls.
func TestControlsAreNamed(t *testing.T) {
	e := element(`select ID "Id" from SHOP.A.T where REGION in ('West') limit 1000`, "Id=[T/ID]")
	wantFound(t, "without controls", model.Assess(e, model.Options{}))
	e.Controls = []string{"Region", "From"}
	wantFound(t, "with controls", model.Assess(e, model.Options{}), `CONTROLS_PRESENT info controls="Region", "From"`)
}

// Traps 6 and 7, and the session parameters.
func TestTheSessionDecides(t *testing.T) {
	const (
		week    = `select date_trunc(week, D) "Week" from SHOP.A.T limit 1000`
		weekday = `select case date_part(weekday_iso, D) when 1 then 'Monday' when 2 then 'Tuesday' end "Week" from SHOP.A.T limit 1000`
		context = `select * from (select *, current_date d from SHOP.A.T) Q1 limit 1000`
		orders  = `select * from orders limit 1000`
	)
	parameters := func(level, value string) *model.Session {
		return &model.Session{Parameters: map[string]model.Parameter{
			"WEEK_START": {Value: value, Level: level}, "WEEK_OF_YEAR_POLICY": {Value: "1", Level: "ACCOUNT"},
			"DATE_INPUT_FORMAT": {Value: "AUTO"}, "TIMEZONE": {Value: "UTC", Level: "SESSION"},
		}}
	}
	named := [2]string{"DEV", "SALES"}
	for _, test := range []struct {
		name, sql string
		o         model.Options
		want      []string
		refused   bool
	}{
		{name: "week, unknown session", sql: week, want: []string{"WEEK_BY_SESSION info"}},
		{name: "week of the account", sql: week, o: model.Options{Session: parameters("ACCOUNT", "7")}, want: []string{"WEEK_BY_SESSION info level=ACCOUNT week_of_year_policy=1 week_start=7"}},
		{name: "week of the user", sql: week, o: model.Options{Session: parameters("USER", "7")}, want: []string{"WEEK_BY_SESSION warning level=USER week_of_year_policy=1 week_start=7"}},
		{name: "week without a parameter", sql: week, o: model.Options{Dialect: sigmasql.DuckDB}},
		{name: "weekday", sql: weekday, o: model.Options{Session: parameters("USER", "7")}},
		{name: "today", sql: context, o: model.Options{TimeZone: time.UTC}, want: []string{"CONTEXT_FUNCTION warning functions=CURRENT_DATE"}},
		{name: "name in the namespace of the connection", sql: orders, o: model.Options{Namespace: named}, want: []string{`NAME_UNQUALIFIED warning names="ORDERS" namespace="DEV"."SALES"`}},
		{name: "name in the namespace of the session", sql: orders, o: model.Options{Namespace: [2]string{"DEV"}, Session: &model.Session{Namespace: named}}, want: []string{`NAME_UNQUALIFIED warning names="ORDERS" namespace="DEV"."SALES"`}},
		{name: "name without a namespace", sql: orders, want: []string{`NAME_UNQUALIFIED error names="ORDERS"`}, refused: true},
		{name: "name in the user's default", sql: orders, o: model.Options{Session: &model.Session{Namespace: named}}, want: []string{`NAME_UNQUALIFIED error names="ORDERS" namespace="DEV"."SALES"`}, refused: true},
		{name: "name of a file", sql: orders, o: model.Options{Dialect: sigmasql.DuckDB}, want: []string{`NAME_UNQUALIFIED warning names="orders"`}},
		{name: "common table expression", sql: `with orders as (select * from SHOP.A.T) select * from orders limit 1000`},
		{name: "parameters of the user", sql: `select ID "Id" from SHOP.A.T limit 1000`, want: []string{"SESSION_PARAMETER warning parameters=DEFAULT_NULL_ORDERING, TIMESTAMP_TYPE_MAPPING"},
			o: model.Options{Session: &model.Session{Parameters: map[string]model.Parameter{
				"TIMESTAMP_TYPE_MAPPING": {Value: "TIMESTAMP_LTZ", Level: "USER"}, "DEFAULT_NULL_ORDERING": {Value: "FIRST", Level: "user"},
				"DATE_OUTPUT_FORMAT": {Value: "DD/MM", Level: "ACCOUNT"},
			}}}},
	} {
		m := model.Assess(element(test.sql), test.o)
		wantFound(t, test.name, m, test.want...)
		if reason := reasonOf(m.RequireFull()); (reason == pb.ErrorReason_ERROR_REASON_NAME_UNQUALIFIED) != test.refused {
			t.Errorf("%s: a full read is refused with %s", test.name, reason)
		}
	}
}

// Traps 8, 9 and 12: tables of Sigma's own.
func TestSigmasTablesAreFound(t *testing.T) {
	for _, test := range []struct {
		table   string
		schemas [][]string
		want    []string
	}{
		{table: `SHOP.WB.SIGDS_9`, want: []string{`INPUT_TABLE info tables="SHOP.WB.SIGDS_9"`}},
		{table: `SHOP.WB."SIGDS_1f2e-3d"`, want: []string{`INPUT_TABLE info tables="SHOP.WB.SIGDS_1f2e-3d"`}},
		{table: `SHOP.WB.SIGDSX`},
		{table: `SHOP.WB.SIGDSX`, schemas: [][]string{{"shop", "wb"}}, want: []string{`INPUT_TABLE info tables="SHOP.WB.SIGDSX"`}},
		{table: `SHOP.SIGMA_WB.T_MAT_9F3`, want: []string{`MATERIALIZED_SOURCE info tables="SHOP.SIGMA_WB.T_MAT_9F3"`}},
		{table: `SHOP.A.T_MAT_2026`},
		{table: `SHOP.A.T_MAT_PRICES`},
		{table: `SHOP.A.T_ID_7`},
		{table: `SHOP.A.ORDERS_MAT`},
		{table: `SHOP.WB.ORDERS_MAT`, schemas: [][]string{{"", "WB"}}, want: []string{`MATERIALIZED_SOURCE info tables="SHOP.WB.ORDERS_MAT"`}},
		{table: `SHOP.WB.T_ID7`, schemas: [][]string{{"SHOP", "WB"}}, want: []string{`MATERIALIZED_SOURCE info tables="SHOP.WB.T_ID7"`}},
		{table: `PROD.WB.T_ID7`, schemas: [][]string{{"SHOP", "WB"}, {}}},
		{table: `SHOP.A.ORDERS`, schemas: [][]string{{"SHOP", "A"}}},
	} {
		e := element(`select ID "Id" from `+test.table+` where ROW_VERSION <= 41 limit 1000`, "Id=[T/ID]")
		e.WriteBackSchemas = test.schemas
		wantFound(t, test.table, model.Assess(e, model.Options{}), test.want...)
	}
	const input = `select ID "Id" from SHOP.WB.SIGDS_1f limit 1000`
	tagged := model.Assess(element(input, "Id=[T/ID]"), model.Options{VersionTag: "prod"})
	wantFound(t, "tagged", tagged, `INPUT_TABLE info tables="SHOP.WB.SIGDS_1F"`, `TAG_INPUT_TABLE warning tables="SHOP.WB.SIGDS_1F"`)
}

func TestTheAgeOfAMaterializationIsTold(t *testing.T) {
	now := time.Date(2026, 4, 2, 12, 0, 0, 0, time.UTC)
	for age, want := range map[time.Duration]string{
		30 * time.Hour: "30 hours old", 90 * time.Minute: "90 minutes old", 10 * 24 * time.Hour: "10 days old", time.Second: "less than 2 minutes old",
	} {
		m := model.Assess(element(`select ID "Id" from SHOP.SIGMA_WB.T_MAT_9F3 limit 1000`), model.Options{})
		if diff := cmp.Diff([][]string{{"SHOP", "SIGMA_WB", "T_MAT_9F3"}}, m.MaterializedTables()); diff != "" {
			t.Fatalf("tables (-want +got):\n%s", diff)
		}
		m.SetMaterialized(now.Add(-age), now)
		finding := m.Findings.All()[slices.IndexFunc(m.Findings.All(), func(f *pb.Finding) bool { return f.GetCode() == pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE })]
		if !strings.Contains(finding.GetMessage(), want) || finding.GetMetadata()["last_altered"] != now.Add(-age).Format(time.RFC3339) {
			t.Errorf("the finding is %v, want %s", finding, want)
		}
	}
}

// Trap 10: unstable values.
func TestUnstableColumnsAreNamed(t *testing.T) {
	for _, test := range []struct {
		name, sql string
		list      []string
		labels    []string
		want      []string
	}{
		{"row number", `select row_number() over (order by null) "Id", A "A" from SHOP.A.T limit 1000`, []string{"Id=RowNumber()", "A=[T/A]"}, []string{"Id"}, []string{`VALUES_UNSTABLE warning columns="Id" functions=row_number, rownumber`}},
		{"lag with an order", `select lag(SUM_2, 1) over (order by DATETRUNC_1 asc) "Before" from (select sum(A) SUM_2, D DATETRUNC_1 from SHOP.A.T group by D) Q limit 1000`, []string{"Before=Lag(Sum([T/A]))"}, nil, nil},
		{"formula without a sort", `select A "First" from SHOP.A.T limit 1000`, []string{"First=First([T/A])"}, []string{"First"}, []string{`VALUES_UNSTABLE warning columns="First" functions=first`}},
		{"formula without a sort, of a window", `select A "Sum" from SHOP.A.T limit 1000`, []string{"Sum=CumulativeSum([T/A]) + MovingAvg([T/A], 2)"}, []string{"Sum"}, []string{`VALUES_UNSTABLE warning columns="Sum" functions=cumulativesum, movingavg`}},
		{"word in a text", `select A "Note" from SHOP.A.T limit 1000`, []string{`Note="First(x)"`}, nil, nil},
		{"sample", `select A "A" from SHOP.A.T sample (10) limit 1000`, []string{"A=[T/A]"}, nil, []string{"VALUES_UNSTABLE warning functions=sample"}},
		{"AI", `select ai_complete('m', A) "A" from SHOP.A.T limit 1000`, []string{"A=CallText(\"ai_complete\", [T/A])"}, []string{"A"}, []string{`VALUES_UNSTABLE warning columns="A" functions=ai_complete`}},
	} {
		m := model.Assess(element(test.sql, test.list...), model.Options{})
		wantFound(t, test.name, m, test.want...)
		if !slices.Equal(m.UnstableLabels(), test.labels) {
			t.Errorf("%s: unstable labels %q, want %q", test.name, m.UnstableLabels(), test.labels)
		}
	}
}

// Trap 11: lookups with several matches.
func TestAmbiguousLookupsAreNamed(t *testing.T) {
	const starred = `select ID "Id", iff(COUNT_7 > 1, '*', MIN_6) "Region" from (select K ID, count(R) COUNT_7, min(R) MIN_6 from SHOP.A.T group by K) Q limit 1000`
	wantFound(t, "star", model.Assess(element(starred, "Id=[T/K]", "Region=[U/R]"), model.Options{}), `LOOKUP_AMBIGUOUS warning columns="Region"`)
	const plain = `select ID "Id", R "Region" from SHOP.A.T where B = '*' limit 1000`
	wantFound(t, "formula", model.Assess(element(plain, "Id=[T/ID]", "Region=Lookup([U/R], [K], [U/K])"), model.Options{}), `LOOKUP_AMBIGUOUS warning columns="Region"`)
	wantFound(t, "filter", model.Assess(element(plain, "Id=[T/ID]", "Region=[T/R]"), model.Options{}))
}

// Trap 14: the moment of the question.
func TestTheMomentOfTheQuestionIsTold(t *testing.T) {
	e := element(`select ID "Id" from SHOP.A.T where D >= to_date('2026-04-08', 'YYYY-MM-DD') limit 1000`, "Id=[T/ID]")
	message := func(o model.Options) string {
		for _, f := range model.Assess(e, o).Findings.All() {
			if f.GetCode() == pb.FindingCode_FINDING_CODE_LITERAL_FROZEN {
				return f.GetMessage()
			}
		}
		return ""
	}
	if text := message(model.Options{}); !strings.Contains(text, "moment of a read") {
		t.Errorf("in a scan: %q", text)
	}
	e.AskTime = time.Date(2026, 4, 8, 23, 59, 59, 0, time.UTC)
	if text := message(model.Options{}); !strings.Contains(text, "2026-04-08T23:59:59Z") {
		t.Errorf("in a read: %q", text)
	}
	if text := message(model.Options{TimeZone: zone(t, "America/New_York")}); !strings.Contains(text, "2026-04-08T19:59:59-04:00") {
		t.Errorf("in a zone: %q", text)
	}
}

// Trap 13: hidden columns.
func TestColumnsThatFormulasNameAndSigmaDoesNotListAreHidden(t *testing.T) {
	const sql = `select ID "Id", A "Net", B "Tax", C "Gross" from SHOP.A.T limit 1000`
	m := model.Assess(element(sql, "Id=[T/ID]", "Net=[Gross] - [T/Tax]"), model.Options{})
	_, findings, _ := m.CatalogState()
	facts := map[pb.FindingCode]string{}
	for _, f := range findings {
		facts[f.GetCode()] = f.GetMetadata()["columns"]
	}
	if facts[pb.FindingCode_FINDING_CODE_HIDDEN_COLUMN] != `"Gross"` || facts[pb.FindingCode_FINDING_CODE_COLUMN_UNLISTED] != `"Tax"` {
		t.Errorf("the findings are %v", findings)
	}
}
