package connections

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
	"github.com/sigmasource/sigmasource/warehouse"
)

// Link is a connection in use. The warehouse's sessions are shared by all who
// hold a link to the same settings.
type Link struct {
	Connection *pb.Connection // without secrets
	Sigma      *sigmaclient.Client
	Warehouse  warehouse.Warehouse
	Dialect    sigmasql.Dialect
	// TimeZone is the account time zone of the Sigma organization, in which the
	// warehouse's sessions run, or nil where the connection has none. They then run
	// in UTC.
	TimeZone *time.Location

	allowTimeZoneMismatch bool // the operator's setting for all connections

	whoami  *whoami
	session *knownSession
	release func()
	again   func() *Link
}

// whoami keeps a warehouse's word of who we are.
type whoami struct {
	mu    sync.Mutex
	known *warehouse.Identity
}

// Identity is whom the warehouse takes us for. It is asked once per connection,
// and again after a failure.
func (l *Link) Identity(ctx context.Context) (warehouse.Identity, error) {
	l.whoami.mu.Lock()
	defer l.whoami.mu.Unlock()
	if l.whoami.known == nil {
		identity, err := l.Warehouse.Identify(ctx)
		if err != nil {
			return warehouse.Identity{}, err
		}
		l.whoami.known = &identity
	}
	return *l.whoami.known, nil
}

// sessionMaxAge is how long the facts about a warehouse's sessions are used before they are read again: an administrator can
// change the parameters of the account or the user at any time.
const sessionMaxAge = 10 * time.Minute

// knownSession is what is known of a warehouse's sessions. It is safe for concurrent use.
type knownSession struct {
	reading chan struct{} // holds a value while a caller reads the session
	mu      sync.Mutex
	known   *warehouse.Session
	readAt  time.Time
}

func newKnownSession() *knownSession { return &knownSession{reading: make(chan struct{}, 1)} }

func (k *knownSession) get() *warehouse.Session {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || time.Since(k.readAt) >= sessionMaxAge {
		return nil
	}
	return k.known
}

func (k *knownSession) set(session *warehouse.Session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.readAt = session, time.Now()
}

// Session returns the roles and the parameters of the warehouse's sessions, at most
// sessionMaxAge old, or nil for a warehouse whose sessions have none. Callers must not
// change it.
func (l *Link) Session(ctx context.Context) (*warehouse.Session, error) {
	inspector, ok := l.Warehouse.(warehouse.SessionInspector)
	if !ok {
		return nil, nil
	}
	if known := l.session.get(); known != nil {
		return known, nil
	}
	select { // callers of the same moment share one answer
	case l.session.reading <- struct{}{}:
		defer func() { <-l.session.reading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if known := l.session.get(); known != nil {
		return known, nil
	}
	session, err := inspector.InspectSession(ctx)
	if err != nil {
		return nil, err
	}
	l.session.set(&session)
	return &session, nil
}

// Again returns the same link for one more user, who has to release it, too. It must
// not have been released.
func (l *Link) Again() *Link { return l.again() }

// Release gives the link back. It may be called more than once.
func (l *Link) Release() { l.release() }

// Pool keeps links open between calls. A change of a connection is seen at the
// next Acquire, on every replica, since each Acquire reads the store; those who
// hold a link to the old settings keep it until they release it.
type Pool struct {
	store  Store
	opener *Opener

	mu     sync.Mutex
	closed bool
	open   map[string]*shared // by connection name
}

// shared is one open link and who uses it.
type shared struct {
	link    Link
	etag    string
	users   int
	retired bool // replaced or deleted: the last user closes it
}

// NewPool returns an empty pool.
func NewPool(store Store, opener *Opener) *Pool {
	return &Pool{store: store, opener: opener, open: map[string]*shared{}}
}

// Acquire returns a link to a connection as it is stored now. It makes no call
// to Sigma or the warehouse.
func (p *Pool) Acquire(ctx context.Context, name string) (*Link, error) {
	connection, secrets, err := p.store.ConnectionWithSecrets(ctx, name)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			p.Retire(name)
		}
		return nil, storeError(err, name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errmap.New(pb.ErrorReason_ERROR_REASON_SHUTTING_DOWN, "", "the server is shutting down")
	}
	s := p.open[name]
	if s == nil || s.etag != connection.GetEtag() {
		link, err := p.opener.Open(connection, secrets)
		if err != nil {
			return nil, err
		}
		if s != nil {
			p.retire(name, s)
		}
		s = &shared{link: *link, etag: connection.GetEtag()}
		p.open[name] = s
	}
	return p.hold(s), nil
}

// hold returns a link for one more user. The caller holds the lock.
func (p *Pool) hold(s *shared) *Link {
	s.users++
	held := s.link
	held.release = sync.OnceFunc(func() { p.release(s) })
	held.again = func() *Link {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.hold(s)
	}
	return &held
}

func (p *Pool) release(s *shared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	if s.retired && s.users == 0 {
		p.opener.close(s.link.Warehouse)
	}
}

// Retire closes the pool's link to a connection once nobody uses it.
func (p *Pool) Retire(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.open[name]; s != nil {
		p.retire(name, s)
	}
}

func (p *Pool) retire(name string, s *shared) {
	delete(p.open, name)
	s.retired = true
	if s.users == 0 {
		p.opener.close(s.link.Warehouse)
	}
}

// Close closes all links that nobody uses; the others follow as they are
// released.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for name, s := range p.open {
		p.retire(name, s)
	}
}
