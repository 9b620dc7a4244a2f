package selftest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Element is an element of the script's workbook, with the questions that it answers.
// An element without a name stands for the connection itself.
type Element struct {
	Name   string
	Build  []string // what to build, step by step
	Probes []Probe

	compare   bool // with Sigma's own export
	countRows bool // in a read session
}

// Probe is one question about Sigma.
type Probe struct {
	Name     string // stable
	Question string
	Assumed  string // by this service
	// read finds the answer: what was seen, without data values, and whether it is as
	// assumed. A probeError and a notBuiltError are added to the report.
	read func(*Observation) (seen string, asAssumed bool, err error)
}

// Labels of the columns of EVENTS by their type.
var dateColumns = []struct{ label, what string }{
	{"Date Only", "a DATE"},
	{"Zoneless", "a zone-less timestamp"},
	{"Local Zone", "a timestamp of the local zone"},
	{"Zoned", "a timestamp with a zone"},
}

// elements returns all elements of the script.
func elements() []Element {
	return []Element{
		connectionElement(),
		plainElement(),
		truncatedElement(),
		fixedElement(),
		daysElement("Last 30 days of dates", "Date Only", "[Date Only]"),
		daysElement("Last 30 days of zoneless", "Zoneless", "[Zoneless]"),
		daysElement("Last 30 days of local zone", "Local Zone", "[Local Zone]"),
		daysElement("Last 30 days by day", "Day", `DateTrunc("day", [Zoneless])`),
		userElement(),
		lookupElement(),
		restrictedElement(),
		controlElement(),
		inputElement(),
		materializedElement(),
		hiddenElement(),
		groupedElement(),
		customElement(),
		sessionElement(),
		otherWarehouseElement(),
	}
}

func connectionElement() Element {
	return Element{Probes: []Probe{
		{
			Name:     "time-zone-setting",
			Question: "Has the connection the account time zone of the script's organization?",
			Assumed:  "sigma.time_zone of the connection is " + Zone,
			read: func(o *Observation) (string, bool, error) {
				zone := o.Connection.GetSigma().GetTimeZone()
				return fmt.Sprintf("set: %s; the script's: %s", yes(zone != ""), yes(zone == Zone)), zone == Zone, nil
			},
		},
		{
			Name:     "time-zone-evidence",
			Question: "Do the offsets of dates in Sigma's SQL name the account time zone?",
			Assumed:  "zones that agree with all dates are found, and the script's zone is one of them",
			read: func(o *Observation) (string, bool, error) {
				check, err := o.check(pb.CheckKind_CHECK_KIND_SIGMA_TIME_ZONE)
				if err != nil {
					return "", false, err
				}
				var zones []string
				if facts := check.GetFacts()["candidates"]; facts != "" {
					zones = strings.Split(facts, ",")
				}
				found := slices.ContainsFunc(zones, func(zone string) bool { return strings.TrimSpace(zone) == Zone })
				return fmt.Sprintf("dates: %s; zones that agree: %d; the script's zone is one: %s", numberFact(check, "dates"), len(zones), yes(found)), found, nil
			},
		},
		{
			Name:     "session-parameters-of-user",
			Question: "Does the user of the warehouse connection set session parameters that change values?",
			Assumed:  "no parameter is set at the level of the user",
			read: func(o *Observation) (string, bool, error) {
				check, err := o.check(pb.CheckKind_CHECK_KIND_WAREHOUSE_SESSION)
				if err != nil {
					return "", false, err
				}
				set := 0
				for fact := range check.GetFacts() {
					if fact == strings.ToUpper(fact) { // a parameter, not role or secondary_roles
						set++
					}
				}
				return fmt.Sprintf("parameters set by the user: %d", set), set == 0, nil
			},
		},
	}}
}

// check returns a check of the connection.
func (o *Observation) check(kind pb.CheckKind) (*pb.Check, error) {
	for _, check := range o.Checks {
		if check.GetKind() == kind {
			if check.GetOutcome() == pb.CheckOutcome_CHECK_OUTCOME_SKIPPED {
				return nil, probeError("the check of the connection was skipped, because an earlier one failed")
			}
			return check, nil
		}
	}
	return nil, probeError("the server does not check this")
}

var digits = regexp.MustCompile(`^[0-9]{1,9}$`)

// numberFact returns a fact that is a number.
func numberFact(check *pb.Check, name string) string {
	if fact := check.GetFacts()[name]; digits.MatchString(fact) {
		return fact
	}
	return "unknown"
}

func plainElement() Element {
	e := Element{
		Name:  "Plain",
		Build: []string{"a table on EVENTS with the columns Id, Date Only, Zoneless, Local Zone and Zoned"},
		Probes: []Probe{
			{
				Name:     "read",
				Question: "Does a read session deliver the rows of a preview?",
				Assumed:  fmt.Sprintf("both have %d rows", len(events)),
				read: func(o *Observation) (string, bool, error) {
					rows, err := o.Rows()
					if err != nil {
						return "", false, err
					}
					if o.rowCountErr != nil {
						return fmt.Sprintf("preview: %d rows", len(rows.Values)), false, o.rowCountErr
					}
					return fmt.Sprintf("preview: %d rows; read session: %d rows", len(rows.Values), o.rowCount),
						len(rows.Values) == len(events) && o.rowCount == int64(len(events)), nil
				},
			},
			{
				Name:     "sigma-export",
				Question: "Has Sigma's own export the values that the warehouse delivers?",
				Assumed:  "every column is the same",
				read: func(o *Observation) (string, bool, error) {
					return compared(o, func(string) bool { return true })
				},
			},
		},
		compare: true, countRows: true,
	}
	for _, column := range dateColumns {
		want, how := event.wallClock, "the wall clock in New York is the one of the table"
		if column.label == "Date Only" {
			want, how = day, "the type is DATE, and the day is the one of the table"
		}
		e.Probes = append(e.Probes, Probe{
			Name:     "plain-" + slug(column.label),
			Question: "How does " + column.what + " arrive?",
			Assumed:  how,
			read: func(o *Observation) (string, bool, error) {
				seen, same, err := compareWalls(o, column.label, want)
				if err != nil || column.label != "Date Only" {
					return seen, same, err
				}
				return seen, same && strings.HasPrefix(seen, "type DATE;"), nil
			},
		})
	}
	return e
}

// day is the day of an event in New York.
func day(e event) time.Time { return e.wallClock().Truncate(24 * time.Hour) }

// monday is the Monday of an event's week.
func monday(e event) time.Time {
	return day(e).AddDate(0, 0, -int((e.wallClock().Weekday()+6)%7))
}

// month is the first day of an event's month.
func month(e event) time.Time {
	return time.Date(e.wallClock().Year(), e.wallClock().Month(), 1, 0, 0, 0, 0, time.UTC)
}

func truncatedElement() Element {
	e := Element{Name: "Truncated", Build: []string{"a table on EVENTS with the column Id and these formulas:"}}
	for _, unit := range []struct {
		name string
		want func(event) time.Time
	}{{"Day", day}, {"Week", monday}, {"Month", month}} {
		for _, column := range dateColumns {
			label := unit.name + " of " + column.label
			e.Build = append(e.Build, fmt.Sprintf("  %s = DateTrunc(%q, [%s])", label, strings.ToLower(unit.name), column.label))
			probe := Probe{
				Name:     slug(label),
				Question: fmt.Sprintf("To which %s does Sigma truncate %s?", strings.ToLower(unit.name), column.what),
				Assumed:  fmt.Sprintf("to the %s in New York", strings.ToLower(unit.name)),
				read:     func(o *Observation) (string, bool, error) { return compareWalls(o, label, unit.want) },
			}
			if unit.name == "Week" {
				probe.Assumed = "to the Monday in New York, as the warehouse's WEEK_START says by default"
				probe.read = func(o *Observation) (string, bool, error) { return compareWeeks(o, label, time.Monday) }
			}
			e.Probes = append(e.Probes, probe)
		}
	}
	for _, start := range []time.Weekday{time.Monday, time.Sunday} {
		label := start.String() + " Week"
		unit := "week_starting_" + strings.ToLower(start.String())
		e.Build = append(e.Build, fmt.Sprintf("  %s = DateTrunc(%q, [Zoneless])", label, unit))
		e.Probes = append(e.Probes, Probe{
			Name:     slug(label),
			Question: "On which day do weeks of " + unit + " begin?",
			Assumed:  "on " + start.String() + ", whatever the session's WEEK_START is",
			read:     func(o *Observation) (string, bool, error) { return compareWeeks(o, label, start) },
		})
	}
	return e
}

// compareWeeks says on which weekdays the weeks of a column begin, and whether each
// week has the moment that it was made of.
func compareWeeks(o *Observation, name string, start time.Weekday) (seen string, same bool, err error) {
	all, err := o.Rows()
	if err != nil {
		return "", false, err
	}
	rows, column, err := all.dated(name)
	if err != nil {
		return "", false, err
	}
	begins, right, within := tally{}, 0, 0
	for _, row := range rows {
		if row.null {
			begins["null"]++
			continue
		}
		begin := row.wall.Weekday().String()
		if !row.wall.Equal(row.wall.Truncate(24 * time.Hour)) {
			begin += ", not at midnight"
		}
		begins[begin]++
		offset := row.event.wallClock().Sub(row.wall)
		if offset >= 0 && offset < 7*24*time.Hour {
			within++
		}
		if begin == start.String() && offset >= 0 && offset < 7*24*time.Hour {
			right++
		}
	}
	return fmt.Sprintf("type %s; weeks begin on %s; %d rows of %d are in their week", typeName(column), begins, within, len(events)),
		right == len(events) && len(rows) == len(events), nil
}

// fixedElement is a table on EVENTS with a filter on fixed days, from and to which the
// rows are known. A wrong zone moves the whole window by a day.
func fixedElement() Element {
	from, to := parse(time.DateOnly, "2026-03-01"), parse(time.DateOnly, "2026-03-08")
	return Element{
		Name: "Days of March",
		Build: []string{"a table on EVENTS with the column Id and the formula", `  Day = DateTrunc("day", [Zoneless])`,
			fmt.Sprintf("a filter on Day: from %s to %s", from.Format(time.DateOnly), to.Format(time.DateOnly))},
		Probes: []Probe{{
			Name:     "days-of-march",
			Question: "Which rows has a filter on truncated days?",
			Assumed:  "exactly the rows whose days in New York are in the range",
			read: func(o *Observation) (string, bool, error) {
				rows, err := o.Rows()
				if err != nil {
					return "", false, err
				}
				dated, _, err := rows.dated("Day")
				if err != nil {
					return "", false, err
				}
				left := 0 // rows that are missing
				for _, e := range events {
					if !day(e).Before(from) && !day(e).After(to) {
						left++
					}
				}
				right, early, late := 0, 0, 0
				for _, row := range dated {
					switch at := day(row.event); {
					case at.Before(from):
						early++
					case at.After(to):
						late++
					default:
						right++
						left--
					}
				}
				return fmt.Sprintf("rows in the range: %d; missing: %d; before the range: %d; after it: %d", right, left, early, late), left == 0 && early == 0 && late == 0, nil
			},
		}},
	}
}

// daysElement is a table on DAYS with a relative filter. Each day has a row half an
// hour after midnight and one half an hour before, so that a filter whose days begin
// elsewhere leaves days with one row.
func daysElement(name, column, filter string) Element {
	build := []string{"a table on DAYS with the columns Id and " + column}
	if column == "Day" {
		build = []string{"a table on DAYS with the column Id and the formula", "  Day = " + filter}
	}
	e := Element{
		Name:  name,
		Build: append(build, fmt.Sprintf("a filter on %s: relative date, last 30 days", column)),
		Probes: []Probe{{
			Name:     slug(name),
			Question: fmt.Sprintf("Where do the days of the filter `last 30 days` on %s begin?", filter),
			Assumed:  "at midnight in New York: every day but the last has both of its rows, and the last is today or the day before",
			read:     readDays,
		}},
	}
	if column == "Day" { // its dates have offsets
		e.Probes = append(e.Probes, Probe{
			Name:     "time-zone-finding",
			Question: "Do the dates in Sigma's SQL agree with the time zone of the connection?",
			Assumed:  "no finding about the time zone",
			read: func(o *Observation) (string, bool, error) {
				mismatch, unknown := pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH, pb.FindingCode_FINDING_CODE_TIME_ZONE_UNKNOWN
				return o.finding(mismatch) + "; " + o.finding(unknown), !o.has(mismatch) && !o.has(unknown), nil
			},
		})
	}
	return e
}

func readDays(o *Observation) (seen string, asAssumed bool, err error) {
	rows, err := o.Rows()
	if err != nil {
		return "", false, err
	}
	at, err := rows.column("Id")
	if err != nil {
		return "", false, err
	}
	days := map[time.Time]int{} // rows by day
	for _, values := range rows.Values {
		id, err := integerOf(values[at])
		if err != nil {
			return "", false, err
		}
		if id < 0 || id >= int64(2*dayCount) {
			return "", false, probeError("the element has a row that the script's table does not have")
		}
		days[wallOfDay(id).Truncate(24*time.Hour)]++
	}
	if len(days) == 0 {
		return "no rows", false, nil
	}
	var first, last time.Time
	for day := range days {
		if first.IsZero() || day.Before(first) {
			first = day
		}
		if day.After(last) {
			last = day
		}
	}
	half := 0
	for day, n := range days {
		if n < 2 && day != last {
			half++
		}
	}
	now := o.Now.In(newYork)
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	span := int(last.Sub(first).Hours()/24) + 1
	ago := func(day time.Time) int { return int(today.Sub(day).Hours() / 24) }
	seen = fmt.Sprintf("%d days, without gaps: %s; the first is %d days before today, the last %d; days with one row before the last: %d; the last has %d rows",
		len(days), yes(span == len(days)), ago(first), ago(last), half, days[last])
	return seen, half == 0 && span == len(days) && len(days) >= 29 && len(days) <= 31 && ago(last) >= 0 && ago(last) <= 1, nil
}

func userElement() Element {
	return Element{
		Name: "User",
		Build: []string{"a table on EVENTS with the column Id and these formulas:",
			"  Zone = CurrentTimezone()", "  Member Email = CurrentUserEmail()", `  In Team = CurrentUserInTeam("sigmasource selftest")`, "  Day Text = Text([Date Only])",
			"the team need not exist"},
		Probes: []Probe{
			{
				Name:     "current-timezone",
				Question: "Does CurrentTimezone() give the account time zone?",
				Assumed:  "each row has the same text, the script's zone",
				read: func(o *Observation) (string, bool, error) {
					texts, err := o.texts("Zone")
					if err != nil {
						return "", false, err
					}
					return fmt.Sprintf("%s; the script's zone: %s", texts.summary(), yes(texts.all(Zone))), texts.all(Zone) && texts.rows == len(events), nil
				},
			},
			{
				Name:     "current-user-email",
				Question: "Does CurrentUserEmail() give the e-mail address of the credential's owner as a constant?",
				Assumed:  "each row has the same text with the form of an e-mail address, and the finding ROWS_OF_OWNER",
				read: func(o *Observation) (string, bool, error) {
					texts, err := o.texts("Member Email")
					if err != nil {
						return "", false, err
					}
					form := len(texts.values) == 1 && strings.Contains(texts.first(), "@")
					code := pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER
					return fmt.Sprintf("%s; form of an e-mail address: %s; %s", texts.summary(), yes(form), o.finding(code)), form && o.has(code), nil
				},
			},
			{
				Name:     "current-user-in-team",
				Question: "What does CurrentUserInTeam() of an unknown team give?",
				Assumed:  "false or null in each row, and the finding ROWS_OF_OWNER",
				read: func(o *Observation) (string, bool, error) {
					rows, err := o.Rows()
					if err != nil {
						return "", false, err
					}
					at, err := rows.column("In Team")
					if err != nil {
						return "", false, err
					}
					kinds := tally{}
					for _, values := range rows.Values {
						switch v := values[at].GetKind().(type) {
						case *pb.Value_NullValue:
							kinds["null"]++
						case *pb.Value_BoolValue:
							kinds[fmt.Sprint(v.BoolValue)]++
						default:
							kinds["another value"]++
						}
					}
					code := pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER
					return fmt.Sprintf("type %s: %s; %s", typeName(rows.Columns[at]), kinds, o.finding(code)),
						kinds["true"] == 0 && kinds["another value"] == 0 && o.has(code), nil
				},
			},
			{
				Name:     "text-of-date",
				Question: "Does Text() of a DATE depend on the session?",
				Assumed:  "the text is the day of the table as YYYY-MM-DD, without a time",
				read:     readDayText,
			},
		},
	}
}

// texts are the values of a column of texts.
type texts struct {
	rows, others int // others are no texts
	values       map[string]bool
}

func (o *Observation) texts(name string) (texts, error) {
	t := texts{values: map[string]bool{}}
	rows, err := o.Rows()
	if err != nil {
		return t, err
	}
	at, err := rows.column(name)
	if err != nil {
		return t, err
	}
	for _, values := range rows.Values {
		t.rows++
		if text, ok := textOf(values[at]); ok {
			t.values[text] = true
		} else {
			t.others++
		}
	}
	return t, nil
}

func (t texts) all(text string) bool { return len(t.values) == 1 && t.values[text] && t.others == 0 }

func (t texts) first() string {
	for text := range t.values {
		return text
	}
	return ""
}

func (t texts) summary() string {
	return fmt.Sprintf("%d rows; distinct texts: %d; other values: %d", t.rows, len(t.values), t.others)
}

var digit = regexp.MustCompile(`[0-9]`)

func readDayText(o *Observation) (seen string, asAssumed bool, err error) {
	rows, err := o.Rows()
	if err != nil {
		return "", false, err
	}
	id, err := rows.column("Id")
	if err != nil {
		return "", false, err
	}
	at, err := rows.column("Day Text")
	if err != nil {
		return "", false, err
	}
	forms, right := tally{}, 0
	for _, values := range rows.Values {
		n, err := integerOf(values[id])
		if err != nil {
			return "", false, err
		}
		text, ok := textOf(values[at])
		if !ok || n < 1 || n > int64(len(events)) {
			forms["no text"]++
			continue
		}
		form := digit.ReplaceAllString(text, "9")
		if strings.Trim(form, "9-:.T/+ ") != "" || len(form) > 40 {
			form = "another form"
		}
		forms[form]++
		if text == day(events[n-1]).Format(time.DateOnly) {
			right++
		}
	}
	return fmt.Sprintf("forms: %s; %d rows of %d as known", forms, right, len(events)), right == len(events) && len(rows.Values) == len(events), nil
}

func lookupElement() Element {
	code := pb.FindingCode_FINDING_CODE_LOOKUP_AMBIGUOUS
	return Element{
		Name: "Lookup",
		Build: []string{"a table on EVENTS with the columns Id and Key, a table on LABELS on another page, and the formula",
			"  Label = Lookup([LABELS/Label], [Key], [LABELS/Key])"},
		Probes: []Probe{{
			Name:     "lookup-several-matches",
			Question: "What does a lookup with two matches give?",
			Assumed:  fmt.Sprintf("%d rows; * in each row with two matches, and nowhere else; the finding LOOKUP_AMBIGUOUS", len(events)),
			read: func(o *Observation) (string, bool, error) {
				rows, err := o.Rows()
				if err != nil {
					return "", false, err
				}
				key, err := rows.column("Key")
				if err != nil {
					return "", false, err
				}
				label, err := rows.column("Label")
				if err != nil {
					return "", false, err
				}
				twice, stars, strays := 0, 0, 0
				for _, values := range rows.Values {
					k, _ := textOf(values[key])
					l, _ := textOf(values[label])
					if k == twiceLabelled {
						twice++
					}
					switch {
					case l == "*" && k == twiceLabelled:
						stars++
					case l == "*":
						strays++
					}
				}
				return fmt.Sprintf("%d rows of %d; * in %d of %d rows with two matches, and in %d others; %s", len(rows.Values), len(events), stars, twice, strays, o.finding(code)),
					len(rows.Values) == len(events) && stars == twice && strays == 0 && o.has(code), nil
			},
		}},
	}
}

func restrictedElement() Element {
	code := pb.FindingCode_FINDING_CODE_COLUMN_RESTRICTED
	return Element{
		Name: "Restricted",
		Build: []string{"a data model with a table on EVENTS, whose column Key has a rule of column-level security that no team and no member meets",
			"in the workbook, a table on that element of the data model with the columns Id and Key"},
		Probes: []Probe{{
			Name:     "restricted-column",
			Question: "How does a column that security hides appear in Sigma's SQL?",
			Assumed:  "the finding COLUMN_RESTRICTED, and the model is refused",
			read: func(o *Observation) (string, bool, error) {
				named := slices.ContainsFunc(o.Check.GetSchema().GetColumns(), func(c *pb.SchemaColumn) bool { return strings.HasPrefix(c.GetName(), "Restricted") })
				seen := fmt.Sprintf("%s; readable: %s; columns in the result: %d; one is named Restricted: %s", o.finding(code), yes(o.Check.GetReadable()),
					len(o.Check.GetSchema().GetColumns()), yes(named))
				if rows, err := o.Rows(); err == nil {
					constants := 0
					for at := range rows.Columns {
						if slices.ContainsFunc(rows.Values, func(values []*pb.Value) bool { text, _ := textOf(values[at]); return text == "No access" }) {
							constants++
						}
					}
					seen += fmt.Sprintf("; columns with the text `No access`: %d", constants)
				}
				return seen, o.has(code) && !o.Check.GetReadable(), nil
			},
		}},
	}
}

func controlElement() Element {
	code := pb.FindingCode_FINDING_CODE_CONTROLS_PRESENT
	return Element{
		Name: "Required control",
		Build: []string{"on a page of its own, a table on EVENTS with the columns Id and Key",
			"on that page, a list control with the name Selftest, with the values of Key, that filters the table; it is required, and no value is chosen"},
		Probes: []Probe{{
			Name:     "required-control",
			Question: "Does a required control without a value leave the result empty, as it does on Sigma's screen?",
			Assumed:  fmt.Sprintf("no: Sigma's SQL has all %d rows; the finding CONTROLS_PRESENT", len(events)),
			read: func(o *Observation) (string, bool, error) {
				rows, err := o.Rows()
				if err != nil {
					return o.finding(code), false, err
				}
				return fmt.Sprintf("%d rows of %d; %s", len(rows.Values), len(events), o.finding(code)), len(rows.Values) == len(events) && o.has(code), nil
			},
		}},
	}
}

func inputElement() Element {
	input, tagged := pb.FindingCode_FINDING_CODE_INPUT_TABLE, pb.FindingCode_FINDING_CODE_TAG_INPUT_TABLE
	return Element{
		Name: "Input table",
		Build: []string{"an empty input table with one text column, Entry; enter two rows",
			"publish the workbook, and give the version the tag `selftest`",
			"afterwards enter a third row in the draft, and do not publish",
			"create a second connection of this service with the version tag `selftest`, and run this command on it, too"},
		Probes: []Probe{
			{
				Name:     "input-table",
				Question: "Does the published SQL of an input table show entries of the draft?",
				Assumed:  fmt.Sprintf("no: %d rows, not %d; the finding INPUT_TABLE", publishedRows, draftRows),
				read: func(o *Observation) (string, bool, error) {
					if o.Connection.GetVersionTag() != "" {
						return "", false, notBuiltError("this connection has a version tag: a connection without one answers this")
					}
					rows, err := o.Rows()
					if err != nil {
						return o.finding(input), false, err
					}
					return fmt.Sprintf("%d rows; %s", len(rows.Values), o.finding(input)), len(rows.Values) == publishedRows && o.has(input), nil
				},
			},
			{
				Name:     "tagged-input-table",
				Question: "Is the input table of a tagged version empty?",
				Assumed:  "0 rows, and the finding TAG_INPUT_TABLE",
				read: func(o *Observation) (string, bool, error) {
					if o.Connection.GetVersionTag() == "" {
						return "", false, untagged
					}
					rows, err := o.Rows()
					if err != nil {
						return o.finding(tagged), false, err
					}
					return fmt.Sprintf("%d rows; %s", len(rows.Values), o.finding(tagged)), len(rows.Values) == 0 && o.has(tagged), nil
				},
			},
			{
				Name:     "tagged-version-id",
				Question: "Do the lists of columns, sources and lineage accept the id of a tagged version?",
				Assumed:  "yes: columns have ids, and the warehouse is known",
				read: func(o *Observation) (string, bool, error) {
					if o.Connection.GetVersionTag() == "" {
						return "", false, untagged
					}
					columns, warehouse := pb.FindingCode_FINDING_CODE_COLUMNS_UNKNOWN, pb.FindingCode_FINDING_CODE_WAREHOUSE_UNKNOWN
					ids := 0
					for _, column := range o.Model.GetColumns() {
						if column.GetColumnId() != "" {
							ids++
						}
					}
					return fmt.Sprintf("columns with an id: %d of %d; %s; %s", ids, len(o.Model.GetColumns()), o.finding(columns), o.finding(warehouse)),
						ids > 0 && !o.has(columns) && !o.has(warehouse), nil
				},
			},
		},
	}
}

const untagged = notBuiltError("this connection has no version tag: run the command on a connection with the tag `selftest`, too")

func materializedElement() Element {
	code := pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE
	return Element{
		Name: "Materialized",
		Build: []string{"a table on FROZEN with the column Id and a materialization schedule; run the materialization once",
			"afterwards, in the warehouse: insert into SIGMASOURCE_SELFTEST.SELFTEST.FROZEN values (4);"},
		Probes: []Probe{{
			Name:     "materialization",
			Question: "Does the SQL that Sigma's API returns read the materialization?",
			Assumed:  fmt.Sprintf("yes: %d rows, not %d; the finding MATERIALIZED_SOURCE", frozenRows, changedRows),
			read: func(o *Observation) (string, bool, error) {
				rows, err := o.Rows()
				if err != nil {
					return o.finding(code), false, err
				}
				return fmt.Sprintf("%d rows; %s", len(rows.Values), o.finding(code)), len(rows.Values) == frozenRows && o.has(code), nil
			},
		}},
	}
}

func hiddenElement() Element {
	code := pb.FindingCode_FINDING_CODE_HIDDEN_COLUMN
	return Element{
		Name:  "Hidden",
		Build: []string{"a table on EVENTS with the columns Id, Key and Zoneless; hide the column Key"},
		Probes: []Probe{{
			Name:     "hidden-column",
			Question: "Is a hidden column in Sigma's SQL, and in its list of columns?",
			Assumed:  "it is in the SQL and not in the list; the finding HIDDEN_COLUMN",
			read: func(o *Observation) (string, bool, error) {
				if !o.Check.GetReadable() {
					return o.finding(code), false, problem(o.Check)
				}
				delivered := slices.ContainsFunc(o.Check.GetSchema().GetColumns(), func(c *pb.SchemaColumn) bool { return sameLabel(c.GetName(), "Key") })
				listed := slices.ContainsFunc(o.Model.GetColumns(), func(c *pb.Column) bool { return sameLabel(c.GetLabel(), "Key") })
				return fmt.Sprintf("in the SQL: %s; in the list: %s; %s", yes(delivered), yes(listed), o.finding(code)), delivered && !listed && o.has(code), nil
			},
		}},
	}
}

// problem is why a model is not readable.
func problem(check *pb.CheckModelResponse) error {
	return probeError("not readable: " + strings.TrimPrefix(check.GetProblem().GetReason().String(), "ERROR_REASON_"))
}

func groupedElement() Element {
	code := pb.FindingCode_FINDING_CODE_GRAIN_REPEATED
	return Element{
		Name:  "Grouped",
		Build: []string{"a table on EVENTS with the columns Id and Key, grouped by Key, with the calculation of the group", "  Events = Count([Id])"},
		Probes: []Probe{{
			Name:     "grain",
			Question: "Has Sigma's SQL of a grouped table one row for each base row?",
			Assumed:  fmt.Sprintf("yes: %d rows; the finding GRAIN_REPEATED", len(events)),
			read: func(o *Observation) (string, bool, error) {
				rows, err := o.Rows()
				if err != nil {
					return o.finding(code), false, err
				}
				return fmt.Sprintf("%d rows of %d; %s", len(rows.Values), len(events), o.finding(code)), len(rows.Values) == len(events) && o.has(code), nil
			},
		}},
	}
}

func customElement() Element {
	name, context := pb.FindingCode_FINDING_CODE_NAME_UNQUALIFIED, pb.FindingCode_FINDING_CODE_CONTEXT_FUNCTION
	return Element{
		Name: "Custom SQL",
		Build: []string{"a table on custom SQL, in a connection whose user has SIGMASOURCE_SELFTEST.SELFTEST as default namespace:",
			"  select ID, current_date as TODAY, to_varchar(current_timestamp, 'TZH:TZM') as SESSION_OFFSET from EVENTS"},
		Probes: []Probe{
			{
				Name:     "short-name",
				Question: "Is a short table name left as it is in Sigma's SQL?",
				Assumed:  "yes: the finding NAME_UNQUALIFIED",
				read: func(o *Observation) (string, bool, error) {
					return fmt.Sprintf("%s; %s; readable: %s", o.finding(name), o.finding(context), yes(o.Check.GetReadable())), o.has(name) && o.has(context), nil
				},
			},
			{
				Name:     "current-date",
				Question: "Which day is current_date in custom SQL?",
				Assumed:  "the day in New York, in a session with the offset of New York",
				read: func(o *Observation) (string, bool, error) {
					rows, err := o.Rows()
					if err != nil {
						return "", false, err
					}
					offset, err := o.texts("SESSION_OFFSET")
					if err != nil {
						return "", false, err
					}
					at, err := rows.column("TODAY")
					if err != nil {
						return "", false, err
					}
					now := o.Now.In(newYork)
					right := 0
					for _, values := range rows.Values {
						if v, ok := values[at].GetKind().(*pb.Value_DateValue); ok && v.DateValue == now.Format(time.DateOnly) {
							right++
						}
					}
					sameInUTC := now.Format(time.DateOnly) == o.Now.UTC().Format(time.DateOnly)
					isOffset := offset.all(now.Format("-07:00"))
					return fmt.Sprintf("the day in New York in %d rows of %d; the day is the same in UTC now: %s; offset of New York: %s", right, len(rows.Values), yes(sameInUTC), yes(isOffset)),
						right == len(rows.Values) && right > 0 && isOffset, nil
				},
			},
		},
	}
}

// sessionColumns are columns of custom SQL by which the sessions of Sigma and of this
// service can be told apart.
var sessionColumns = []struct{ name, sql string }{
	{"TIMEZONE_OFFSET", "to_varchar('2026-07-01 00:00:00'::timestamp_ltz, 'TZH:TZM')"},
	{"WEEK_START", "datediff(week, '2026-02-28'::date, '2026-03-01'::date)"},
	{"WEEK_OF_YEAR_POLICY", "weekofyear('2027-01-01'::date)"},
	{"TIMESTAMP_OUTPUT_FORMAT", "('2026-03-01 04:05:06'::timestamp_ntz)::varchar"},
	{"DATE_OUTPUT_FORMAT", "('2026-03-01'::date)::varchar"},
	{"TIMESTAMP_TYPE_MAPPING", "system$typeof('2026-03-01'::timestamp)"},
	{"BINARY_OUTPUT_FORMAT", "to_binary('ff', 'HEX')::varchar"},
	{"NULL_ORDERING", "(select first_value(N) over (order by N) from (select 1 as N union all select null) limit 1)"},
	{"ROLE_NAME", "current_role()"},
	{"SECONDARY_ROLES", "current_secondary_roles()"},
	{"DATABASE_NAME", "current_database()"},
	{"SCHEMA_NAME", "current_schema()"},
}

// isNamespace reports whether a column of sessionColumns is about roles and names,
// which the connection's settings decide about.
func isNamespace(label string) bool {
	return slices.ContainsFunc([]string{"ROLE_NAME", "SECONDARY_ROLES", "DATABASE_NAME", "SCHEMA_NAME"}, func(name string) bool { return sameLabel(name, label) })
}

func sessionElement() Element {
	build := []string{"a table on custom SQL:", "  select"}
	for i, column := range sessionColumns {
		end := ","
		if i == len(sessionColumns)-1 {
			end = ""
		}
		build = append(build, fmt.Sprintf("    %s as %s%s", column.sql, column.name, end))
	}
	return Element{
		Name:  "Session",
		Build: build,
		Probes: []Probe{
			{
				Name:     "session-of-sigma",
				Question: "What does Sigma set in its session besides the time zone?",
				Assumed:  "nothing that changes values: Sigma's own export has the values that our session gives",
				read: func(o *Observation) (string, bool, error) {
					return compared(o, func(label string) bool { return !isNamespace(label) })
				},
			},
			{
				Name:     "role-of-sigma",
				Question: "Has Sigma's session our role, secondary roles and namespace?",
				Assumed:  "yes",
				read:     func(o *Observation) (string, bool, error) { return compared(o, isNamespace) },
			},
		},
		compare: true,
	}
}

// compared says which columns of Sigma's own export have the values of the warehouse.
// The labels are the script's.
func compared(o *Observation, concerns func(label string) bool) (seen string, same bool, err error) {
	if !o.Check.GetReadable() {
		return "", false, problem(o.Check)
	}
	comparison := o.Check.GetComparison()
	if comparison.GetVerdict() == pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED || comparison == nil {
		return "", false, probeError("Sigma's export did not come, or cannot be compared")
	}
	counts := tally{}
	var others []string
	n := 0
	for _, column := range comparison.GetColumns() {
		if !concerns(column.GetLabel()) {
			continue
		}
		n++
		counts[strings.ToLower(strings.TrimPrefix(column.GetVerdict().String(), "COMPARISON_VERDICT_"))]++
		if column.GetVerdict() == pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT {
			others = append(others, fmt.Sprintf("%s differs in %s", scriptLabel(column.GetLabel()), strings.Join(column.GetDifferences(), " and ")))
		}
	}
	if n == 0 {
		return "", false, probeError("Sigma's export has no columns that can be compared")
	}
	seen = fmt.Sprintf("rows: %d in Sigma, %d in the warehouse; columns: %s", comparison.GetSigmaRowCount(), comparison.GetWarehouseRowCount(), counts)
	if len(others) > 0 {
		seen += "; " + strings.Join(others, ", ")
	}
	return seen, len(others) == 0 && counts["same"] == n && comparison.GetSigmaRowCount() == comparison.GetWarehouseRowCount(), nil
}

// scriptLabel returns a label of the script, and hides any other.
func scriptLabel(label string) string {
	for _, column := range sessionColumns {
		if sameLabel(column.name, label) {
			return column.name
		}
	}
	for _, column := range dateColumns {
		if column.label == label {
			return label
		}
	}
	if label == "Id" {
		return label
	}
	return "another column"
}

func otherWarehouseElement() Element {
	mismatch := pb.FindingCode_FINDING_CODE_TIME_ZONE_MISMATCH
	return Element{
		Name: "Other warehouse",
		Build: []string{"optional: a connection of Sigma to a warehouse of another kind, such as Databricks or BigQuery",
			"a table of it with a column of dates, and a filter: relative date, last 30 days"},
		Probes: []Probe{{
			Name:     "zone-of-other-warehouse",
			Question: "Do the dates in Sigma's SQL for other warehouses have the offset of the account time zone?",
			Assumed:  "yes: no finding TIME_ZONE_MISMATCH in the catalog; this service does not read such a warehouse",
			read: func(o *Observation) (string, bool, error) {
				kind := o.Model.GetSigmaWarehouse().GetType()
				if !kinds[strings.ToLower(kind)] {
					kind = "unknown"
				}
				hasSQL := o.Model.GetSqlFingerprint() != ""
				return fmt.Sprintf("kind: %s; Sigma has SQL for it: %s; %s", kind, yes(hasSQL), o.finding(mismatch)), hasSQL && !o.has(mismatch), nil
			},
		}},
	}
}

// kinds are kinds of warehouses that a report names; another is "unknown".
var kinds = map[string]bool{"snowflake": true, "bigquery": true, "databricks": true, "redshift": true, "postgres": true, "mysql": true, "azuresql": true, "alloydb": true, "clickhouse": true, "starburst": true}

// slug makes the name of a probe.
func slug(text string) string { return strings.ReplaceAll(strings.ToLower(text), " ", "-") }
