package catalog_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// round is what is edited, and then befalls a scan.
type round struct {
	Edits []step
	Scan  step
}

func anyStep(what []string) *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		return step{What: what[evenly(t, len(what))], A: evenly(t, 6), B: evenly(t, 6), C: evenly(t, 6), Moment: 1 + evenly(t, 48)}
	})
}

var anyRound = rapid.Custom(func(t *rapid.T) round {
	return round{Edits: rapid.SliceOfN(anyStep(editNames()), 0, 6).Draw(t, "edits"), Scan: anyStep(scans).Draw(t, "scan")}
})

// evenly draws a number below n, each as often as another: the library's own
// generators prefer the small ones.
func evenly(t *rapid.T, n int) int {
	drawn := 0
	for range 8 {
		drawn *= 2
		if rapid.Bool().Draw(t, "bit") {
			drawn++
		}
	}
	return drawn % n
}

// TestSequences is the law of the catalog: whatever is edited in Sigma, and wherever
// scans are cut off, stopped, cancelled or overtaken, it holds in the end what the
// reference says, and each difference was told once.
//
// Each of its parts is as many sequences as -rapid.checks says: 100, unless told
// otherwise.
func TestSequences(t *testing.T) {
	for part := range fewerIfRaced(10) {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			d, n := newDisk(t), 0
			rapid.Check(t, func(rt *rapid.T) {
				n++
				w := newWorld(rt, d, fmt.Sprint(prod, n), rapid.IntRange(1, 4).Draw(rt, "places"), rapid.SampledFrom([]int{0, 2}).Draw(rt, "page"))
				defer w.end()
				for _, s := range rapid.SliceOfN(anyStep([]string{"add a workbook"}), 1, 4).Draw(rt, "workbooks") {
					w.edit(s.What, s)
				}
				for _, r := range rapid.SliceOfN(anyRound, 1, 8).Draw(rt, "rounds") {
					for _, s := range r.Edits {
						w.edit(s.What, s)
					}
					w.befall(r.Scan)
				}
				w.scan(false)
			})
		})
	}
}

// scans are what can befall a scan.
var scans = []string{"none", "scan", "scan", "scan in full", "crash", "crash", "stop", "cancel", "overtake", "edit meanwhile", "restart"}

func (w *world) befall(s step) {
	switch s.What {
	case "none":
	case "scan", "scan in full":
		w.scan(s.What == "scan in full")
	case "crash":
		w.interrupt(s, w.process.die)
		w.restart()
	case "stop":
		w.interrupt(s, w.process.stop)
		w.restart()
	case "cancel":
		w.cancel(s)
	case "overtake":
		w.overtake(s)
	case "edit meanwhile":
		w.editMeanwhile(s)
	case "restart":
		w.restart()
	}
}
