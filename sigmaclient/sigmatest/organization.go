// Package sigmatest is a Sigma organization in memory, served over HTTP.
//
// Sigma has no sandbox: every call runs against a real organization. So what
// reads Sigma is tested and demonstrated here, against answers in the shape of
// Sigma's published contract, which a test checks. A small description makes an
// organization ([Organization]); [NewServer] serves it; [Server.SetFaults] makes
// it behave as badly as the real one can.
//
// The package imports the standard library only, package testing not included:
// the demonstration runs it too.
package sigmatest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Organization describes an organization. What is left empty is filled in:
// ids are derived from names, so that the same description gives the same ids.
type Organization struct {
	ID           string
	Slug         string // in the URLs of documents
	ClientID     string
	ClientSecret string
	Owner        string // member id of the credentials' owner
	OwnerEmail   string // appears in the comment of every SQL text
	Connections  []Connection
	Workbooks    []Workbook
	DataModels   []DataModel
	Workspaces   []string
}

// Connection is a warehouse connection.
type Connection struct {
	ID      string
	Name    string
	Type    string // "snowflake" where empty
	Account string
	Host    string
	Role    string
	User    string
	// Warehouse is the compute warehouse.
	Warehouse string
}

// Workbook is a document with pages.
type Workbook struct {
	ID        string
	Name      string
	Path      string // of the folder
	Owner     string
	Version   int // 1 where zero
	Archived  bool
	Tags      []string
	CreatedAt time.Time
	UpdatedAt time.Time
	Pages     []Page
}

// DataModel is a document whose elements other documents build on.
type DataModel struct {
	ID        string
	Name      string
	Path      string
	Version   int
	CreatedAt time.Time
	UpdatedAt time.Time
	Elements  []Element
	// Connection is the id of the connection that it reads from.
	Connection string
}

// Page is a page of a workbook.
type Page struct {
	ID       string
	Name     string
	Hidden   bool
	Elements []Element
}

// Element is something on a page.
type Element struct {
	ID            string
	Name          string
	Type          string // "table" where empty
	Visualization string // "levelTable" where empty and the type is "table"
	Columns       []Column
	// SQL is the query without the trailing comment, which the server adds
	// afresh to every answer.
	SQL string
	// Connection is the id of the connection that the element reads from.
	Connection string
	// DataModel is the id of the data model that it reads from instead.
	DataModel string
	// CustomSQL is the author's text that it reads from, if it does.
	CustomSQL string
	// Refusal replaces the query.
	Refusal Refusal
}

// Refusal is how Sigma answers for an element without giving its SQL.
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
)

// Column is a column of an element.
type Column struct {
	ID      string
	Label   string
	Formula string
	Type    string // "text" where empty; "error" for a formula with an error
}

// isData reports whether Sigma produces a query for elements of this type.
func (e Element) isData() bool {
	switch e.Type {
	case "text", "image", "line", "control", "button", "embed", "container", "divider":
		return false
	}
	return true
}

// complete fills in what the description leaves out.
func (o *Organization) complete() {
	fill(&o.Slug, "acme")
	fill(&o.ID, uuid("organization", o.Slug))
	fill(&o.ClientID, hash("client", o.Slug)[:32])
	fill(&o.ClientSecret, hash("secret", o.Slug))
	fill(&o.Owner, "mem"+hash("owner", o.Slug)[:12])
	fill(&o.OwnerEmail, "owner@example.com")
	for i := range o.Connections {
		c := &o.Connections[i]
		fill(&c.ID, uuid("connection", o.Slug, c.Name))
		fill(&c.Type, "snowflake")
	}
	for i := range o.Workbooks {
		o.completeWorkbook(&o.Workbooks[i])
	}
	for i := range o.DataModels {
		m := &o.DataModels[i]
		fill(&m.ID, uuid("data model", o.Slug, m.Path, m.Name))
		m.Version = max(1, m.Version)
		fillTimes(&m.CreatedAt, &m.UpdatedAt)
		o.completeElements(m.Elements, m.ID, m.Connection)
	}
}

func (o *Organization) completeWorkbook(w *Workbook) {
	fill(&w.ID, uuid("workbook", o.Slug, w.Path, w.Name))
	fill(&w.Owner, o.Owner)
	w.Version = max(1, w.Version)
	fillTimes(&w.CreatedAt, &w.UpdatedAt)
	connection := ""
	if len(o.Connections) > 0 {
		connection = o.Connections[0].ID
	}
	for i := range w.Pages {
		p := &w.Pages[i]
		fill(&p.ID, shortID(w.ID, "page", fmt.Sprint(i)))
		o.completeElements(p.Elements, p.ID, connection)
	}
}

func (o *Organization) completeElements(elements []Element, parent, connection string) {
	for i := range elements {
		e := &elements[i]
		fill(&e.ID, shortID(parent, "element", fmt.Sprint(i), e.Name))
		fill(&e.Type, "table")
		if e.Type == "table" {
			fill(&e.Visualization, "levelTable")
		}
		if e.DataModel == "" {
			fill(&e.Connection, connection)
		}
		for j := range e.Columns {
			c := &e.Columns[j]
			fill(&c.ID, shortID(e.ID, "column", c.Label))
			fill(&c.Type, "text")
		}
	}
}

// clone shares nothing with o that complete or a change may write to.
func (o Organization) clone() Organization {
	o.Connections = slices.Clone(o.Connections)
	o.Workspaces = slices.Clone(o.Workspaces)
	o.Workbooks = slices.Clone(o.Workbooks)
	for i := range o.Workbooks {
		w := &o.Workbooks[i]
		w.Tags = slices.Clone(w.Tags)
		w.Pages = slices.Clone(w.Pages)
		for j := range w.Pages {
			w.Pages[j].Elements = cloneElements(w.Pages[j].Elements)
		}
	}
	o.DataModels = slices.Clone(o.DataModels)
	for i := range o.DataModels {
		o.DataModels[i].Elements = cloneElements(o.DataModels[i].Elements)
	}
	return o
}

func cloneElements(elements []Element) []Element {
	elements = slices.Clone(elements)
	for i := range elements {
		elements[i].Columns = slices.Clone(elements[i].Columns)
	}
	return elements
}

func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func fillTimes(created, updated *time.Time) {
	if created.IsZero() {
		*created = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	}
	if updated.IsZero() {
		*updated = *created
	}
}

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}

func uuid(parts ...string) string {
	h := hash(parts...)
	return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-8" + h[17:20] + "-" + h[20:32]
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// shortID is an id as elements have it: ten characters of base64url.
func shortID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	id := make([]byte, 10)
	for i := range id {
		id[i] = idAlphabet[sum[i]&63]
	}
	return string(id)
}

// urlID is an id as it stands in URLs: 22 characters of base62.
func urlID(id string) string {
	sum := sha256.Sum256([]byte(id))
	text := new(big.Int).SetBytes(sum[:17]).Text(62)
	return (strings.Repeat("0", 22) + text)[len(text):]
}
