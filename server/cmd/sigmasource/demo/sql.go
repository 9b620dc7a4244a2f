package demo

import (
	"fmt"
	"strings"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// column is a column of a table as a workbook shows it.
type column struct {
	name  string // in the warehouse
	label string // in Sigma
	typ   string // Sigma's, or "date" for a DATE, which Sigma shows as a datetime
}

func (c column) sigmaType() string {
	if c.typ == "date" {
		return "datetime"
	}
	return c.typ
}

// table is a table of the warehouse.
type table struct {
	name    string // DATABASE.SCHEMA.TABLE
	columns []column
}

func (t table) short() string { return t.name[strings.LastIndexByte(t.name, '.')+1:] }

var (
	orders = table{"ACME.SALES.ORDERS", []column{
		{"ORDER_ID", "Order Id", "number"}, {"CUSTOMER_ID", "Customer Id", "number"}, {"ORDERED_AT", "Ordered At", "datetime"},
		{"STATUS", "Status", "text"}, {"AMOUNT", "Amount", "number"}, {"CHANNEL", "Channel", "text"}, {"NOTE", "Note", "text"},
	}}
	customers = table{"ACME.SALES.CUSTOMERS", []column{
		{"CUSTOMER_ID", "Customer Id", "number"}, {"FULL_NAME", "Full Name", "text"}, {"EMAIL", "E-Mail", "text"}, {"PLAN", "Plan", "text"},
		{"COUNTRY", "Country", "text"}, {"SIGNED_UP", "Signed Up", "date"}, {"LIFETIME_VALUE", "Lifetime Value", "number"}, {"ACTIVE", "Active?", "boolean"},
	}}
	subscriptions = table{"ACME.SALES.SUBSCRIPTIONS", []column{
		{"SUBSCRIPTION_ID", "Subscription Id", "number"}, {"CUSTOMER_ID", "Customer Id", "number"}, {"STARTED_ON", "Started On", "date"},
		{"ENDED_ON", "Ended On", "date"}, {"MONTHLY_PRICE", "Monthly Price", "number"},
	}}
	products = table{"ACME.PRODUCT.PRODUCTS", []column{
		{"SKU", "Sku", "text"}, {"NAME", "Product", "text"}, {"PRICE", "Price", "number"}, {"IN_STOCK", "In Stock", "number"}, {"ATTRIBUTES", "Attributes", "variant"},
	}}
	events = table{"ACME.PRODUCT.EVENTS", []column{
		{"EVENT_ID", "Event Id", "number"}, {"CUSTOMER_ID", "Customer Id", "number"}, {"EVENT_NAME", "Event", "text"},
		{"HAPPENED_AT", "Happened At", "datetime"}, {"SCORE", "Score", "number"},
	}}
	tickets = table{"ACME.SUPPORT.TICKETS", []column{
		{"TICKET_ID", "Ticket Id", "number"}, {"CUSTOMER_ID", "Customer Id", "number"}, {"TOPIC", "Topic", "text"}, {"STATE", "State", "text"},
		{"OPENED_AT", "Opened At", "datetime"}, {"SOLVED_AT", "Solved At", "datetime"},
	}}
	privateNotes = table{"ACME.SUPPORT.PRIVATE_NOTES", []column{{"TICKET_ID", "Ticket Id", "number"}, {"NOTE", "Note", "text"}}}
)

// list is a plain table, the way Sigma writes it: its preview limit stands
// outside and inside.
func (t table) list(name string) sigmatest.Element {
	var outer, inner []string
	for i, c := range t.columns {
		expression := c.name
		if c.sigmaType() == "datetime" {
			cast := "CAST_TIMESTAMP_TO_DATETIME_%d"
			if c.typ == "date" {
				cast = "CAST_DATE_TO_DATETIME_%d"
			}
			internal := fmt.Sprintf(cast, i+5)
			inner = append(inner, c.name+"::timestamp_ltz "+internal)
			outer = append(outer, internal+` "`+c.label+`"`)
			continue
		}
		inner = append(inner, expression)
		outer = append(outer, c.name+` "`+c.label+`"`)
	}
	return sigmatest.Element{
		Name:    name,
		Columns: t.sigmaColumns(),
		SQL: fmt.Sprintf("select %s from (select %s from (select * from %s %s limit 1000) Q1) Q2 limit 1000",
			strings.Join(outer, ", "), strings.Join(inner, ", "), t.name, t.short()),
	}
}

func (t table) sigmaColumns() []sigmatest.Column {
	var columns []sigmatest.Column
	for _, c := range t.columns {
		columns = append(columns, sigmatest.Column{
			ID: "inode-" + t.short() + "/" + c.name, Label: c.label, Formula: "[" + t.short() + "/" + c.label + "]", Type: c.sigmaType(),
		})
	}
	return columns
}

// count is a chart of a number per key. Sigma repeats the number on every base
// row, through a join on the key that also matches nulls.
func (t table) count(name, chart string, key column) sigmatest.Element {
	return sigmatest.Element{
		Name: name, Type: "visualization", Visualization: chart,
		Columns: []sigmatest.Column{
			{Label: key.label, Formula: "[" + t.short() + "/" + key.label + "]", Type: key.sigmaType()},
			{Label: "Count", Formula: "Count()", Type: "number"},
		},
		SQL: fmt.Sprintf(`with Q1 as (select %[1]s from %[2]s %[3]s) select Q2.%[1]s %[4]q, COUNT_23 "Count" from (select %[1]s from Q1 order by %[1]s asc limit 1000) Q2 left join (select %[1]s, count(1) COUNT_23 from Q1 group by %[1]s) Q3 on equal_null(Q2.%[1]s, Q3.%[1]s) limit 1000`,
			key.name, t.name, t.short(), key.label),
	}
}

// kpi is one number, without any limit.
func (t table) kpi(name, formula, expression string) sigmatest.Element {
	return sigmatest.Element{
		Name: name, Type: "visualization", Visualization: "kpi",
		Columns: []sigmatest.Column{{Label: name, Formula: formula, Type: "number"}},
		SQL:     fmt.Sprintf(`select %s %q from %s %s`, expression, name, t.name, t.short()),
	}
}

// pivot counts by two keys.
func (t table) pivot(name string, rows, columns column, values ...string) sigmatest.Element {
	selected := []string{rows.name + ` "` + rows.label + `"`}
	shown := []sigmatest.Column{{Label: rows.label, Formula: "[" + t.short() + "/" + rows.label + "]", Type: rows.sigmaType()}}
	for i, v := range values {
		selected = append(selected, fmt.Sprintf(`COUNT_%d "%s"`, i+20, v))
		shown = append(shown, sigmatest.Column{Label: v, Formula: "CountIf([" + columns.label + `] = "` + v + `")`, Type: "number"})
	}
	var counted []string
	for i, v := range values {
		counted = append(counted, fmt.Sprintf("sum(iff(%s = '%s', 1, 0)) COUNT_%d", columns.name, v, i+20))
	}
	return sigmatest.Element{
		Name: name, Type: "pivot-table", Visualization: "pivot", Columns: shown,
		SQL: fmt.Sprintf("select %s from (select %s, %s from %s %s group by %s) Q1 order by %s asc limit 1000",
			strings.Join(selected, ", "), rows.name, strings.Join(counted, ", "), t.name, t.short(), rows.name, rows.name),
	}
}
