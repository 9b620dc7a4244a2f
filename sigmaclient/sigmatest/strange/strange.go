// Package strange is a Sigma organization in which every workbook is strange in
// one way that Sigma's live API, its SQL or its users have been seen to be
// strange, and what is true of each of its models.
//
// A test serves [Organization] with package sigmatest, creates the tables of
// [Tables] in a warehouse, scans, and holds every model to its [Expectation]. The
// package imports nothing of the code under test: codes, states and reasons are
// text.
package strange

import (
	"strings"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// The ids of the connections. The tables of Tables are in Warehouse. Nothing is
// in Elsewhere, which is a warehouse of another kind.
const (
	Warehouse = "c0ffee00-0000-4000-8000-000000000001"
	Elsewhere = "c0ffee00-0000-4000-8000-000000000002"
	// Governed is the warehouse of Warehouse again, by a connection whose settings have
	// other types than Sigma's contract says.
	Governed = "c0ffee00-0000-4000-8000-000000000003"
)

// Account is the Snowflake account of the connection Warehouse.
const Account = "STRANGE-ACCOUNT"

// Rows are the numbers of rows of the tables. Each table has more than the
// limits that stand over it.
const (
	Rows      = 1_200     // of SHOP.SALES.T and of tables that are like it
	LargeRows = 97_100    // of SHOP.SALES.LARGE
	VastRows  = 1_000_003 // of SHOP.SALES.VAST
)

// Tables creates the tables, in SQL that DuckDB and Snowflake understand alike
// except for the function range. The database SHOP and its schemas SALES and
// PUBLIC must exist.
func Tables() string {
	var b strings.Builder
	for _, name := range []string{"SALES.T", `SALES."OVER"`, "SALES.SIMILAR", "SALES.ESCAPE", "PUBLIC.P", "PUBLIC.T_MAT_9F3", "PUBLIC.SIGDS_1F"} {
		b.WriteString("create table SHOP." + name + " (ID bigint, NAME varchar, GRP bigint, AMOUNT bigint);\n" +
			"insert into SHOP." + name + " select i, 'Name ' || i, i % 3, 2 * i from range(1, 1201) t(i);\n")
	}
	b.WriteString("create table SHOP.SALES.LARGE (ID bigint);\ninsert into SHOP.SALES.LARGE select i from range(1, 97101) t(i);\n" +
		"create table SHOP.SALES.VAST (ID bigint);\ninsert into SHOP.SALES.VAST select i from range(1, 1000004) t(i);\n")
	return b.String()
}

// State is what a catalog says of a model.
type State string

// The states. AnyRefused stands for every state but Ready: the model is in the
// catalog, and a read of it fails with a reason. Absent means that the element is
// no model.
const (
	Ready      State = "READY"
	Broken     State = "BROKEN"
	WithoutSQL State = "WITHOUT_SQL"
	Archived   State = "ARCHIVED"
	Forbidden  State = "FORBIDDEN"
	AnyRefused State = "any but READY"
	Absent     State = "absent"
)

// The names of findings.
const (
	PreviewLimitLifted = "PREVIEW_LIMIT_LIFTED"
	LimitAmbiguous     = "LIMIT_AMBIGUOUS"
	AuthorLimit        = "AUTHOR_LIMIT"
	ColumnBroken       = "COLUMN_BROKEN"
	ColumnConstant     = "COLUMN_CONSTANT"
	ColumnUnlisted     = "COLUMN_UNLISTED"
	ColumnNotInSQL     = "COLUMN_NOT_IN_SQL"
	WarehouseUnknown   = "WAREHOUSE_UNKNOWN"
	ControlsPresent    = "CONTROLS_PRESENT"
	HiddenColumn       = "HIDDEN_COLUMN"
	GrainRepeated      = "GRAIN_REPEATED"
	LookupAmbiguous    = "LOOKUP_AMBIGUOUS"
	MaterializedSource = "MATERIALIZED_SOURCE"
	InputTable         = "INPUT_TABLE"
	RolePerViewer      = "ROLE_PER_VIEWER"
	RowsOfOwner        = "ROWS_OF_OWNER"

	// CallRefused stands for the finding that names a refused call, with Sigma's
	// code and request id.
	CallRefused = "call refused"
)

// Expectation is what is true of one element.
type Expectation struct {
	Workbook string // by name, which is also the way in which it is strange
	Element  string // by name

	State   State
	Refusal string // the reason that a read fails with, where only one fits; "WAREHOUSE_MISMATCH" is one of a read alone

	// Findings are the codes that the model, or a read of it, must have. NoFindings
	// are those that it must not have.
	Findings   []string
	NoFindings []string

	// Columns are the labels that a read delivers, in any order.
	Columns []string
	// Values are the values that a column has in every row.
	Values map[string]string
	// Rows is the number of rows of a full read under the default policy for
	// limits. RowsKept and RowsLifted are those under the policies that keep and
	// lift ambiguous limits.
	Rows, RowsKept, RowsLifted int
	// Full is the element's text without the limits that a full read lifts under
	// the default policy. It has the same rows.
	Full string

	// Connection is the id of Sigma's connection that the catalog must show. Empty
	// means that it must show none, if State is Ready.
	Connection string
}

// Incomplete is a list that a scan must mark as incomplete.
type Incomplete struct {
	Call                      string
	Total, Received, Rejected int
}

// Organization returns the organization. Each call returns a new one.
func Organization() sigmatest.Organization {
	org := sigmatest.Organization{
		Slug: "strange",
		Connections: []sigmatest.Connection{
			{ID: Warehouse, Name: "Warehouse", Account: Account, Warehouse: "WH", User: "SIGMA", Role: "SIGMA"},
			{ID: Governed, Name: "Governed", Account: Account, Raw: sigmatest.Raw("useOauth", `"true"`, "role", "7", "roleSwitching", `["allRoles"]`,
				"userAttributes", `{"role":{"name":"Region"}}`, "writebacks", `["SHOP.PUBLIC",{"database":null,"schema":"PUBLIC"}]`)},
			{ID: Elsewhere, Name: "Elsewhere", Type: "redshift", Host: "elsewhere.example.com"},
		},
		DataModels: dataModels(),
	}
	for _, b := range books() {
		org.Workbooks = append(org.Workbooks, b.workbook)
	}
	return org
}

// Expectations returns what is true of each element of the workbooks.
func Expectations() []Expectation {
	var all []Expectation
	for _, b := range books() {
		for _, e := range b.expectations {
			e.Workbook = b.workbook.Name
			all = append(all, e)
		}
	}
	return all
}

// IncompleteLists returns the lists that a scan of the organization must mark.
func IncompleteLists() []Incomplete {
	return []Incomplete{
		{Call: "GET /v2/workbooks", Total: len(books()), Received: len(books()) - 1, Rejected: 1},
		{Call: "GET /v2/workbooks/{}/elements", Total: 3, Received: 2},
		{Call: "GET /v2/workbooks/{}/elements", Total: 2, Received: 2, Rejected: 1},
	}
}

// book is a workbook with what is true of its elements.
type book struct {
	workbook     sigmatest.Workbook
	expectations []Expectation
}

// model is an element with what is true of it.
type model struct {
	element sigmatest.Element
	expect  Expectation
}

// strange makes a workbook of models.
func strange(name string, models ...model) book {
	b := book{workbook: sigmatest.Workbook{Name: name, Path: "Strange", Pages: []sigmatest.Page{{Name: "Page 1"}}}}
	for _, m := range models {
		m.expect.Element = m.element.Name
		b.expectations = append(b.expectations, m.expect)
		b.workbook.Pages[0].Elements = append(b.workbook.Pages[0].Elements, m.element)
	}
	return b
}

// with changes the workbook.
func (b book) with(change func(*sigmatest.Workbook)) book {
	change(&b.workbook)
	return b
}

// on makes an element of a text in which {n} stands for Sigma's preview limits.
// A full read lifts them, and gives the rows of the whole text.
func on(text, limit string, rows int, columns ...sigmatest.Column) model {
	sql := strings.ReplaceAll(text, "{n}", limit)
	var labels []string
	for _, c := range columns {
		labels = append(labels, c.Label)
	}
	return model{
		element: sigmatest.Element{Name: "Model", SQL: sql, Columns: columns, Tables: []string{"SHOP.SALES.T"}},
		expect: Expectation{
			State: Ready, Columns: labels, Rows: rows, RowsKept: rows, RowsLifted: rows, Connection: Warehouse,
			Full: strings.ReplaceAll(text, "{n}", ""),
		},
	}
}

// plain is a table as Sigma writes it.
func plain() model {
	return on(`select ID "Id", NAME "Name" from (select ID, NAME from (select * from SHOP.SALES.T T{n}) Q1) Q2{n}`, " limit 1000", Rows, idColumn, nameColumn)
}

var (
	idColumn   = sigmatest.Column{ID: "id00000001", Label: "Id", Formula: "[T/Id]", Type: "number"}
	nameColumn = sigmatest.Column{ID: "name000001", Label: "Name", Formula: "[T/Name]"}
)

func (m model) named(name string) model {
	m.element.Name = name
	return m
}

func (m model) edit(change func(*sigmatest.Element)) model {
	change(&m.element)
	return m
}

func (m model) finds(codes ...string) model {
	m.expect.Findings = append(m.expect.Findings, codes...)
	return m
}

func (m model) lacks(codes ...string) model {
	m.expect.NoFindings = append(m.expect.NoFindings, codes...)
	return m
}

func (m model) delivers(labels ...string) model {
	m.expect.Columns = labels
	return m
}

func (m model) always(label, value string) model {
	m.expect.Values = map[string]string{label: value}
	return m
}

func (m model) connected(connection string) model {
	m.expect.Connection = connection
	if connection == "" {
		m.expect.Findings = append(m.expect.Findings, WarehouseUnknown)
	}
	return m
}

// refused says that the model cannot be read.
func (m model) refused(state State, reason string) model {
	m.expect = Expectation{State: state, Refusal: reason}
	return m
}
