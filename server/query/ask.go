package query

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigmasource/sigmasource/server/connections"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// answers are Sigma's answers about an element. Each call fails by itself.
type answers struct {
	askTime    time.Time // before Sigma was asked for the query
	query      sigmaclient.Query
	queryErr   error // a refusal; an outage fails the whole
	columns    []sigmaclient.Column
	columnsErr error
	// areColumnsPartial is set where Sigma declares more columns than it lists.
	areColumnsPartial bool

	lineage  sigmaclient.DocumentLineage // for the custom SQL, and for the warehouse that the element reads from
	upstream sigmaclient.Upstream
	controls []string // of the document, by name; none where Sigma refuses to list them

	bookmarkErr error // sigmaclient.ErrBookmarkUnknown, or nil
}

// document is where an element is: a workbook or a data model of a connection, as it
// is set up.
type document struct {
	connection string
	etag       string
	isModel    bool // a data model
	id         string
	element    string
	bookmark   string // the id of the bookmark that applies, or empty
}

func (d document) in(link *connections.Link) sigmaclient.Document {
	tag := link.Connection.GetVersionTag()
	if d.isModel {
		return link.Sigma.DataModelDocument(d.id, tag).AtBookmark(d.bookmark)
	}
	return link.Sigma.WorkbookDocument(d.id, tag).AtBookmark(d.bookmark)
}

// question asks Sigma about the document's element, through the link's own copy.
func (d document) question(link *connections.Link) *question {
	own := link.Again()
	return &question{ask: func(ctx context.Context) (answers, error) { return d.ask(ctx, own) }, release: own.Release}
}

// ask makes all calls at once. It fails where the caller's context ends, or Sigma cannot be asked for the query.
func (d document) ask(ctx context.Context, link *connections.Link) (a answers, err error) {
	a.askTime = time.Now()
	in := d.in(link)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if a.query, err = in.ElementQuery(groupCtx, d.element); err == nil {
			return nil
		}
		if a.queryErr = fmt.Errorf("fetch the query from Sigma: %w", err); concernsTheElement(err) {
			return nil
		}
		return a.queryErr
	})
	group.Go(func() error {
		if err := in.CheckBookmark(groupCtx); !errors.Is(err, sigmaclient.ErrBookmarkUnknown) {
			return err
		}
		a.bookmarkErr = sigmaclient.ErrBookmarkUnknown
		return nil
	})
	group.Go(func() error { return d.askLists(groupCtx, link, in, &a) })
	if err := group.Wait(); err != nil {
		return answers{}, err
	}
	return a, ctx.Err()
}

// askLists makes the calls for the lists of the version that is read.
func (d document) askLists(ctx context.Context, link *connections.Link, in sigmaclient.Document, a *answers) error {
	in = in.FindVersion(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		gaps := &sigmaclient.IncompleteLists{}
		if a.columns, err = in.ElementColumns(sigmaclient.WithIncompleteLists(ctx, gaps), d.element); err != nil {
			a.columns, a.columnsErr = nil, fmt.Errorf("list the columns in Sigma: %w", err)
		}
		a.areColumnsPartial = gaps.Count() > 0
		return nil
	})
	group.Go(func() (err error) {
		finder := link.Sigma.ConnectionFinder()
		if a.lineage, err = finder.FindDocument(ctx, in); err != nil {
			return err
		}
		a.upstream, err = finder.FindUpstream(ctx, a.lineage.Elements[d.element], func(ctx context.Context) (map[string][]sigmaclient.Column, error) {
			columns, err := in.Columns(ctx)
			return sigmaclient.ColumnsByElement(columns), err
		})
		return err
	})
	group.Go(func() error {
		// Controls only inform: where Sigma cannot be asked for them, the read goes on without.
		if controls, err := in.Controls(ctx); err == nil || concernsTheElement(err) {
			a.controls = controls
		}
		return nil
	})
	return group.Wait()
}

// concernsTheElement reports whether Sigma refuses just what was asked for.
func concernsTheElement(err error) bool {
	var failure *sigmaclient.Error
	return errors.As(err, &failure) && !isOutage(err)
}

// isOutage reports whether Sigma could not be asked at all, so that a later attempt may succeed.
func isOutage(err error) bool {
	var failure *sigmaclient.Error
	if !errors.As(err, &failure) {
		return err != nil
	}
	switch failure.Kind {
	case sigmaclient.KindCredentials, sigmaclient.KindThrottled, sigmaclient.KindUnavailable:
		return true
	}
	return false
}

// askedAtOnce is how often the same is asked of Sigma at the same time. Who comes
// while it is being asked so often waits, and shares the next time with all who wait:
// Sigma bounds the calls of everybody together.
const askedAtOnce = 2

// asking is what is being asked of Sigma. Nobody gets an answer to what was asked
// before they came: since then, Sigma's text may have changed.
type asking struct {
	mu   sync.Mutex
	asks map[document]*asked
	work *sync.WaitGroup
}

// asked is one document's.
type asked struct {
	running int
	next    *question // nil, or what is asked once one of those that run has ended
}

// question is asked once, for all who wait for it.
type question struct {
	ask     func(context.Context) (answers, error)
	release func() // what ask needs

	waiting int
	ctx     context.Context
	cancel  context.CancelFunc
	done    chan struct{}
	answers answers
	err     error
}

// ask asks a document's question, or lets somebody ask it. prepare makes it; it is
// called before ask returns, and what it makes may be asked later.
func (a *asking) ask(ctx context.Context, d document, prepare func() *question) (answers, error) {
	q := a.join(ctx, d, prepare)
	select {
	case <-q.done:
		return q.answers, q.err
	case <-ctx.Done():
		a.leave(d, q)
		return answers{}, context.Cause(ctx)
	}
}

func (a *asking) join(ctx context.Context, d document, prepare func() *question) *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.asks[d]
	if all == nil {
		all = &asked{}
		a.asks[d] = all
	}
	q := all.next
	if q == nil {
		q = prepare()
		q.done = make(chan struct{})
		q.ctx, q.cancel = context.WithCancel(context.WithoutCancel(ctx))
		all.next = q
	}
	q.waiting++
	if all.running < askedAtOnce {
		a.begin(d, all)
	}
	return q
}

// begin asks the next question. The caller holds the lock.
func (a *asking) begin(d document, all *asked) {
	q := all.next
	all.next = nil
	all.running++
	a.work.Go(func() {
		defer q.end()
		q.answers, q.err = q.ask(q.ctx)
		a.mu.Lock()
		defer a.mu.Unlock()
		if all.running--; all.next != nil {
			a.begin(d, all)
		} else if all.running == 0 {
			delete(a.asks, d)
		}
	})
}

func (q *question) end() {
	q.cancel()
	q.release()
	close(q.done)
}

// leave takes away one who waits. What nobody waits for any more is not asked.
func (a *asking) leave(d document, q *question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.waiting--; q.waiting > 0 {
		return
	}
	q.cancel()
	if all := a.asks[d]; all != nil && all.next == q {
		all.next = nil
		q.end()
	}
}
