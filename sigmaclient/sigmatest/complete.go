package sigmatest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"
)

// complete fills in what the description leaves out.
func (o *Organization) complete() {
	fill(&o.Slug, "acme")
	if o.References == AsOrganization {
		o.References = Live
	}
	fill(&o.ID, uuid("organization", o.Slug))
	fill(&o.ClientID, hash("client", o.Slug)[:32])
	fill(&o.ClientSecret, hash("secret", o.Slug))
	fill(&o.Owner, "mem"+hash("owner", o.Slug)[:12])
	fill(&o.OwnerEmail, "owner@example.com")
	for i := range o.Others {
		c := &o.Others[i]
		fill(&c.ID, hash("client", o.Slug, fmt.Sprint(i))[:32])
		fill(&c.Secret, hash("secret", o.Slug, fmt.Sprint(i)))
		fill(&c.Owner, "mem"+hash("owner", o.Slug, fmt.Sprint(i))[:12])
		fill(&c.Email, fmt.Sprintf("owner%d@example.com", i+2))
	}
	for i := range o.Connections {
		c := &o.Connections[i]
		fill(&c.ID, uuid("connection", o.Slug, c.Name))
		fill(&c.Type, "snowflake")
		fill(&c.RoleSwitching, "disabled")
	}
	for i := range o.DataModels {
		m := &o.DataModels[i]
		fill(&m.Path, "My Documents")
		fill(&m.ID, uuid("data model", o.Slug, m.Path, m.Name))
		fill(&m.Owner, o.Owner)
		m.Version = max(1, m.Version)
		fillTimes(&m.CreatedAt, &m.UpdatedAt)
		m.Connection = o.connectionID(m.Connection)
		o.completeElements(m.Elements, m.ID, m.Connection)
	}
	for i := range o.Workbooks {
		o.completeWorkbook(&o.Workbooks[i])
	}
}

func (o *Organization) completeWorkbook(w *Workbook) {
	fill(&w.Path, "My Documents")
	fill(&w.ID, uuid("workbook", o.Slug, w.Path, w.Name))
	fill(&w.Owner, o.Owner)
	w.Version = max(1, w.Version)
	fillTimes(&w.CreatedAt, &w.UpdatedAt)
	for i := range w.Bookmarks {
		fill(&w.Bookmarks[i].ID, uuid("bookmark", w.ID, w.Bookmarks[i].Name))
	}
	o.completePages(w.Pages, w.ID)
	for _, pages := range w.Versions {
		o.completePages(pages, w.ID)
	}
}

// clients are all API credentials.
func (o *Organization) clients() []Client {
	return append([]Client{{ID: o.ClientID, Secret: o.ClientSecret, Owner: o.Owner, Email: o.OwnerEmail}}, o.Others...)
}

// clone returns a copy that shares nothing.
func (o Organization) clone() Organization {
	o.Others = slices.Clone(o.Others)
	o.Connections = slices.Clone(o.Connections)
	for i := range o.Connections {
		c := &o.Connections[i]
		c.WriteBacks, c.Raw = slices.Clone(c.WriteBacks), maps.Clone(c.Raw)
	}
	o.Workspaces = slices.Clone(o.Workspaces)
	o.Workbooks = slices.Clone(o.Workbooks)
	for i := range o.Workbooks {
		w := &o.Workbooks[i]
		w.Tags = slices.Clone(w.Tags)
		w.SharedWith = slices.Clone(w.SharedWith)
		w.Pages = clonePages(w.Pages)
		w.Versions, w.Bookmarks = maps.Clone(w.Versions), slices.Clone(w.Bookmarks)
		for j := range w.Bookmarks {
			w.Bookmarks[j].Values = maps.Clone(w.Bookmarks[j].Values)
		}
		w.Failures, w.Raw = maps.Clone(w.Failures), maps.Clone(w.Raw)
		for tag, pages := range w.Versions {
			w.Versions[tag] = clonePages(pages)
		}
	}
	o.DataModels = slices.Clone(o.DataModels)
	for i := range o.DataModels {
		m := &o.DataModels[i]
		m.Elements = cloneElements(m.Elements)
		m.Failures, m.Raw = maps.Clone(m.Failures), maps.Clone(m.Raw)
	}
	return o
}

func clonePages(pages []Page) []Page {
	pages = slices.Clone(pages)
	for i := range pages {
		pages[i].Elements = cloneElements(pages[i].Elements)
	}
	return pages
}

func cloneElements(elements []Element) []Element {
	elements = slices.Clone(elements)
	for i := range elements {
		e := &elements[i]
		e.Columns = slices.Clone(e.Columns)
		for j := range e.Columns {
			c := &e.Columns[j]
			c.Raw, c.AllowedFor = maps.Clone(c.Raw), slices.Clone(c.AllowedFor)
		}
		e.Raw, e.RawQuery, e.RawLineage = maps.Clone(e.Raw), maps.Clone(e.RawQuery), maps.Clone(e.RawLineage)
		e.Tables = slices.Clone(e.Tables)
		e.Elements = slices.Clone(e.Elements)
	}
	return elements
}

func (o *Organization) completePages(pages []Page, workbookID string) {
	for i := range pages {
		p := &pages[i]
		fill(&p.ID, shortID(workbookID, "page", fmt.Sprint(i), p.Name))
		o.completeElements(p.Elements, p.ID, "")
	}
}

func (o *Organization) completeElements(elements []Element, parent, connection string) {
	for i := range elements {
		e := &elements[i]
		fill(&e.ID, shortID(parent, "element", fmt.Sprint(i), e.Name))
		fill(&e.Type, "table")
		fill(&e.CustomSQLName, "Custom SQL "+e.ID)
		if e.Source.Kind != "" {
			fill(&e.Source.Name, e.Name)
			fill(&e.Source.ID, uuid(string(e.Source.Kind), o.Slug, e.Source.Name))
		}
		if e.Type == "table" {
			fill(&e.Visualization, "levelTable")
		}
		if e.DataModel != "" {
			if m := o.DataModel(e.DataModel); m != nil {
				e.DataModel = m.ID
				fill(&e.Connection, m.Connection)
			}
		}
		fill(&e.Connection, connection)
		e.Connection = o.connectionID(e.Connection)
		if e.isData() && !e.isLost() && len(e.Tables) == 0 && e.DataModel == "" && e.CustomSQL == "" && e.Source.Kind == "" && len(e.Elements) == 0 {
			e.Tables = []string{"DEMO.PUBLIC." + identifier(e.Name)}
		}
		e.completeColumns()
	}
}

func (e *Element) completeColumns() {
	taken := map[string]bool{}
	for _, c := range e.Columns {
		taken[c.ID] = true
	}
	for i := range e.Columns {
		c := &e.Columns[i]
		fill(&c.Type, "text")
		if c.ID == "" && c.Formula == "" && len(e.Tables) > 0 {
			if id := "inode-" + urlID(tableID(e.Connection, e.Tables[0])) + "/" + c.sourceName(); !taken[id] {
				c.ID = id
			}
		}
		fill(&c.ID, shortID(e.ID, "column", fmt.Sprint(i), c.Label))
		taken[c.ID] = true
		if c.Formula == "" && len(e.Tables) > 0 {
			c.Formula = "[" + tableName(e.Tables[0]) + "/" + c.Label + "]"
		}
		fill(&c.Formula, "["+c.Label+"]")
	}
}

// referencesOf returns the form in which a document names its sources.
func (o *Organization) referencesOf(own References) References {
	if own == AsOrganization {
		return o.References
	}
	return own
}

// connectionID returns the id of a connection given by name or id. What is not
// known stays as it is: Sigma, too, has ids that lead nowhere.
func (o *Organization) connectionID(name string) string {
	if name == "" && len(o.Connections) > 0 {
		return o.Connections[0].ID
	}
	for _, c := range o.Connections {
		if c.Name == name {
			return c.ID
		}
	}
	return name
}

func tableID(connection, table string) string { return uuid("table", connection, table) }

// tableName is the last part of a table's path.
func tableName(table string) string { return table[strings.LastIndexByte(table, '.')+1:] }

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

// urlID is an id as it stands in URLs: the UUID's number in base 62, not padded.
// An id that is no UUID stands for the UUID that is made from it.
func urlID(id string) string {
	digits := strings.ReplaceAll(id, "-", "")
	number, ok := new(big.Int).SetString(digits, 16)
	if !ok || len(id) != 36 || len(digits) != 32 {
		return urlID(uuid(id))
	}
	return number.Text(62)
}
