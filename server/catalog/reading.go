package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// reading is one document as Sigma's bulk calls return it. Four calls bring all of its elements; a call for a single
// element is made only where those leave a question. Only the list of elements is essential.
type reading struct {
	elements   []sigmaclient.Element
	short      map[string]bool                 // calls whose list has fewer entries than Sigma declared, or unreadable ones
	queries    map[string]sigmaclient.Query    // by element id; nil where the bulk call failed
	columns    map[string][]sigmaclient.Column // by element id
	columnsErr error                           // a refusal
	lineage    sigmaclient.DocumentLineage
	controls   []string // names
	// controlsErr is a refusal. The names are those that the list of elements has then.
	controlsErr error
	earlier     map[string]*pb.Model // by name, as an earlier scan stored them; only if they are needed
	// isSameVersion is set where the earlier models are of the version that is read.
	isSameVersion bool
}

// listColumns returns the columns of all elements, by element id.
func (r *reading) listColumns(context.Context) (map[string][]sigmaclient.Column, error) {
	return r.columns, r.columnsErr
}

// Side calls, as the contract names them.
const (
	callElements = "elements"
	callColumns  = "columns"
	callLineage  = "lineage"
	callSources  = "sources"
	callControls = "controls"
)

// ask asks Sigma for one document. It fails where the document as a whole cannot be read.
func (s *scanner) ask(ctx context.Context, d document) (*reading, error) {
	r := &reading{columns: map[string][]sigmaclient.Column{}, short: map[string]bool{}}
	switch err := d.sigma.CheckBookmark(ctx); {
	case errors.Is(err, sigmaclient.ErrBookmarkUnknown):
		return nil, model.UnknownBookmark(d.described.GetName(), s.bookmark(d.described.GetWorkbookId()), false)
	case err != nil:
		return nil, fmt.Errorf("look for the bookmark of a workbook: %w", err)
	}
	d.sigma = d.sigma.FindVersion(ctx)
	if err := s.askElements(ctx, d, r); err != nil {
		return nil, err
	}
	if err := s.askColumns(ctx, d, r); err != nil {
		return nil, err
	}
	if err := s.askLineage(ctx, d, r); err != nil {
		return nil, err
	}
	if err := s.askControls(ctx, d, r); err != nil {
		return nil, err
	}
	if err := s.askQueries(ctx, d, r); err != nil {
		return nil, err
	}
	r.isSameVersion = s.tag == "" || d.marker != "" && s.known[d.described.GetName()].Marker == d.marker
	if len(s.refusedCalls(d, r)) == 0 {
		return r, nil
	}
	var err error
	r.earlier, err = s.storedModels(ctx, d)
	return r, err
}

func (s *scanner) askElements(ctx context.Context, d document, r *reading) (err error) {
	gaps := &sigmaclient.IncompleteLists{}
	r.elements, err = s.finder.Elements(sigmaclient.WithIncompleteLists(ctx, gaps), d.sigma)
	if err != nil {
		return fmt.Errorf("list elements: %w", err)
	}
	r.short[callElements] = gaps.Count() > 0
	s.addGaps(d.described.GetName(), gaps)
	return nil
}

func (s *scanner) askColumns(ctx context.Context, d document, r *reading) error {
	gaps := &sigmaclient.IncompleteLists{}
	columns, err := s.finder.Columns(sigmaclient.WithIncompleteLists(ctx, gaps), d.sigma)
	if refusedErr := s.requireRefusal(ctx, err); refusedErr != nil {
		return fmt.Errorf("list columns: %w", refusedErr)
	}
	r.short[callColumns] = gaps.Count() > 0
	s.addGaps(d.described.GetName(), gaps)
	r.columnsErr = err
	for _, column := range columns {
		r.columns[column.ElementID] = append(r.columns[column.ElementID], column)
	}
	return nil
}

func (s *scanner) askLineage(ctx context.Context, d document, r *reading) (err error) {
	gaps := &sigmaclient.IncompleteLists{}
	if r.lineage, err = s.finder.FindDocument(sigmaclient.WithIncompleteLists(ctx, gaps), d.sigma); err != nil {
		return fmt.Errorf("list lineage: %w", err)
	}
	for _, err := range []error{r.lineage.LineageErr, r.lineage.SourcesErr} {
		if err := s.requireRefusal(ctx, err); err != nil {
			return fmt.Errorf("list lineage: %w", err)
		}
	}
	r.short[callLineage] = gaps.Count() > 0
	s.addGaps(d.described.GetName(), gaps)
	return nil
}

// askControls lists the controls, unless the list of elements shows that there is none.
func (s *scanner) askControls(ctx context.Context, d document, r *reading) (err error) {
	if d.described.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_DATA_MODEL {
		r.controls = sigmaclient.ControlNames(r.elements)
		return nil
	}
	if r.elements != nil && !slices.ContainsFunc(r.elements, func(e sigmaclient.Element) bool { return canBeControl(e.Type) }) {
		return nil
	}
	gaps := &sigmaclient.IncompleteLists{}
	controls, err := d.sigma.Controls(sigmaclient.WithIncompleteLists(ctx, gaps))
	if refusedErr := s.requireRefusal(ctx, err); refusedErr != nil {
		return fmt.Errorf("list controls: %w", refusedErr)
	}
	r.short[callControls] = gaps.Count() > 0
	s.addGaps(d.described.GetName(), gaps)
	r.controls, r.controlsErr = controls, err
	return nil
}

func (s *scanner) askQueries(ctx context.Context, d document, r *reading) error {
	gaps := &sigmaclient.IncompleteLists{}
	queries, listed, err := d.sigma.Queries(sigmaclient.WithIncompleteLists(ctx, gaps))
	if isKind(err, sigmaclient.KindNotFound, sigmaclient.KindArchived) {
		// Before each element is asked for in vain: the document may be no more.
		if now, _, askErr := s.fateOf(ctx, d.described); askErr != nil || now != there {
			return cmp.Or(askErr, err)
		}
	}
	if refusedErr := s.requireRefusal(ctx, err); refusedErr != nil {
		return fmt.Errorf("list queries: %w", refusedErr)
	}
	s.addGaps(d.described.GetName(), gaps)
	if !listed {
		return nil
	}
	r.queries = map[string]sigmaclient.Query{}
	for _, query := range queries {
		// An element of several queries is readable if any of them is.
		if known, ok := r.queries[query.ElementID]; !ok || known.SQL == "" {
			r.queries[query.ElementID] = query
		}
	}
	return nil
}

// lacksColumns reports whether an element has columns by the list of elements, and none by the list of columns.
func (r *reading) lacksColumns() bool {
	return slices.ContainsFunc(r.elements, func(e sigmaclient.Element) bool { return len(e.Columns) > 0 && len(r.columns[e.ElementID]) == 0 })
}

// storedModels returns the document's models as an earlier scan stored them, by name.
func (s *scanner) storedModels(ctx context.Context, d document) (map[string]*pb.Model, error) {
	if s.known[d.described.GetName()].Workbook == nil {
		return nil, nil
	}
	models, err := s.store.ModelsOf(ctx, d.described.GetName())
	if err != nil {
		return nil, fmt.Errorf("read the stored models of a workbook: %w", err)
	}
	byName := make(map[string]*pb.Model, len(models))
	for _, m := range models {
		byName[m.GetName()] = m
	}
	return byName, nil
}

// columnsOf returns an element's columns as Sigma lists them, or else as an earlier scan stored them, or else the display
// names in the list of elements.
func (s *scanner) columnsOf(d document, r *reading, element sigmaclient.Element, name string) model.Columns {
	if listed := r.columns[element.ElementID]; len(listed) > 0 || r.columnsErr == nil && len(element.Columns) == 0 {
		origin := model.Current
		if s.bookmark(d.described.GetWorkbookId()) != "" {
			origin = model.OtherVersion
		}
		c := model.Columns{List: listed, Origin: origin, IsPartial: r.short[callColumns]}
		if r.isSameVersion {
			c = c.Complete(r.earlier[name].GetColumns())
		}
		return c
	}
	if stored := r.earlier[name].GetColumns(); len(stored) > 0 && r.isSameVersion {
		return model.Columns{List: model.StoredColumns(stored), Origin: model.LastScan, Err: r.columnsErr}
	}
	c := model.Columns{Err: r.columnsErr}
	for _, label := range element.Columns {
		c.Origin = model.ElementList
		c.List = append(c.List, sigmaclient.Column{Label: label})
	}
	return c
}

// queryAnswer is what Sigma answers to the question for an element's query.
type queryAnswer struct {
	query sigmaclient.Query
	err   error // about this element alone
}

// query returns the answer for an element, and whether the element is a model at all. It fails where going on makes no
// sense.
func (s *scanner) query(ctx context.Context, r *reading, sigma sigmaclient.Document, element sigmaclient.Element) (answer queryAnswer, isModel bool, err error) {
	if query, ok := r.queries[element.ElementID]; ok {
		return queryAnswer{query: query}, true, nil
	}
	if interfaceElements[element.Type] {
		return queryAnswer{}, false, nil
	}
	// A data element that the bulk call does not list, or an unknown type: the call for the one element tells.
	query, err := sigma.ElementQuery(ctx, element.ElementID)
	if err == nil {
		return queryAnswer{query: query}, true, nil
	}
	if refusedErr := s.requireRefusal(ctx, err); refusedErr != nil {
		return queryAnswer{}, false, refusedErr
	}
	if !isDataElement(element.Type) && isKind(err, sigmaclient.KindNotFound, sigmaclient.KindInvalidRequest) {
		return queryAnswer{}, false, nil
	}
	return queryAnswer{err: err}, true, nil
}

// requireRefusal returns nil if a call succeeded, or failed for a reason of its own, so that a scan records it and goes on.
// A failure that looks like an outage is one only if Sigma does not answer its cheapest call either.
func (s *scanner) requireRefusal(ctx context.Context, err error) error {
	var failure *sigmaclient.Error
	switch {
	case err == nil || isElementary(err) || errors.Is(err, errShortList) || errors.Is(err, errNoColumns) || errors.Is(err, sigmaclient.ErrBookmarkUnknown):
		return nil
	case ctx.Err() != nil || !errors.As(err, &failure):
		return err
	case failure.Kind == sigmaclient.KindThrottled || failure.RetryAfter > 0: // Sigma itself says that all calls have to wait
		return err
	}
	if _, probeErr := s.link.Sigma.WhoAmI(ctx); probeErr != nil {
		return err
	}
	return nil
}

// retryAfter bounds the interval after which a refused call is made again: from nothing after the first refusal, doubling
// from an hour to a week.
const (
	firstRetry = time.Hour
	lastRetry  = 7 * 24 * time.Hour
)

// refusedCalls returns the workbook's refused calls as the catalog stores them.
func (s *scanner) refusedCalls(d document, r *reading) []*pb.RefusedCall {
	var calls []*pb.RefusedCall
	add := func(call string, err error) {
		if err == nil && r.short[call] {
			err = errShortList
		}
		if err != nil && !errors.Is(err, sigmaclient.ErrVersionNotListed) { // then no call was made
			calls = append(calls, s.refusedCall(d, call, err))
		}
	}
	add(callElements, nil)
	columnsErr := r.columnsErr
	if columnsErr == nil && r.lacksColumns() {
		columnsErr = errNoColumns
	}
	add(callColumns, columnsErr)
	add(callLineage, cmp.Or(r.lineage.LineageErr, r.lineage.UpstreamErr()))
	add(callSources, r.lineage.SourcesErr)
	add(callControls, r.controlsErr)
	return calls
}

// Answers that count as refusals, though Sigma reports no error.
var (
	errNoColumns = errmap.New(pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "", "Sigma lists no columns for elements that have some")
	errShortList = errmap.New(pb.ErrorReason_ERROR_REASON_SIGMA_REQUEST_REFUSED, "", "Sigma's list has fewer entries than Sigma declares, or entries without an id")
)

func (s *scanner) refusedCall(d document, call string, err error) *pb.RefusedCall {
	refused := &pb.RefusedCall{Call: call, Attempts: 1, Problem: errmap.Problem(err, d.described.GetName()), RetryTime: s.now}
	for _, before := range s.known[d.described.GetName()].Workbook.GetRefusedCalls() {
		if before.GetCall() == call {
			refused.Attempts = before.GetAttempts() + 1
		}
	}
	if refused.Attempts > 1 {
		refused.RetryTime = timestamppb.New(s.now.AsTime().Add(retryInterval(refused.GetAttempts())))
	}
	return refused
}

// retryInterval returns how long a call that was refused so often is not made again.
func retryInterval(attempts int32) time.Duration {
	interval := firstRetry
	for range attempts - 2 {
		if interval *= 2; interval >= lastRetry {
			return lastRetry
		}
	}
	return interval
}

// retryRefused makes the calls of an unchanged workbook again that were refused and whose time has come. It reports
// whether Sigma answered one, so that the workbook is worth reading; if not, it returns the workbook's refused calls as
// they are now.
func (s *scanner) retryRefused(ctx context.Context, d document) (isAnswered bool, calls []*pb.RefusedCall, err error) {
	known := s.known[d.described.GetName()]
	if known.Scan == s.claim.Scan { // an earlier run of this scan has read the workbook
		return false, known.Workbook.GetRefusedCalls(), nil
	}
	for _, refused := range known.Workbook.GetRefusedCalls() {
		if refused.GetRetryTime().AsTime().After(s.now.AsTime()) {
			calls = append(calls, refused)
			continue
		}
		callErr := s.makeSideCall(ctx, d, refused.GetCall())
		if err := s.requireRefusal(ctx, callErr); err != nil {
			return false, nil, fmt.Errorf("make a refused call again: %w", err)
		}
		if callErr == nil {
			return true, nil, nil
		}
		calls = append(calls, s.refusedCall(d, refused.GetCall(), callErr))
	}
	return false, calls, nil
}

// makeSideCall makes one call. A list that is still empty or short counts as refused.
func (s *scanner) makeSideCall(ctx context.Context, d document, call string) (err error) {
	gaps := &sigmaclient.IncompleteLists{}
	ctx = sigmaclient.WithIncompleteLists(ctx, gaps)
	switch call {
	case callElements:
		_, err = d.sigma.Elements(ctx)
	case callColumns:
		var columns []sigmaclient.Column
		if columns, err = d.sigma.Columns(ctx); err == nil && len(columns) == 0 {
			err = errNoColumns
		}
	case callLineage:
		err = s.makeLineageCall(ctx, d)
	case callSources:
		_, err = d.sigma.Sources(ctx)
	case callControls:
		_, err = d.sigma.Controls(ctx)
	}
	if err == nil && gaps.Count() > 0 {
		err = errShortList
	}
	return err
}

// makeLineageCall asks for the lineage of a document, and of the data models that its elements build on.
func (s *scanner) makeLineageCall(ctx context.Context, d document) error {
	entries, err := d.sigma.Lineage(ctx)
	if err != nil {
		return err
	}
	elements, err := s.finder.Find(ctx, entries, nil)
	return cmp.Or(err, sigmaclient.DocumentLineage{Elements: elements}.UpstreamErr())
}
