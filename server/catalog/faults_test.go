package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// faults are what Sigma does to the calls of a scan, and how often it did.
type faults struct {
	seeds, vanished, throttled, refused, stalled atomic.Int64
}

// TestScansUnderFaults scans an organization that throttles a tenth of the calls
// without a word on how long to wait, fails some, leaves some without an answer or
// within one, and loses workbooks while they are read. Each scan is complete and
// true all the same. What happens follows from the seed, which is the subtest's name:
// -run TestScansUnderFaults/seed/^7$ is the seventh again.
func TestScansUnderFaults(t *testing.T) {
	seeds := fewerIfRaced(50)
	var met faults
	t.Run("seed", func(t *testing.T) {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				met.seeds.Add(1)
				d := newDisk(t)
				synctest.Test(t, func(t *testing.T) { scansUnderFaults(t, d, seed, &met) })
			})
		}
	})
	t.Logf("%d calls were throttled, %d refused, %d not answered, %d workbooks vanished",
		met.throttled.Load(), met.refused.Load(), met.stalled.Load(), met.vanished.Load())
	least := min(met.throttled.Load()/4, met.refused.Load(), met.stalled.Load(), met.vanished.Load())
	if least < met.seeds.Load() && met.seeds.Load() == int64(seeds) {
		t.Error("that is too little to show anything")
	}
}

func scansUnderFaults(t *testing.T, d *disk, seed uint64, met *faults) {
	w := newWorld(t, d, prod, 4, 10)
	defer w.end()
	random := rand.New(rand.NewPCG(seed, 0))
	edit := func(name string) {
		w.edit(name, step{A: random.IntN(60), B: random.IntN(6), C: random.IntN(6)})
	}
	for range 25 {
		edit("add a workbook")
	}
	edit("add a data model")
	for round := range uint64(3) {
		w.sigma.SetFaults(met.of(w.sigma, 10*seed+round)...)
		w.vague = true // calls are made again
		w.scan(round == 2)
		for range 20 {
			edit(editNames()[random.IntN(len(edits))])
		}
	}
	w.sigma.SetFaults()
	w.scan(false)
}

// of returns the faults of a seed. Workbooks vanish while they are listed, which
// shifts the list, and while they are being read: of one that vanishes later, the next
// scan tells.
func (f *faults) of(sigma *sigmatest.Server, seed uint64) []sigmatest.Fault {
	sometimes := func(kind uint64, share float64, met *atomic.Int64, fault sigmatest.Fault) sigmatest.Fault {
		return sigmatest.Sometimes(8*seed+kind, share, func(w http.ResponseWriter, r *http.Request) bool {
			met.Add(1)
			return fault(w, r)
		})
	}
	vanish := func(_ http.ResponseWriter, r *http.Request) bool {
		sigma.Change(func(o *sigmatest.Organization) { o.RemoveWorkbook(strings.Split(r.URL.Path, "/")[3]) })
		return false
	}
	shift := func(http.ResponseWriter, *http.Request) bool {
		sigma.Change(func(o *sigmatest.Organization) { o.Workbooks = o.Workbooks[1:] })
		return false
	}
	stall, stallBody := sigmatest.Stall(nil), sigmatest.StallBody()
	return []sigmatest.Fault{
		sigmatest.On("/v2/workbooks/*/*/**", sometimes(0, 0.01, &f.vanished, vanish)),
		sigmatest.On("/v2/workbooks", sometimes(4, 0.03, &f.vanished, shift)),
		sometimes(1, 0.10, &f.throttled, sigmatest.Throttle("")),
		sometimes(2, 0.02, &f.refused, sigmatest.Gateway(http.StatusBadGateway)),
		sometimes(3, 0.01, &f.stalled, func(w http.ResponseWriter, r *http.Request) bool {
			if len(r.URL.Path)%2 == 0 {
				return stall(w, r)
			}
			return stallBody(w, r)
		}),
	}
}
