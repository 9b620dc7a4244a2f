package sigmatest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are steady habits of an organization. The zero value is well-behaved.
type Options struct {
	// TokenLife is how long a token is good for. 0 means an hour.
	TokenLife time.Duration
	// LimitGrants refuses a client's second grant within a second, as Sigma does.
	LimitGrants bool
	// Host is the region's host: others refuse the organization's tokens. Empty
	// means any.
	Host string
	// PageSize caps the entries of a page. 0 means as asked, up to 1000.
	PageSize int
	// TersePages leaves out what the contract lets a page leave out.
	TersePages bool
	// RepeatCursor never ends a list of more than one page.
	RepeatCursor bool
	// BareWorkspaces lists workspaces as they were before June 2026.
	BareWorkspaces bool
	// ExportLooks is how often the result of an export is looked for in vain.
	ExportLooks int
}

// Server is an organization in service. It is an [http.Handler] too, for those
// who have a listener of their own.
type Server struct {
	routes   *http.ServeMux
	exports  exports
	http     *http.Server
	listener net.Listener // nil for a server from New
	wires    *wires
	serves   sync.WaitGroup

	mu      sync.Mutex
	now     *served
	options Options
	faults  []Fault

	signIn signIn
	record record
}

// served is an organization as it is served for a while. It does not change: a
// change makes another.
type served struct {
	org       Organization
	workbooks map[string]*Workbook // by id
	versions  map[string]*Workbook // tagged versions of workbooks, by their own ids
	// dataModels are by id and by the id in their URLs.
	dataModels map[string]*DataModel
	tables     func() []table // that elements read from
	tableByID  func() map[string]table
}

func serve(organization Organization) *served {
	s := &served{org: organization}
	s.org.complete()
	s.workbooks = make(map[string]*Workbook, len(s.org.Workbooks))
	s.versions = map[string]*Workbook{}
	for i := range s.org.Workbooks {
		w := &s.org.Workbooks[i]
		s.workbooks[w.ID] = w
		for _, tag := range w.Tags {
			version := *w
			version.Pages, _ = w.pagesAt(tag)
			s.versions[taggedID(w, tag)] = &version
		}
	}
	s.dataModels = make(map[string]*DataModel, 2*len(s.org.DataModels))
	for i := range s.org.DataModels {
		m := &s.org.DataModels[i]
		s.dataModels[m.ID], s.dataModels[urlID(m.ID)] = m, m
	}
	s.tables = sync.OnceValue(s.org.tables)
	s.tableByID = sync.OnceValue(func() map[string]table {
		byID := map[string]table{}
		for _, t := range s.tables() {
			byID[t.id] = t
		}
		return byID
	})
	return s
}

// New returns a server that does not listen.
func New(organization Organization) *Server {
	s := &Server{now: serve(organization.clone()), wires: newWires()}
	s.routes = s.handlers()
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	return s
}

// NewServer returns a server that listens on a port of 127.0.0.1. Close it.
func NewServer(organization Organization) (*Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sigmatest: listen: %w", err)
	}
	s := New(organization)
	s.listener = listener
	s.serve(listener)
	return s, nil
}

func (s *Server) serve(listener net.Listener) {
	s.serves.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic("sigmatest: " + err.Error())
		}
	})
}

// Close stops listening and breaks off what is under way.
func (s *Server) Close() error {
	err := s.http.Close()
	s.serves.Wait()
	return err
}

// URL is the base URL of a server that listens.
func (s *Server) URL() string { return "http://" + s.Host() }

// Host is its address and port.
func (s *Server) Host() string { return s.listener.Addr().String() }

// Organization returns the description as it is at the moment, with all ids
// filled in. It must not be changed: only Change changes what is served.
func (s *Server) Organization() Organization {
	now, _ := s.state()
	return now.org
}

// Change changes the organization between two answers. What the change leaves
// empty is filled in.
func (s *Server) Change(change func(*Organization)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now.org.clone() // answers under way read the one before
	change(&next)
	s.now = serve(next)
}

// ChangeWorkbook changes the workbook of a name or id and publishes it: version
// and time of update go up. It panics if there is no such workbook.
func (s *Server) ChangeWorkbook(name string, change func(*Workbook)) {
	s.Change(func(o *Organization) {
		w := o.Workbook(name)
		if w == nil {
			panic("sigmatest: no workbook " + name)
		}
		change(w)
		w.Version++
		w.UpdatedAt = later(w.UpdatedAt)
	})
}

// later is the present, or just after a time that lies in the future.
func later(than time.Time) time.Time {
	if now := time.Now().UTC().Truncate(time.Millisecond); now.After(than) {
		return now
	}
	return than.Add(time.Millisecond)
}

func (s *Server) state() (*served, Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.options
}

// SetOptions replaces the habits.
func (s *Server) SetOptions(options Options) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = options
}

// SetFaults replaces the faults. Each request goes through them in their order
// until one answers.
func (s *Server) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// RevokeTokens ends all tokens, as if they had expired.
func (s *Server) RevokeTokens() { s.signIn.revoke() }

// ServeHTTP answers as Sigma's API does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, pattern := s.routes.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	answer := &statusWriter{ResponseWriter: w}
	request := &Request{Method: r.Method, Path: r.URL.Path, Pattern: path, Query: r.URL.Query()}
	if client, ok := s.authenticate(r); ok {
		request.Client = client.ID
	}
	// A server learns that its caller has left only once it has read the body.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.record.enter(request)
	defer func() { s.record.leave(request, answer.status) }()
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	for _, fault := range faults {
		if fault(answer, r) {
			return
		}
	}
	s.routes.ServeHTTP(answer, r)
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
	slow   func([]byte) (int, error) // writes instead, where set
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.slow != nil {
		return w.slow(data)
	}
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
