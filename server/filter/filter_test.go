package filter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/filter"
)

var fields = filter.Fields{
	{Name: "owner_id", Kind: filter.Text},
	{Name: "path", Kind: filter.Folder},
	{Name: "tags", Kind: filter.Set},
	{Name: "state", Kind: filter.Enum, Enum: pb.ModelState_MODEL_STATE_UNSPECIFIED.Descriptor()},
	{Name: "findings.code", Kind: filter.EnumSet, Enum: pb.FindingCode_FINDING_CODE_UNSPECIFIED.Descriptor()},
	{Name: "update_time", Kind: filter.Time},
}

func field(name string) *filter.Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	panic(name)
}

func TestParse(t *testing.T) {
	test := func(name string, op filter.Op, text string) filter.Test {
		return filter.Test{Field: field(name), Op: op, Text: text}
	}
	state := func(s pb.ModelState) filter.Test {
		return filter.Test{Field: field("state"), Number: int32(s)}
	}
	a, b := test("owner_id", filter.Equal, "a"), test("owner_id", filter.Equal, "b")
	noon := filter.Test{Field: field("update_time"), Op: filter.GreaterOrEqual, Time: time.Date(2026, 1, 31, 12, 0, 0, 500, time.UTC)}
	for text, want := range map[string]filter.Expr{
		"":                                 nil,
		" \n":                              nil,
		`owner_id = "a"`:                   a,
		`owner_id=a`:                       a,
		`  owner_id = 'a'  `:               a,
		`owner_id != "a"`:                  filter.Not{Expr: a},
		`NOT owner_id = "a"`:               filter.Not{Expr: a},
		`-owner_id = "a"`:                  filter.Not{Expr: a},
		`owner_id = a AND owner_id = b`:    filter.And{a, b},
		`owner_id = a owner_id = b`:        filter.And{a, b},
		`owner_id = a OR owner_id = b`:     filter.Or{a, b},
		`(owner_id = a OR (owner_id = b))`: filter.Or{a, b},
		// OR binds more tightly than AND.
		`owner_id = a AND owner_id = b OR owner_id = a`:      filter.And{a, filter.Or{b, a}},
		`NOT (owner_id = a OR owner_id = b)`:                 filter.Not{Expr: filter.Or{a, b}},
		`path:"Finance/Q1"`:                                  test("path", filter.Has, "Finance/Q1"),
		`path = "*"`:                                         test("path", filter.Equal, "*"),
		`tags:Certified`:                                     test("tags", filter.Has, "Certified"),
		`tags:*`:                                             test("tags", filter.Present, ""),
		`owner_id = "\"x\" \\ ☺ ' % _"`:                      test("owner_id", filter.Equal, `"x" \ ☺ ' % _`),
		`state = READY`:                                      state(pb.ModelState_MODEL_STATE_READY),
		`state = "MODEL_STATE_GONE"`:                         state(pb.ModelState_MODEL_STATE_GONE),
		`findings.code:COLUMN_BROKEN`:                        filter.Test{Field: field("findings.code"), Op: filter.Has, Number: 5},
		`findings.code:*`:                                    filter.Test{Field: field("findings.code"), Op: filter.Present},
		`update_time >= "2026-01-31T13:00:00.0000005+01:00"`: noon,
		`update_time >= timestamp("2026-01-31T13:00:00.0000005+01:00")`: noon,
	} {
		got, err := fields.Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		equalTimes := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
		if diff := cmp.Diff(want, got, equalTimes, cmpopts.IgnoreFields(filter.Field{}, "Enum")); diff != "" {
			t.Errorf("%s: wanted (-), got (+):\n%s", text, diff)
		}
	}
}

// TestErrors: each error tells the place, and what is allowed there.
func TestErrors(t *testing.T) {
	long := `owner_id = "` + strings.Repeat("é", 2000) + `"`
	many := strings.Repeat("owner_id=a OR ", 50) + "owner_id=a"
	deep := strings.Repeat("(", 11) + "owner_id=a" + strings.Repeat(")", 11)
	for _, test := range []struct {
		text     string
		position int
		says     string
	}{
		{`owner = "a"`, 1, "allowed are owner_id, path, tags"},
		{`  é = "a"`, 3, "no such field"},
		{`owner_id = "é" AND owner = "a"`, 20, "no such field"},
		{"owner_id = a\nAND owner = b", 18, "no such field"},
		{`owner_id.x = "a"`, 1, "no such field"},
		{`"owner_id" = "a"`, 1, "a field is missing"},
		{`owner_id:"a"`, 1, "allowed are = !="},
		{`owner_id < "a"`, 1, "allowed are = !="},
		{`tags = "a"`, 1, "allowed are :"},
		{`path > "a"`, 1, "allowed are = != :"},
		{`owner_id = 7`, 12, "in quotes"},
		{`owner_id = a-b`, 13, "unexpected"},
		{`owner_id = a.b`, 12, "in quotes"},
		{`owner_id = (owner_id = a)`, 13, "in quotes"},
		{`state = NICE`, 9, "allowed are READY, BROKEN, WITHOUT_SQL, ARCHIVED, FORBIDDEN, GONE"},
		{`state = UNSPECIFIED`, 9, "no such value"},
		{`state = 1`, 9, "allowed are READY"},
		{`findings.code:"x"`, 15, "PREVIEW_LIMIT_LIFTED"},
		{`update_time > "yesterday"`, 15, "2026-01-31T08:00:00Z"},
		{`update_time > "2026-01-31"`, 15, "2026-01-31T08:00:00Z"},
		{`update_time:*`, 1, "allowed are = != < <= > >="},
		{`Orders`, 1, "the request's field query"},
		{`"Orders"`, 1, "the request's field query"},
		{`owner_id = a Orders`, 14, "the request's field query"},
		{`lower(owner_id) = "a"`, 1, "a field is missing"},
		{`now()`, 1, "no function"},
		{`owner_id = `, 11, "a filter looks like"},
		{`= "a"`, 1, "unexpected token ="},
		{`owner_id = "a" AND`, 0, "a filter looks like"},
		{`(owner_id = "a"`, 0, "a filter looks like"},
		{`owner_id = "a`, 12, "unterminated string"},
		{`owner_id = "a" )`, 0, "a filter looks like"},
		{"owner_id = \"\xff\"", 0, "invalid UTF-8"},
		{`owner_id = "\q"`, 0, ""},
		{long, 0, "at most 2000"},
		{many, 701, "more than 50 comparisons"},
		{deep, 11, "more than 10 deep"},
	} {
		got, err := fields.Parse(test.text)
		var failed *filter.Error
		if !errors.As(err, &failed) {
			t.Errorf("%.60q was read as %v, error %v", test.text, got, err)
			continue
		}
		if test.position > 0 && failed.Position != test.position {
			t.Errorf("%.60q: place %d, want %d: %v", test.text, failed.Position, test.position, err)
		}
		if !strings.Contains(failed.Error(), test.says) {
			t.Errorf("%.60q: %v; want %q", test.text, err, test.says)
		}
	}
}

func TestParseOrder(t *testing.T) {
	for text, want := range map[string]filter.Order{
		"":              {},
		" ":             {},
		"path":          {Field: "path"},
		" name asc":     {Field: "name"},
		"name   desc  ": {Field: "name", Desc: true},
	} {
		got, err := filter.ParseOrder(text, "path", "name")
		if err != nil || got != want {
			t.Errorf("%q: %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"size", "path,name", "path down", "path desc desc", "path;", ",", "path,", "NAME"} {
		got, err := filter.ParseOrder(text, "path", "name")
		var failed *filter.Error
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "path, name") {
			t.Errorf("%q: %v, error %v", text, got, err)
		}
	}
}

// FuzzParse: whatever the text, there is a filter or an error with a place in it.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`owner_id = "a" AND NOT (tags:* OR path:"x")`, `update_time > timestamp("2026-01-31T08:00:00Z")`,
		`f(g(h((`, `- - a`, `-9223372036854775808`, `a."b".NOT.7 : *`, `((((`, `"\x`, `state=READY -findings.code:*`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := fields.Parse(text)
		var failed *filter.Error
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if failed != nil && (failed.Position < 0 || failed.Position > len(text)+1 || failed.Problem == "") {
			t.Fatalf("place %d of %d: %v", failed.Position, len(text), failed)
		}
	})
}
