package sigmatest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const brokenDependency = "Dependency on missing element"

// isError reports whether the refusal is an HTTP error.
func (r Refusal) isError() bool { return r != None && r != WithError && r != WithNothing }

// answer is the refusal as an error of Sigma's.
func (r Refusal) answer() answer {
	switch r {
	case UnableToProduce:
		return refuse(http.StatusBadRequest, "unable_to_produce_query", "Unable to produce a query")
	case WarehouseFailed:
		return refuse(http.StatusBadRequest, "warehouse_query_failed_user_error", "SQL compilation error: select SECRET from T")
	case Forbidden:
		return forbidden()
	case SourceArchived:
		return archived()
	case InternalFailure:
		return refuse(http.StatusInternalServerError, "internal_error", "Internal error")
	}
	return refuse(http.StatusNotFound, "not_found", "The query is not present")
}

// query is Sigma's answer for an element's SQL, at a bookmark or as published. The
// elements are those of its document.
func (e *Element) query(a *ask, elements []*Element, at *Bookmark) object {
	body := object{"elementId": e.ID}
	if e.Name != "" {
		body["name"] = e.Name
	}
	switch e.Refusal {
	case WithError:
		body["error"] = brokenDependency
	case WithNothing:
	default:
		body["sql"] = e.fillIn(e.sql(a.client), a, elements, at) + comment(a.client)
	}
	return withRaw(body, e.RawQuery)
}

// comment is what Sigma ends its SQL with: new at each fetch, and naming the
// person whose credential fetched it.
func comment(reader Client) string {
	tag, err := json.Marshal(struct {
		RequestID string `json:"request-id"`
		Email     string `json:"email"`
	}{randomID(), reader.Email})
	if err != nil {
		panic("sigmatest: " + err.Error())
	}
	return "\n\n-- Sigma Σ " + string(tag)
}

// placeholder is a part of a text that an answer replaces; see Element.SQL.
var placeholder = regexp.MustCompile(`\{\{([a-z:]+)([^}]*)\}\}`)

// fillIn replaces the placeholders of a text.
func (e *Element) fillIn(text string, a *ask, elements []*Element, at *Bookmark) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		parts := strings.SplitN(strings.Trim(found, "{}"), " ", 2)
		switch found {
		case "{{system::CurrentUserEmail}}":
			return constant(a.client.Email)
		case "{{row version}}":
			return strconv.Itoa(e.RowVersion)
		}
		switch parts[0] {
		case "control":
			return constant(valueOf(parts[1], elements, at))
		case "time":
			return a.org.wallClock(parts[1])
		}
		return found
	})
}

// valueOf is the value of a control.
func valueOf(name string, elements []*Element, at *Bookmark) string {
	if at != nil {
		if value, isSet := at.Values[name]; isSet {
			return value
		}
	}
	for _, e := range elements {
		if e.Type == "control" && e.Name == name {
			return e.Value
		}
	}
	panic("sigmatest: no control " + name)
}

// wallClock is the moment that a clock in the account's time zone shows, as Sigma
// writes it.
func (o *Organization) wallClock(text string) string {
	zone, err := time.LoadLocation(o.TimeZone)
	if err != nil {
		panic("sigmatest: " + err.Error())
	}
	at, err := time.ParseInLocation("2006-01-02T15:04:05", text, zone)
	if err != nil {
		panic("sigmatest: " + err.Error())
	}
	return "to_timestamp_ltz('" + at.Format("2006-01-02T15:04:05.000000000-07:00") + "', 'YYYY-MM-DDTHH24:MI:SS.FF9TZH:TZM')"
}

func constant(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// isFor reports whether column-level security shows the column to the reader.
func (c *Column) isFor(reader Client) bool {
	return len(c.AllowedFor) == 0 || slices.Contains(c.AllowedFor, reader.Owner)
}

func (c *Column) labelFor(reader Client) string {
	if !c.isFor(reader) {
		return "Restricted"
	}
	return c.Label
}

// sql is the element's text, or a plain one with both of Sigma's preview limits.
func (e *Element) sql(reader Client) string {
	if e.SQL != "" {
		return strings.TrimRight(e.SQL, " \t\r\n")
	}
	table := "DEMO.PUBLIC." + identifier(e.Name)
	if len(e.Tables) > 0 {
		table = e.Tables[0]
	}
	if e.Materialized != "" {
		table = e.Materialized
	}
	name := tableName(table)
	var inner, outer []string
	for i := range e.Columns {
		c := &e.Columns[i]
		label := `"` + strings.ReplaceAll(c.labelFor(reader), `"`, `""`) + `"`
		if !c.isFor(reader) {
			outer = append(outer, `'No access' `+label)
			continue
		}
		if c.Type == "error" { // the message takes the place of the value
			outer = append(outer, `'Unknown column "[`+strings.ReplaceAll(c.Label, "'", "''")+`]"' `+label)
			continue
		}
		alias := fmt.Sprintf("%s_%d", c.sourceName(), i+1)
		inner = append(inner, fmt.Sprintf("%s.%s %s", name, c.sourceName(), alias))
		outer = append(outer, alias+" "+label)
	}
	if len(inner) == 0 {
		inner = []string{"1 V_1"}
	}
	if len(outer) == 0 {
		outer = []string{"V_1"}
	}
	return fmt.Sprintf("select %s from (select %s from (select * from %s %s limit 1000) %s) Q1 limit 1000",
		strings.Join(outer, ", "), strings.Join(inner, ", "), table, name, name)
}
