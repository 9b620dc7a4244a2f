package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/filter"
)

// ListOptions narrows and orders a list.
type ListOptions struct {
	Workbook string // of models: only those of this workbook, by its resource name
	ShowGone bool   // also what is no longer in Sigma
	Filter   string // of ModelFields or WorkbookFields, as package filter reads it
	OrderBy  string // a field, and desc behind it or not; empty: path, or rank if there is a Query
	Query    string // words to search for
}

// RequestError is returned for options that make no sense. It repeats nothing of
// them.
type RequestError struct {
	Field   string // as the contract calls it
	Problem string
}

// Error tells the field and the problem.
func (e *RequestError) Error() string { return e.Field + ": " + e.Problem }

func requestError(field string, err error) error {
	var wrong *filter.Error
	if errors.As(err, &wrong) {
		return &RequestError{Field: field, Problem: wrong.Error()}
	}
	return err
}

// ListWorkbooks returns a page of a connection's workbooks, and the token of the
// next page, empty after the last. A page may be short though it is not the last,
// see find.go. It fails with a *RequestError or ErrBadPageToken; a connection that
// is not there has no workbooks.
func (s *Store) ListWorkbooks(ctx context.Context, parent string, options ListOptions, page Page) ([]*pb.Workbook, string, error) {
	list, next, err := listEntries[pb.Workbook](ctx, s, workbookList, parent, options, page)
	if err != nil {
		return nil, "", fmt.Errorf("list workbooks: %w", err)
	}
	return list, next, nil
}

// ListModels returns a page of a connection's models without their columns, and the
// token of the next page, as ListWorkbooks does and with its errors.
func (s *Store) ListModels(ctx context.Context, parent string, options ListOptions, page Page) ([]*pb.Model, string, error) {
	list, next, err := listEntries[pb.Model](ctx, s, modelList, parent, options, page)
	if err != nil {
		return nil, "", fmt.Errorf("list models: %w", err)
	}
	return list, next, nil
}

// lists is what the lists do differently.
var lists = map[list]struct {
	table  string
	fields filter.Fields
	orders map[string]order // by the field of order_by
}{
	workbookList: {"workbooks", WorkbookFields, map[string]order{
		"path": byPath, "display_name": byTitle, "update_time": byTime, "model_count": bySize,
	}},
	modelList: {"models", ModelFields, map[string]order{
		"path": byPath, "display_name": byTitle, "update_time": byTime, "column_count": bySize,
	}},
}

func listEntries[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, s *Store, l list, parent string, options ListOptions, page Page) ([]M, string, error) {
	wanted, err := readOptions(l, options)
	if err != nil {
		return nil, "", err
	}
	request := listKey(lists[l].table, parent, fmt.Sprintf("%#v", options))
	after, err := decodePosition(request, page.Token)
	if err != nil {
		return nil, "", err
	}
	ids, next, err := s.find(ctx, l, parent, wanted, after, page.size())
	if err != nil {
		return nil, "", err
	}
	resources, err := readResources[T, M](ctx, s, lists[l].table, ids)
	if err != nil || next == nil {
		return resources, "", err
	}
	return resources, next.encode(request), nil
}

// wanted is what a list is asked for.
type wanted struct {
	where    filter.Expr
	words    []string
	order    *order // nil: as the list has it
	showGone bool
}

func readOptions(l list, options ListOptions) (w wanted, err error) {
	w.showGone = options.ShowGone
	if w.where, err = lists[l].fields.Parse(options.Filter); err != nil {
		return w, requestError("filter", err)
	}
	if w.words, err = searchWords(options.Query); err != nil {
		return w, err
	}
	var names []string
	for name := range lists[l].orders {
		names = append(names, name)
	}
	slices.Sort(names)
	given, err := filter.ParseOrder(options.OrderBy, names...)
	if err != nil {
		return w, requestError("order_by", err)
	}
	if given.Field != "" {
		o := lists[l].orders[given.Field]
		o.desc = given.Desc
		w.order = &o
	}
	if options.Workbook != "" {
		only := filter.Test{Field: &ofWorkbook, Op: filter.Equal, Text: options.Workbook}
		if w.where == nil {
			w.where = only
		} else {
			w.where = filter.And{only, w.where}
		}
	}
	return w, nil
}

// readResources returns the resources of entries, in their order. What was deleted
// since is left out.
func readResources[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, s *Store, table string, ids []int64) ([]M, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := s.dialect.arguments()
	var places []string
	for _, id := range ids {
		places = append(places, args.add(id))
	}
	found := map[int64]M{}
	_, err := readAll(ctx, s.read, func(rows *sql.Rows) (none struct{}, err error) {
		var id int64
		var data []byte
		if err := rows.Scan(&id, &data); err != nil {
			return none, err
		}
		found[id] = M(new(T))
		return none, proto.Unmarshal(data, found[id])
	}, `SELECT entries.id, r.resource FROM entries JOIN `+table+` AS r ON r.name = entries.name
		WHERE entries.id IN (`+strings.Join(places, ", ")+`)`, args.values...)
	if err != nil {
		return nil, err
	}
	var all []M
	for _, id := range ids {
		if one := found[id]; one != nil {
			all = append(all, one)
		}
	}
	return all, nil
}
