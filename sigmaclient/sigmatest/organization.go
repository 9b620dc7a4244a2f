// Package sigmatest is a Sigma organization in memory, served over HTTP.
//
// Sigma has no sandbox: every call runs against a real organization. So what
// reads Sigma is tested and demonstrated here, against answers in the shape of
// Sigma's published contract, which a test checks. A small description makes an
// organization ([Organization]); [NewServer] serves it; [Server.Change] changes it
// while it is being read; [Server.SetFaults] makes it behave as badly as the
// real one can.
//
// Ids and lineage have the form that live organizations use (see [References]). A
// document can refuse single calls steadily (Failures), and a [Raw] member of an
// object can have any JSON value, which the contract test leaves out on purpose.
// Package strange has an organization that is made of such cases.
//
// The package imports the standard library only, neither package testing nor
// package sigmaclient: the demonstration runs it in an ordinary program, and
// the client is to be tested against somebody else's reading of the contract.
package sigmatest

import (
	"slices"
	"strings"
	"time"
)

// Organization describes an organization. What is left empty is filled in, ids
// from names, so that the same description gives the same ids. Once filled in
// an id stays, whatever is renamed.
type Organization struct {
	ID           string
	Slug         string // in the URLs of documents
	ClientID     string
	ClientSecret string
	Owner        string   // member id of the credential's owner, with whose rights it reads
	OwnerEmail   string   // appears in the comment of every SQL text
	Others       []Client // further API credentials
	Connections  []Connection
	Workspaces   []string // names; those that the paths of documents begin with are added
	TimeZone     string   // of the account, as an IANA name; UTC where empty. See Element.SQL
	// VersionIDs is how all calls answer that are made with the id of a tagged version;
	// with the contents of that version where the status is 0.
	VersionIDs Failure
	// IgnoresBookmarks answers a query for an unknown bookmark with the published state.
	IgnoresBookmarks bool
	References       References // how lineage names sources, in documents that do not say
	Workbooks        []Workbook
	DataModels       []DataModel
}

// Client is an API credential.
type Client struct {
	ID     string
	Secret string
	Owner  string // as the organization's
	Email  string
}

// Connection is a warehouse connection.
type Connection struct {
	ID        string
	Name      string
	Type      string // "snowflake" where empty
	Account   string
	Host      string
	Warehouse string // the compute warehouse
	User      string
	Role      string
	OAuth     bool

	RoleSwitching string            // "disabled" where empty
	RoleAttribute string            // the name of the user attribute that replaces the role
	WriteBacks    []string          // "DB.SCHEMA" in which Sigma keeps tables of its own
	Raw           map[string]string // replaces members of the JSON object; see Raw
}

// Workbook is a document with pages.
type Workbook struct {
	ID        string
	Name      string
	Path      string // of the folder, its first part a workspace; "My Documents" where empty
	Owner     string // member id; the credential's owner where empty
	Version   int    // 1 where zero
	CreatedAt time.Time
	UpdatedAt time.Time
	Pages     []Page
	Tags      []string
	// Versions are the pages as they were when a tag was given, by the tag. A
	// tag without any shows the pages as they are.
	Versions  map[string][]Page
	Bookmarks []Bookmark

	Archived   bool
	SharedWith []string // member ids; everybody where empty
	Unreadable bool     // listed, but everything in it answers 403
	NoLineage  bool     // its lineage answers 500, steadily
	Queries    Refusal  // of the call for the SQL of all elements

	References References        // how the lineage names sources; the organization's where zero
	Failures   map[Call]Failure  // the calls about the workbook that always fail
	Unsent     bool              // counted in the total of the list, and not in the list
	Raw        map[string]string // replaces members of the JSON object; see Raw
}

// Bookmark is a saved view of a workbook. Its queries have its values of controls.
type Bookmark struct {
	ID      string // made from the name where empty
	Name    string
	Owner   string            // member id, who alone sees it; everybody where empty
	Default bool              // of those who see it
	Values  map[string]string // of controls, by name; the others have their saved values
}

// Page is a page of a workbook.
type Page struct {
	ID       string
	Name     string
	Hidden   bool
	Elements []Element
}

// DataModel is a document whose elements other documents build on.
type DataModel struct {
	ID         string
	Name       string
	Path       string
	Owner      string
	Version    int
	CreatedAt  time.Time
	UpdatedAt  time.Time
	Connection string // name or id; the first connection where empty
	Elements   []Element

	References References        // as a workbook's
	Failures   map[Call]Failure  // as a workbook's
	Unsent     bool              // as a workbook's
	Raw        map[string]string // as a workbook's
}

// Element is something on a page, or in a data model.
type Element struct {
	ID            string
	Name          string // may be empty, and need not be unique
	Type          string // "table" where empty
	Visualization string // "levelTable" where empty and the type is "table"
	Columns       []Column
	// SQL is the query without the trailing comment, which the server adds
	// afresh to every answer. Where it is empty a data element gets a plain
	// select of its columns with Sigma's preview limits. Each answer replaces in it
	//
	//	{{system::CurrentUserEmail}}  by the reader's address, as a constant
	//	{{control Region}}            by the value of the document's control, as a constant
	//	{{time 2026-04-01T00:00:00}}  by that wall clock in the account's time zone, as Sigma writes it
	//	{{row version}}               by RowVersion
	SQL string
	// Value is the saved value of a control.
	Value string
	// RowVersion is the version of the rows of an input table.
	RowVersion int
	// Materialized is the table "DB.SCHEMA.TABLE" that a plain select reads in the
	// place of the first of Tables.
	Materialized string

	Connection string   // name or id; the first connection where empty
	Tables     []string // "DB.SCHEMA.TABLE" that it reads from; one named after the element where nothing is told
	DataModel  string   // name or id of the data model that it reads from instead
	// DataModelElement is the name or id of the data model's element that it reads
	// from. Empty makes lineage name the data model with a suffix that no element
	// has.
	DataModelElement string
	CustomSQL        string   // the author's text that it reads from instead
	CustomSQLName    string   // of the text in lineage; need not be unique; one with the element's id where empty
	Source           Source   // a source of another kind that it reads from instead
	Elements         []string // names or ids of elements of the same document that it builds on instead

	// Exported are the rows of an export, in the order of Columns.
	Exported [][]string
	// NoExport makes Sigma refuse the export.
	NoExport bool

	Refusal   Refusal // replaces the query
	Failure   Failure // replaces the query, where it has a status
	Unlisted  bool    // left out of the SQL of all elements
	Unplaced  bool    // has SQL there, but is left out of the lists of elements
	Twice     bool    // comes twice there
	NoLineage bool    // its own lineage answers 500, steadily
	Unsent    bool    // counted in the totals of lists of elements, and not in the lists

	ColumnsUnsent bool // the calls for columns do not list its columns; the element does

	Raw        map[string]string // replaces members of the JSON object; see Raw
	RawQuery   map[string]string // the same of its query, or of a control's entry in the list of controls
	RawLineage map[string]string // the same of its lineage entry
}

// Column is a column of an element.
type Column struct {
	ID      string
	Label   string
	Formula string // a column of the source where empty
	Type    string // "text" where empty; "error" for a formula with an error

	Hidden     bool     // the calls for columns do not list it; its element's query has it
	AllowedFor []string // member ids; the others get the label Restricted and "No access" in every row of a plain select

	Raw map[string]string // replaces members of the JSON object; see Raw
}

// Source is a source that is neither a table, a data model nor custom SQL.
type Source struct {
	Kind   SourceKind
	ID     string // made from the name where empty
	Name   string
	Untold bool // lineage does not tell its connection
}

// SourceKind is the type of a source in lineage.
type SourceKind string

// The kinds of sources.
const (
	CSVUpload    SourceKind = "csv-upload"
	SemanticView SourceKind = "semantic-view"
	SQLDocument  SourceKind = "sql-document"
	Worksheet    SourceKind = "worksheet"
	Dataset      SourceKind = "dataset"
)

// References is how the elements in lineage name what they read from.
type References int

// The forms of references. Live is the one that Sigma has been seen to use.
const (
	AsOrganization References = iota // the organization's form; Live for an organization
	Live                             // inode-<url id>, <data model's url id>/<suffix>, the name of custom SQL
	PlainIDs                         // the ids of the entries; custom SQL by the id that only the sources have
	PrefixedIDs                      // inode-<UUID>
	UpperCaseIDs                     // inode-<UUID in upper case>
	OnlySourceIDs                    // as Live, in sourceIds alone, which lead through other elements
)

// Raw replaces members of a JSON object: by key, the JSON text that takes the
// place of the value. Empty text removes the member.
func Raw(keysAndValues ...string) map[string]string {
	raw := map[string]string{}
	for i := 0; i+1 < len(keysAndValues); i += 2 {
		raw[keysAndValues[i]] = keysAndValues[i+1]
	}
	return raw
}

// Columns makes columns from labels. A label may end in a colon and a type, as
// in "Order Id:number".
func Columns(labels ...string) []Column {
	columns := make([]Column, len(labels))
	for i, label := range labels {
		columns[i].Label = label
		if at := strings.LastIndexByte(label, ':'); at >= 0 {
			columns[i] = Column{Label: label[:at], Type: label[at+1:]}
		}
	}
	return columns
}

// Refusal is how Sigma answers without giving SQL.
type Refusal int

// The refusals that have been seen.
const (
	None            Refusal = iota
	WithError               // 200 with an error: a broken dependency
	WithNothing             // 200 with neither SQL nor error: a retired dataset
	UnableToProduce         // 400 unable_to_produce_query
	WarehouseFailed         // 400 warehouse_query_failed_user_error
	Forbidden               // 403
	NotPresent              // 404
	SourceArchived          // 409 inode_archived
	InternalFailure         // 500
)

// Workbook returns the workbook of a name or id, or nil.
func (o *Organization) Workbook(name string) *Workbook {
	for i := range o.Workbooks {
		if w := &o.Workbooks[i]; w.ID == name || w.Name == name {
			return w
		}
	}
	return nil
}

// DataModel returns the data model of a name or id, or nil.
func (o *Organization) DataModel(name string) *DataModel {
	for i := range o.DataModels {
		if m := &o.DataModels[i]; m.ID == name || m.Name == name {
			return m
		}
	}
	return nil
}

// RemoveWorkbook removes the workbook of a name or id.
func (o *Organization) RemoveWorkbook(name string) {
	for i := range o.Workbooks {
		if w := o.Workbooks[i]; w.ID == name || w.Name == name {
			o.Workbooks = append(o.Workbooks[:i:i], o.Workbooks[i+1:]...)
			return
		}
	}
}

// Element returns the first element of a name or id, or nil.
func (w *Workbook) Element(name string) *Element {
	for i := range w.Pages {
		if e := find(w.Pages[i].Elements, name); e != nil {
			return e
		}
	}
	return nil
}

// RemoveElement removes the first element of a name or id.
func (w *Workbook) RemoveElement(name string) {
	for i := range w.Pages {
		p := &w.Pages[i]
		for j, e := range p.Elements {
			if e.ID == name || e.Name == name {
				p.Elements = append(p.Elements[:j:j], p.Elements[j+1:]...)
				return
			}
		}
	}
}

// Element returns the first element of a name or id, or nil.
func (m *DataModel) Element(name string) *Element { return find(m.Elements, name) }

func find(elements []Element, name string) *Element {
	for i := range elements {
		if e := &elements[i]; e.ID == name || e.Name == name {
			return e
		}
	}
	return nil
}

// pagesAt returns the pages of the version with a tag; an empty tag means the
// newest.
func (w *Workbook) pagesAt(tag string) ([]Page, bool) {
	if tag == "" {
		return w.Pages, true
	}
	if !slices.Contains(w.Tags, tag) {
		return nil, false
	}
	if pages, kept := w.Versions[tag]; kept {
		return pages, true
	}
	return w.Pages, true
}

func elementsOf(pages []Page) []*Element {
	var all []*Element
	for i := range pages {
		for j := range pages[i].Elements {
			all = append(all, &pages[i].Elements[j])
		}
	}
	return all
}

// isData reports whether Sigma produces a query for elements of this type.
func (e *Element) isData() bool {
	switch e.Type {
	case "text", "image", "line", "control", "button", "embed", "container", "divider":
		return false
	}
	return true
}

// isLost reports whether Sigma no longer knows what the element reads from.
func (e *Element) isLost() bool { return e.Refusal == WithError || e.Refusal == WithNothing }

// sourceName is a column's name in the warehouse.
func (c *Column) sourceName() string { return identifier(c.Label) }

// identifier makes a name that needs no quotes in SQL.
func identifier(label string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(label))
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "_" + name
	}
	return name
}
