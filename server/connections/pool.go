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

	identity *cached[warehouse.Identity]
	session  *cached[warehouse.Session]
	release  func()
	again    func() *Link
}

// Identity is whom the warehouse takes us for. It is asked once per connection,
// and again after a failure.
func (l *Link) Identity(ctx context.Context) (warehouse.Identity, error) {
	identity, err := l.identity.get(ctx, l.Warehouse.Identify)
	if err != nil {
		return warehouse.Identity{}, err
	}
	return *identity, nil
}

// sessionMaxAge is how long the facts about a warehouse's sessions are used before they are read again: an administrator can
// change the parameters of the account or the user at any time.
const sessionMaxAge = 10 * time.Minute

// Session returns the roles and the parameters of the warehouse's sessions, at most
// sessionMaxAge old, or nil for a warehouse whose sessions have none. Callers must not
// change it.
func (l *Link) Session(ctx context.Context) (*warehouse.Session, error) {
	inspector, ok := l.Warehouse.(warehouse.SessionInspector)
	if !ok {
		return nil, nil
	}
	return l.session.get(ctx, inspector.InspectSession)
}

// cached is a fact that is read at its first use, and again when it is old or its read failed. It is safe for concurrent use:
// callers of the same moment share one read.
type cached[T any] struct {
	maxAge  time.Duration // 0 means for ever
	reading chan struct{} // holds a value while a caller reads the fact

	mu     sync.Mutex
	value  *T
	readAt time.Time
}

func newCached[T any](maxAge time.Duration) *cached[T] {
	return &cached[T]{maxAge: maxAge, reading: make(chan struct{}, 1)}
}

// get returns the fact, which callers must not change. It fails as read does, or with the cause of the context.
func (c *cached[T]) get(ctx context.Context, read func(context.Context) (T, error)) (*T, error) {
	if value := c.fresh(); value != nil {
		return value, nil
	}
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if value := c.fresh(); value != nil {
		return value, nil
	}
	value, err := read(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value, c.readAt = &value, time.Now()
	return c.value, nil
}

// fresh returns the fact where it is known and not too old, and otherwise nil.
func (c *cached[T]) fresh() *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.maxAge > 0 && time.Since(c.readAt) >= c.maxAge {
		return nil
	}
	return c.value
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
