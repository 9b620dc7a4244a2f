package catalog

import (
	"sync"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// maxProblems is how many problems a scan keeps, as the contract says.
const maxProblems = 100

// progress is a scan that runs in this process: the scan as it stands, and a
// way to learn that it has moved on.
type progress struct {
	mu    sync.Mutex
	scan  *pb.Scan
	moved chan struct{} // closed at the next change
}

func newProgress(scan *pb.Scan) *progress {
	return &progress{scan: proto.CloneOf(scan), moved: make(chan struct{})}
}

// update changes the scan and wakes those who watch it.
func (p *progress) update(change func(*pb.Scan)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p.scan)
	close(p.moved)
	p.moved = make(chan struct{})
}

// replace puts the scan as it ended in the place of what was known.
func (p *progress) replace(scan *pb.Scan) {
	p.update(func(*pb.Scan) { p.scan = proto.CloneOf(scan) })
}

// addProblem records what went wrong with one thing.
func addProblem(scan *pb.Scan, problem *pb.Problem) {
	if len(scan.GetProblems()) < maxProblems {
		scan.Problems = append(scan.Problems, problem)
	}
}

// snapshot returns the scan as it stands, and a channel that is closed once it
// has moved on.
func (p *progress) snapshot() (*pb.Scan, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return proto.CloneOf(p.scan), p.moved
}
