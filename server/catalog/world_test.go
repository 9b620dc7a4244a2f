package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"pgregory.net/rapid"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// step is one thing that happens. Its numbers say to what, and when.
type step struct {
	What    string
	A, B, C int
	Moment  int
}

// world is a catalog, the organization that it is made from, and what is expected
// of it.
type world struct {
	t          rapid.TB
	ctx        context.Context
	disk       *disk
	connection string
	places     int
	sigma      *sigmatest.Server
	transport  *http.Transport
	queue      *queue
	process    *process

	expected map[string]*document
	after    int64  // the last change that was looked at
	pending  string // a scan that is not over
	full     bool   // whether that reads everything
	vague    bool   // which documents were read last time is not known

	names   int                            // that were made up
	away    []sigmatest.Workbook           // removed
	without map[string][]sigmatest.Element // removed, by the workbook
}

func newWorld(t rapid.TB, d *disk, connection string, places, page int) *world {
	w := &world{t: t, ctx: context.Background(), disk: d, connection: connection, places: places, queue: &queue{},
		expected: map[string]*document{}, without: map[string][]sigmatest.Element{}}
	w.sigma = sigmatest.New(sigmatest.Organization{Connections: []sigmatest.Connection{{Name: "Shop"}}})
	w.sigma.SetOptions(sigmatest.Options{PageSize: page})
	w.transport = w.sigma.Transport()
	s := d.open(t, w.ctx)
	connect(t, w.ctx, s, connection, w.sigma.Organization())
	w.process = newProcess(w.ctx, s, w.transport, w.queue, places, d.folder)
	return w
}

func (w *world) end() {
	w.process.end()
	w.transport.CloseIdleConnections()
	if err := errors.Join(w.process.Store.Close(), w.sigma.Close()); err != nil {
		w.t.Error(err)
	}
}

// restart ends the process and starts another.
func (w *world) restart() {
	w.process.end()
	check(w.t, w.process.Store.Close())
	w.process = newProcess(w.ctx, w.disk.open(w.t, w.ctx), w.transport, w.queue, w.places, w.disk.folder)
}

// takeUp begins a scan, or finds the one that waits for being taken up. It returns
// its name.
func (w *world) takeUp(full bool) string {
	if w.pending == "" {
		started, err := w.process.service.StartScan(w.ctx, &pb.StartScanRequest{Parent: w.connection, Full: full})
		check(w.t, err)
		w.pending, w.full = started.GetScan().GetName(), started.GetScan().GetFull()
	} else if len(w.queue.scans) == 0 { // its process is gone, and did not give it back
		w.disk.expire(w.t, w.ctx, w.pending)
		check(w.t, w.process.service.Tick(w.ctx))
	}
	if name := w.queue.next(w.t); name != w.pending {
		w.t.Fatalf("asked for is %s instead of %s", name, w.pending)
	}
	return w.pending
}

// run runs the scan that is pending as far as it comes, and returns how it stands.
func (w *world) run(p *process, name string) *pb.Scan {
	// The process may end on the way: then the error is its own, and nobody's.
	if err := p.service.Scan(p.ctx, name); err != nil && !errors.Is(err, errDead) {
		w.t.Fatal(err)
	}
	scan, err := w.process.Store.Scan(w.ctx, name)
	check(w.t, err)
	if scan.GetState() != pb.ScanState_SCAN_STATE_RUNNING {
		w.pending = ""
	}
	return scan
}

// scan runs a scan to its end: the catalog is what the organization is.
func (w *world) scan(full bool) {
	fresh := w.pending == ""
	name := w.takeUp(full)
	w.process.arrange(0, nil)
	reads := w.reads()
	vague := w.vague || !fresh
	w.vague = false
	w.sigma.ResetRecords()
	scan := w.run(w.process, name)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
		w.t.Fatalf("the scan ended with %v", scan)
	}
	asked := 0
	for _, r := range w.sigma.Requests() {
		if strings.HasSuffix(r.Pattern, "Id}/elements") && !r.Query.Has("page") {
			asked++
		}
	}
	if !vague && asked != reads {
		w.t.Fatalf("%d documents were read, and not the %d that had to be", asked, reads)
	}
	tally := w.settle(name, whole, nil)
	if fresh && (scan.GetModelsAdded() != tally.ModelsAdded || scan.GetModelsRemoved() != tally.ModelsRemoved || scan.GetModelsChanged() != tally.ModelsChanged) {
		w.t.Fatalf("the scan counts %v, its changes %v", scan, tally)
	}
}

// reads is how many documents the next scan has to read.
func (w *world) reads() (n int) {
	for id, s := range sourcesOf(w.sigma.Organization()) {
		if !s.archived && needsReading(w.expected[id], s, w.full) {
			n++
		}
	}
	return n
}

// interrupt runs a scan, to which something happens at a moment: each document is
// as it was before, or as it is now.
func (w *world) interrupt(s step, what func()) {
	name := w.takeUp(s.A == 0)
	w.process.arrange(s.Moment, what)
	w.run(w.process, name)
	w.settle(name, w.outcome(name), nil)
}

// outcome tells how a scan ended, or was interrupted.
func (w *world) outcome(name string) outcome {
	scan, err := w.process.Store.Scan(w.ctx, name)
	check(w.t, err)
	if scan.GetState() == pb.ScanState_SCAN_STATE_SUCCEEDED {
		return whole
	}
	return partly
}

func (w *world) cancel(s step) {
	name := w.takeUp(s.A == 0)
	var cancelled chan error
	w.process.arrange(s.Moment, func() {
		cancelled = make(chan error, 1)
		go func() {
			_, err := w.process.service.CancelScan(w.ctx, &pb.CancelScanRequest{Name: name})
			cancelled <- err
		}()
	})
	w.run(w.process, name)
	if cancelled != nil {
		check(w.t, <-cancelled)
	}
	w.settle(name, w.outcome(name), nil)
}

// overtake lets a process lose its scan without knowing: it stands still at a
// moment, another brings the scan to its end, then the first goes on.
func (w *world) overtake(s step) {
	name := w.takeUp(s.A == 0)
	first, reached, goOn := w.process, make(chan struct{}), make(chan struct{})
	first.kept, first.keep = make(chan struct{}), sync.Once{}
	first.arrange(s.Moment, func() {
		close(reached)
		<-goOn
	})
	ended := make(chan error, 1)
	go func() { ended <- first.service.Scan(first.ctx, name) }()
	select {
	case <-reached:
	case err := <-ended: // before that moment
		check(w.t, err)
		w.pending = ""
		w.settle(name, whole, nil)
		return
	}
	if w.outcome(name) == whole { // that moment was the last
		close(goOn)
		check(w.t, <-ended)
		w.pending = ""
		w.settle(name, whole, nil)
		return
	}
	<-first.kept
	first.unkept.Store(true)
	w.process = newProcess(w.ctx, first.Store, w.transport, w.queue, w.places, w.disk.folder)
	w.scan(false)
	before := w.after
	for i := range 1 + s.B {
		w.edit(editNames()[(s.C+i)%len(edits)], s)
	}
	close(goOn)
	check(w.t, <-ended)
	first.end()
	w.settle(name, partly, nil)
	if w.after != before {
		w.t.Fatalf("a process that had lost its scan told changes %d to %d", before+1, w.after)
	}
}

// editMeanwhile edits the organization while it is scanned. The next scan puts
// right what this one makes of it.
func (w *world) editMeanwhile(s step) {
	name := w.takeUp(s.A == 0)
	before := sourcesOf(w.sigma.Organization())
	w.process.arrange(s.Moment, func() { w.edit(editNames()[(6*s.B+s.C)%len(edits)], s) })
	scan := w.run(w.process, name)
	if scan.GetState() != pb.ScanState_SCAN_STATE_SUCCEEDED {
		w.t.Fatalf("the scan ended with %v", scan)
	}
	now, edited := sourcesOf(w.sigma.Organization()), map[string]bool{}
	for id := range union(before, now) {
		edited[id] = fmt.Sprint(before[id]) != fmt.Sprint(now[id])
	}
	w.settle(name, whole, edited)
}

func union[K comparable, A, B any](a map[K]A, b map[K]B) map[K]bool {
	all := map[K]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// outcome is how far a scan came.
type outcome int

const (
	whole outcome = iota
	partly
)

// settle compares the catalog, and what was told since the last time, with what is
// expected after a scan. After a part of one a document may be as it was before. One
// that was edited meanwhile may be anything: but what is told of it is what became
// of it.
func (w *world) settle(scan string, how outcome, edited map[string]bool) *pb.Scan {
	sources, holds, told := sourcesOf(w.sigma.Organization()), w.process.catalogOf(w.t, w.ctx, w.connection), w.told(scan)
	tally := &pb.Scan{}
	for id := range union(union(sources, w.expected), holds) {
		before, held := w.expected[id], holds[id]
		now := see(before, sources[id], w.full)
		switch {
		case edited[id] && (held != nil || before == nil):
			now = held
		case held.String() == now.String():
		case how == partly && held.String() == before.String():
			now = before
		default:
			w.t.Fatalf("%s is\n%s instead of\n%safter\n%s", id, held, now, before)
		}
		want := differences(id, before, now)
		slices.Sort(want)
		slices.Sort(told[id])
		if !slices.Equal(want, told[id]) {
			w.t.Fatalf("told of %s is %q instead of %q", id, told[id], want)
		}
		count(tally, want)
		if now != nil {
			w.expected[id] = now
		}
	}
	w.vague = w.vague || how == partly || edited != nil
	return tally
}

// told returns the changes since they were last looked at, by document.
func (w *world) told(scan string) map[string][]string {
	lines := map[string][]string{}
	for {
		answer, err := w.process.service.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: w.connection, AfterSequence: w.after, PageSize: 1000})
		check(w.t, err)
		if len(answer.GetChanges()) == 0 {
			return lines
		}
		for _, c := range answer.GetChanges() {
			if w.after++; c.GetSequence() != w.after || c.GetScan() != scan || c.GetTime() == nil {
				w.t.Fatalf("change %d of %s is %v", w.after, scan, c)
			}
			document, line := told(c)
			lines[document] = append(lines[document], line)
		}
	}
}

// count adds to a scan what the changes of a document count for.
func count(scan *pb.Scan, changes []string) {
	changed, added := map[string]bool{}, map[string]bool{}
	for _, line := range changes {
		words := strings.Fields(line)
		switch model := words[1]; {
		case words[0] == "MODEL_ADDED", words[0] == "MODEL_RESTORED":
			added[model] = true
		case words[0] == "MODEL_REMOVED":
			scan.ModelsRemoved++
		case !strings.HasPrefix(words[0], "WORKBOOK_"):
			changed[model] = true
		}
	}
	for model := range changed {
		if !added[model] {
			scan.ModelsChanged++
		}
	}
	scan.ModelsAdded += int32(len(added))
}
