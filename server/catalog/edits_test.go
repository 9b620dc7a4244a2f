package catalog_test

import (
	"fmt"
	"maps"
	"slices"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// editNames are the names of all edits, in their order.
func editNames() []string { return slices.Sorted(maps.Keys(edits)) }

// edits are what people do in Sigma. Where there is nothing to do it to, they do
// nothing.
var edits = map[string]func(w *world, o *sigmatest.Organization, s step){
	"add a workbook": func(w *world, o *sigmatest.Organization, s step) {
		b := sigmatest.Workbook{ID: w.name("w"), Name: one(names, s.A), Path: one(paths, s.B), Pages: make([]sigmatest.Page, 1)}
		for i := range 1 + s.C%3 {
			b.Pages[0].Elements = append(b.Pages[0].Elements, w.element(step{A: s.A + i, B: s.B + i, C: s.C + i}))
		}
		if s.B == 5 {
			b.Queries = sigmatest.InternalFailure
		}
		o.Workbooks = slices.Insert(o.Workbooks, s.A%(len(o.Workbooks)+1), b)
	},
	"remove a workbook": func(w *world, o *sigmatest.Organization, s step) {
		if b := pick(o.Workbooks, s.A); b != nil {
			w.away = append(w.away, *b)
			o.RemoveWorkbook(b.ID)
		}
	},
	"bring a workbook back": func(w *world, o *sigmatest.Organization, s step) {
		if b := pick(w.away, s.A); b != nil {
			o.Workbooks = append(o.Workbooks, *b)
			w.away = slices.DeleteFunc(w.away, func(other sigmatest.Workbook) bool { return other.ID == b.ID })
		}
	},
	"rename a workbook":  ofWorkbook(func(_ *world, b *sigmatest.Workbook, s step) { b.Name = one(names, s.B) }),
	"move a workbook":    ofWorkbook(func(_ *world, b *sigmatest.Workbook, s step) { b.Path = one(paths, s.B) }),
	"change the owner":   ofWorkbook(func(_ *world, b *sigmatest.Workbook, s step) { b.Owner = one(people, s.B) }),
	"archive a workbook": ofWorkbook(func(_ *world, b *sigmatest.Workbook, _ step) { b.Archived, b.Unreadable = true, false }),
	"restore a workbook": ofWorkbook(func(_ *world, b *sigmatest.Workbook, _ step) { b.Archived = false }),
	"lock a workbook":    ofWorkbook(func(_ *world, b *sigmatest.Workbook, _ step) { b.Unreadable = !b.Archived }),
	"unlock a workbook":  ofWorkbook(func(_ *world, b *sigmatest.Workbook, _ step) { b.Unreadable = false }),
	"rename a folder": func(_ *world, o *sigmatest.Organization, s step) { // no document in it is touched
		for i := range o.Workbooks {
			if b := &o.Workbooks[i]; b.Path == one(paths, s.A) {
				b.Path = one(paths, s.B)
			}
		}
	},
	"add an element": ofWorkbook(func(w *world, b *sigmatest.Workbook, s step) {
		page := &b.Pages[0]
		page.Elements = slices.Insert(page.Elements, s.B%(len(page.Elements)+1), w.element(s))
	}),
	"remove an element": ofWorkbook(func(w *world, b *sigmatest.Workbook, s step) {
		if e := pick(b.Pages[0].Elements, s.B); e != nil {
			w.without[b.ID] = append(w.without[b.ID], *e)
			b.RemoveElement(e.ID)
		}
	}),
	"bring an element back": ofWorkbook(func(w *world, b *sigmatest.Workbook, _ step) {
		b.Pages[0].Elements = append(b.Pages[0].Elements, w.without[b.ID]...)
		delete(w.without, b.ID)
	}),
	"rename an element": ofElement(func(_ *world, e *sigmatest.Element, s step) { e.Name = one(names, s.C) }),
	"break an element":  ofElement(func(_ *world, e *sigmatest.Element, s step) { e.Refusal = one(broke, s.C) }),
	"mend an element":   ofElement(func(_ *world, e *sigmatest.Element, _ step) { e.Refusal = sigmatest.None }),
	"change the SQL":    ofElement(func(w *world, e *sigmatest.Element, s step) { e.SQL = text(s.C) }),
	"add a column": ofElement(func(w *world, e *sigmatest.Element, s step) {
		e.Columns = slices.Insert(e.Columns, s.C%(len(e.Columns)+1), w.column(s))
	}),
	"remove a column": ofElement(func(_ *world, e *sigmatest.Element, s step) {
		if len(e.Columns) > 0 {
			e.Columns = slices.Delete(e.Columns, s.C%len(e.Columns), s.C%len(e.Columns)+1)
		}
	}),
	"rename a column": ofColumn(func(c *sigmatest.Column, s step) { c.Label = one(names, s.B) }),
	"retype a column": ofColumn(func(c *sigmatest.Column, s step) { c.Type = one(types, s.B) }),
	"reorder columns": ofElement(func(_ *world, e *sigmatest.Element, _ step) { slices.Reverse(e.Columns) }),
	"add a data model": func(w *world, o *sigmatest.Organization, s step) {
		if len(o.DataModels) < 2 {
			o.DataModels = append(o.DataModels, sigmatest.DataModel{ID: w.name("d"), Name: one(names, s.A), Path: one(paths, s.B), Elements: []sigmatest.Element{w.element(s)}})
		}
	},
	"remove a data model": func(_ *world, o *sigmatest.Organization, _ step) { o.DataModels = nil },
	"edit a data model": func(w *world, o *sigmatest.Organization, s step) {
		if m := pick(o.DataModels, s.A); m != nil {
			m.Name, m.Elements[0].Name = one(names, s.B), one(names, s.C)
			m.Elements = append(m.Elements, w.element(s))
			m.Version++
		}
	},
}

var (
	names  = []string{"Sales", "Revenue", "Ωmega", "Sales", "a/b", "Orders"}
	paths  = []string{"Team", "Team/Q1", "My Documents", "Team", "Other", "Other/Q1"}
	people = []string{"ann", "bob"}
	kinds  = []string{"table", "visualization"}
	types  = []string{"text", "number", "datetime", "text", "number", "error"}
	broke  = []sigmatest.Refusal{sigmatest.WithError, sigmatest.WithNothing, sigmatest.UnableToProduce, sigmatest.NotPresent, sigmatest.InternalFailure, sigmatest.SourceArchived}
)

// edit makes an edit by its name, and publishes what it has changed.
func (w *world) edit(name string, s step) {
	w.sigma.Change(func(o *sigmatest.Organization) { edits[name](w, o, s) })
}

// name makes up a name.
func (w *world) name(prefix string) string {
	w.names++
	return fmt.Sprint(prefix, w.names)
}

// element makes up an element.
func (w *world) element(s step) sigmatest.Element {
	e := sigmatest.Element{ID: w.name("e"), Name: one(names, s.C), Type: one(kinds, s.B), SQL: text(s.A), Unlisted: s.A%6 == 4}
	switch w.names % 7 {
	case 0:
		e.Type = "text"
	case 1:
		e.Name = ""
	}
	for i := range s.B % 4 {
		e.Columns = append(e.Columns, w.column(step{A: s.A + i, B: s.B + i}))
	}
	return e
}

func (w *world) column(s step) sigmatest.Column {
	return sigmatest.Column{ID: w.name("c"), Label: one(names, s.A), Type: one(types, s.B)}
}

// text is one of several texts of SQL.
func text(n int) string { return fmt.Sprintf(`select A "A" from T where V = %d limit 1000`, n%6) }

// one returns one of several.
func one[T any](from []T, n int) T { return from[n%len(from)] }

// pick returns one of several to be edited, or nil.
func pick[T any](from []T, n int) *T {
	if len(from) == 0 {
		return nil
	}
	return &from[n%len(from)]
}

// ofWorkbook edits a workbook and publishes it.
func ofWorkbook(edit func(*world, *sigmatest.Workbook, step)) func(*world, *sigmatest.Organization, step) {
	return func(w *world, o *sigmatest.Organization, s step) {
		if b := pick(o.Workbooks, s.A); b != nil {
			edit(w, b, s)
			b.Version++
		}
	}
}

func ofElement(edit func(*world, *sigmatest.Element, step)) func(*world, *sigmatest.Organization, step) {
	return ofWorkbook(func(w *world, b *sigmatest.Workbook, s step) {
		if e := pick(b.Pages[0].Elements, s.B); e != nil && e.Type != "text" {
			edit(w, e, s)
		}
	})
}

func ofColumn(edit func(*sigmatest.Column, step)) func(*world, *sigmatest.Organization, step) {
	return ofElement(func(_ *world, e *sigmatest.Element, s step) {
		if c := pick(e.Columns, s.C); c != nil {
			edit(c, s)
		}
	})
}
