package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// Organization describes the company's Sigma organization: what a company has
// after two years, the untidy corners included.
func Organization() sigmatest.Organization {
	org := sigmatest.Organization{
		Slug:         "acme-coffee",
		ClientID:     "demo-client",
		ClientSecret: "demo-secret",
		OwnerEmail:   "data-team@example.com",
		Connections: []sigmatest.Connection{
			{Name: "Snowflake production", Account: Account, Warehouse: Warehouse, Role: Role, User: User},
			{Name: "Legacy warehouse", Type: "bigQuery"},
		},
		Workspaces: []string{"Sales", "Product", "Support"},
	}
	status, plan, country, topic := orders.columns[3], customers.columns[3], customers.columns[4], tickets.columns[2]

	org.Workbooks = []sigmatest.Workbook{
		book("Sales", "Orders", page("All orders", orders.list("Orders"), text(), orders.count("Orders by status", "bar", status)),
			page("Numbers", orders.kpi("Revenue", "Sum([Amount])", "sum(AMOUNT)"), orders.kpi("Order count", "Count()", "count(1)"))),
		book("Sales", "Customers", page("Customers", customers.list("Customers"), control("Country"), customers.count("Customers by plan", "donut", plan)),
			hidden("Model for sync", customers.list("Customers (sync)"))),
		book("Sales/Regions", "Regional sales", page("Regions", regional(), customers.count("Customers by country", "bar", country), image())),
		book("Sales", "Subscriptions", page("Subscriptions", subscriptions.list("Subscriptions"), subscriptions.kpi("Monthly revenue", "Sum([Monthly Price])", "sum(MONTHLY_PRICE)"))),
		book("Sales", "Best customers", page("Top 25", topCustomers())),
		book("Product", "Products", page("Catalogue", products.list("Products"), products.kpi("Products", "Count()", "count(1)"))),
		book("Product", "Usage", page("Events", events.list("Events"), events.count("Events by kind", "bar", events.columns[2]),
			events.pivot("Events by customer", events.columns[1], events.columns[2], "page_view", "search", "checkout"))),
		book("Support", "Tickets", page("Tickets", tickets.list("Tickets"), tickets.count("Tickets by topic", "bar", topic),
			tickets.pivot("Topics by state", topic, tickets.columns[3], "open", "waiting", "solved"))),
		book("Support", "Private notes", page("Notes", privateNotes.list("Notes"))),
		book("Support", "Unfinished", page("Page 1", unnamed(tickets), unnamed(tickets), broken(), circular())),
		book("Support/Old", "Before the move", page("Page 1", refused("Old tickets", sigmatest.WithNothing), refused("Old topics", sigmatest.UnableToProduce),
			refused("Shared with nobody", sigmatest.Forbidden))),
		archived(book("Support/Old", "Year 2023", page("Page 1", tickets.list("Tickets 2023")))),
	}
	for i, area := range []string{"Berlin", "Paris", "Tokyo", "New York", "São Paulo", "Mumbai", "Lisboa", "Oslo", "Kraków", "Wien"} {
		org.Workbooks = append(org.Workbooks, book("Shops/"+area, fmt.Sprintf("Shop %02d: %s", i+1, area),
			page("Overview", text(), orders.count("Orders by status", "bar", status), orders.kpi("Revenue", "Sum([Amount])", "sum(AMOUNT)")),
			page("Detail", orders.list("Orders"), customers.list("Customers"))))
	}
	for i := range org.Workbooks {
		w := &org.Workbooks[i]
		w.Version = 1 + i*3%11
		w.CreatedAt = time.Date(2025, 1, 1+i, 9, 30, 0, 0, time.UTC)
		w.UpdatedAt = w.CreatedAt.AddDate(0, 3, i)
	}
	org.Workbooks[0].Tags = []string{"Production"}
	return org
}

func book(path, name string, pages ...sigmatest.Page) sigmatest.Workbook {
	return sigmatest.Workbook{Path: path, Name: name, Pages: pages}
}

func archived(w sigmatest.Workbook) sigmatest.Workbook {
	w.Archived = true
	return w
}

func page(name string, elements ...sigmatest.Element) sigmatest.Page {
	return sigmatest.Page{Name: name, Elements: elements}
}

func hidden(name string, elements ...sigmatest.Element) sigmatest.Page {
	return sigmatest.Page{Name: name, Hidden: true, Elements: elements}
}

func text() sigmatest.Element  { return sigmatest.Element{Type: "text"} }
func image() sigmatest.Element { return sigmatest.Element{Type: "image"} }

func control(name string) sigmatest.Element { return sigmatest.Element{Name: name, Type: "control"} }

func unnamed(t table) sigmatest.Element { return t.list("") }

func refused(name string, refusal sigmatest.Refusal) sigmatest.Element {
	e := tickets.list(name)
	e.SQL, e.Refusal = "", refusal
	return e
}

// regional joins two tables. Both have preview limits of their own.
func regional() sigmatest.Element {
	return sigmatest.Element{
		Name: "Orders with customers",
		Columns: []sigmatest.Column{
			{Label: "Order Id", Formula: "[Orders/Order Id]", Type: "number"}, {Label: "Amount", Formula: "[Orders/Amount]", Type: "number"},
			{Label: "Full Name", Formula: "[Customers/Full Name]", Type: "text"}, {Label: "Country", Formula: "[Customers/Country]", Type: "text"},
			{Label: "Ordered At", Formula: "[Orders/Ordered At]", Type: "datetime"},
		},
		SQL: `with Q1 as (select ORDER_ID, CUSTOMER_ID, AMOUNT, ORDERED_AT::timestamp_ltz CAST_TIMESTAMP_TO_DATETIME_7 from ACME.SALES.ORDERS ORDERS), ` +
			`Q3 as (select CUSTOMER_ID, FULL_NAME, COUNTRY from ACME.SALES.CUSTOMERS CUSTOMERS) ` +
			`select ORDER_ID "Order Id", AMOUNT "Amount", FULL_NAME "Full Name", COUNTRY "Country", CAST_TIMESTAMP_TO_DATETIME_7 "Ordered At" ` +
			`from (select Q2.ORDER_ID, Q2.AMOUNT, Q4.FULL_NAME, Q4.COUNTRY, Q2.CAST_TIMESTAMP_TO_DATETIME_7 from Q1 Q2 inner join Q3 Q4 on equal_null(Q2.CUSTOMER_ID, Q4.CUSTOMER_ID) limit 1000) Q5 limit 1000`,
	}
}

// topCustomers has a limit of its author's inside of Sigma's.
func topCustomers() sigmatest.Element {
	return sigmatest.Element{
		Name: "Top 25 customers",
		Columns: []sigmatest.Column{
			{Label: "Full Name", Formula: "[CUSTOMERS/Full Name]", Type: "text"}, {Label: "Lifetime Value", Formula: "[CUSTOMERS/Lifetime Value]", Type: "number"},
		},
		SQL: `select FULL_NAME "Full Name", LIFETIME_VALUE "Lifetime Value" from (select FULL_NAME, LIFETIME_VALUE from ACME.SALES.CUSTOMERS CUSTOMERS order by LIFETIME_VALUE desc nulls last limit 25) Q1 limit 1000`,
	}
}

// broken has a formula with an error. Sigma's answer does not say so: its
// message stands in the SQL as if it were data.
func broken() sigmatest.Element {
	e := tickets.list("Tickets with a broken formula")
	e.Columns = append(e.Columns, sigmatest.Column{Label: "Wait", Formula: "[Solved] - [Opened At]", Type: "error"})
	e.SQL = strings.Replace(strings.Replace(e.SQL, " from (select ", `, V_12 "Wait" from (select `, 1), " from (select * ", `, 'Unknown column "[Solved]"' V_12 from (select * `, 1)
	return e
}

func circular() sigmatest.Element {
	e := tickets.list("Circular")
	e.Refusal = sigmatest.WithError
	return e
}
