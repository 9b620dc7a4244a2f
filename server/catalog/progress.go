package catalog

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// maxProblems is how many problems a scan keeps, as the contract says.
const maxProblems = 100

// progress is a scan that runs in this process: the scan as it stands, and a
// way to learn that it has moved on.
type progress struct {
	mu     sync.Mutex
	scan   *pb.Scan
	meter  *sigmaclient.Meter // of the scan's calls; nil before the first
	places int                // for calls to Sigma
	begun  time.Time          // when reading began
	taken  time.Duration      // how long calls had been under way until then
	busy   float64            // since then, the share of the places that was in use
	moved  chan struct{}      // closed at the next change

	// What earlier runs of the scan have measured.
	calls     int64
	throttled time.Duration

	cancel context.CancelCauseFunc
	over   chan struct{} // closed when it runs here no more
}

func newProgress(scan *pb.Scan, cancel context.CancelCauseFunc) *progress {
	return &progress{scan: proto.CloneOf(scan), moved: make(chan struct{}), cancel: cancel, over: make(chan struct{}),
		calls: scan.GetCalls(), throttled: scan.GetThrottledTime().AsDuration()}
}

// update changes the scan and wakes those who watch it.
func (p *progress) update(change func(*pb.Scan)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p.scan)
	p.gauge()
	close(p.moved)
	p.moved = make(chan struct{})
}

// measure has the scan tell what the meter of a client shows.
func (p *progress) measure(meter *sigmaclient.Meter, places int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter, p.places = meter, places
}

// gauge brings the scan's measures up to date. What is left is estimated by the
// pace since reading began.
func (p *progress) gauge() {
	if p.meter == nil {
		return
	}
	p.scan.Calls, p.scan.ThrottledTime = p.calls+p.meter.Calls(), durationpb.New(p.throttled+p.meter.Throttled())
	p.scan.RemainingTime = nil
	if p.scan.GetPhase() != pb.ScanPhase_SCAN_PHASE_READING {
		return
	}
	if p.begun.IsZero() {
		p.begun, p.taken = time.Now(), p.meter.UnderWay()
	}
	if reading := time.Since(p.begun); reading > 0 {
		p.busy = float64(p.meter.UnderWay()-p.taken) / float64(p.places) / float64(reading)
	}
	if done := p.scan.GetWorkbooksDone(); done > 0 {
		left := p.scan.GetWorkbooksTotal() - done
		p.scan.RemainingTime = durationpb.New(time.Since(p.begun) / time.Duration(done) * time.Duration(left))
	}
}

// replace puts the scan as it ended in the place of what was known.
func (p *progress) replace(scan *pb.Scan) {
	p.update(func(*pb.Scan) { p.scan, p.meter = proto.CloneOf(scan), nil })
}

// addProblem records what went wrong with one thing.
func addProblem(scan *pb.Scan, problem *pb.Problem) {
	if len(scan.GetProblems()) < maxProblems {
		scan.Problems = append(scan.Problems, problem)
	}
}

// maxGaps is how many incomplete lists a scan keeps, as the contract says.
const maxGaps = 100

// addGaps records Sigma's lists about a resource that were not complete.
func (s *scanner) addGaps(resource string, gaps *sigmaclient.IncompleteLists) {
	lists := gaps.Lists()
	if len(lists) == 0 {
		return
	}
	s.progress.update(func(scan *pb.Scan) {
		for _, list := range lists {
			if len(scan.GetListGaps()) < maxGaps {
				scan.ListGaps = append(scan.ListGaps, &pb.ListGap{
					Resource: resource, List: listName(list.Call),
					DeclaredCount: int64(list.Total), ReceivedCount: int64(list.Received), UnreadableCount: int64(list.Rejected),
				})
			}
		}
	})
}

// listName returns what a call lists, as the contract names it: the last part of its path.
func listName(call string) string {
	name := call[strings.LastIndexByte(call, '/')+1:]
	if name == "dataModels" {
		return "data_models"
	}
	return name
}

// ended wakes all who watch, for good.
func (p *progress) ended() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.moved)
	p.moved = make(chan struct{})
	close(p.over)
}

// snapshot returns the scan as it stands, and a channel that is closed once it
// has moved on.
func (p *progress) snapshot() (*pb.Scan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gauge()
	return proto.CloneOf(p.scan), p.moved
}
