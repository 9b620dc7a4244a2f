package catalog_test

import (
	"fmt"
	"testing"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

const prod = "workspaces/acme/connections/prod"

// book is a workbook of two tables.
func book(id string) sigmatest.Workbook {
	table := func(id string) sigmatest.Element {
		return sigmatest.Element{ID: id, Name: "Table " + id, SQL: text(1), Columns: []sigmatest.Column{{ID: "c", Label: "A"}}}
	}
	return sigmatest.Workbook{ID: id, Name: "Book " + id, Path: "Team", Pages: []sigmatest.Page{{Elements: []sigmatest.Element{table("a"), table("b")}}}}
}

// scanned is a world of so many workbooks, w0 and on, that are in the catalog.
func scanned(t *testing.T, books int) *world {
	t.Helper()
	w := newWorld(t, newDisk(t), prod, 4, 0)
	t.Cleanup(w.end)
	w.sigma.Change(func(o *sigmatest.Organization) {
		for i := range books {
			o.Workbooks = append(o.Workbooks, book(fmt.Sprint("w", i)))
		}
	})
	w.scan(false)
	return w
}

// A scan that another replica has brought to its end meanwhile is none of ours, even
// if we only come to know at the end.
func TestAScanMayBeLostAtItsEnd(t *testing.T) {
	t.Parallel()
	w := scanned(t, 1)
	w.scan(false)
	w.overtake(step{A: 1, Moment: w.process.moments - 1})
	w.scan(false)
}
