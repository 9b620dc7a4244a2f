package sigmatest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
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

// query is Sigma's answer for an element's SQL.
func (e *Element) query(reader Client) object {
	body := object{"elementId": e.ID}
	if e.Name != "" {
		body["name"] = e.Name
	}
	switch e.Refusal {
	case WithError:
		body["error"] = brokenDependency
	case WithNothing:
	default:
		body["sql"] = e.sql() + comment(reader)
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

// sql is the element's text, or a plain one with both of Sigma's preview limits.
func (e *Element) sql() string {
	if e.SQL != "" {
		return strings.TrimRight(e.SQL, " \t\r\n")
	}
	table := "DEMO.PUBLIC." + identifier(e.Name)
	if len(e.Tables) > 0 {
		table = e.Tables[0]
	}
	name := tableName(table)
	var inner, outer []string
	for i := range e.Columns {
		c := &e.Columns[i]
		label := `"` + strings.ReplaceAll(c.Label, `"`, `""`) + `"`
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
