package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// The index is the tables entries and terms, and what the database itself keeps to
// find entries by their terms. It is written in the transaction that writes the
// resources, and only where an entry has become different.

// arguments collects the parameters of a statement.
type arguments struct {
	mark   string
	values []any
}

func (d dialect) arguments() *arguments { return &arguments{mark: d.parameter} }

// add returns the placeholder of a further parameter.
func (a *arguments) add(value any) string {
	a.values = append(a.values, value)
	return a.mark + strconv.Itoa(len(a.values))
}

// entryColumns are the columns of an entry but for its id and its catalog, in the
// order of values and fields.
const entryColumns = `list, gone, name, workbook, path_key, title, update_time, size, folder, owner, state,
	document_kind, element_type, visualization_type, tags, findings, labels, place_words, column_words, marks`

func (e *entry) values() []any {
	return []any{e.list, e.gone, e.name, e.workbook, []byte(e.pathKey), e.title, []byte(e.updateTime), e.size, e.folder, e.owner, e.state,
		e.kind, e.element, e.chart, e.tags, e.findings, e.labels, e.place, e.columns, e.marks}
}

func (e *entry) fields() []any {
	return []any{&e.list, &e.gone, &e.name, &e.workbook, &e.pathKey, &e.title, &e.updateTime, &e.size, &e.folder, &e.owner, &e.state,
		&e.kind, &e.element, &e.chart, &e.tags, &e.findings, &e.labels, &e.place, &e.columns, &e.marks}
}

// index brings the entries of a workbook and its models up to date. Models have to
// come with their columns.
func (s *Store) index(ctx context.Context, tx *sql.Tx, connection string, workbook *pb.Workbook, models []*pb.Model) error {
	counts := map[term]int{}
	if err := s.indexEntries(ctx, tx, connection, workbook, models, counts); err != nil {
		return err
	}
	return s.writeCounts(ctx, tx, connection, counts)
}

// indexEntries brings the entries of a workbook and its models up to date, and adds
// to counts how the numbers of entries that have a term change.
func (s *Store) indexEntries(ctx context.Context, tx *sql.Tx, connection string, workbook *pb.Workbook, models []*pb.Model, counts map[term]int) error {
	known, err := readEntries(ctx, tx, workbook.GetName())
	if err != nil {
		return err
	}
	var changed []*entry
	for _, e := range entriesOf(workbook, models) {
		was := known[e.name]
		if was != nil && *was == *e {
			continue
		}
		changed = append(changed, e)
		count(counts, was, -1)
		count(counts, e, 1)
	}
	if len(changed) == 0 {
		return nil
	}
	catalog, err := makeCatalog(ctx, tx, connection)
	if err != nil {
		return err
	}
	return s.writeEntries(ctx, tx, catalog, changed)
}

func count(counts map[term]int, e *entry, by int) {
	if e == nil {
		return
	}
	for t := range e.terms() {
		counts[t] += by
	}
}

// readEntries returns the entries of a workbook and its models by their names.
func readEntries(ctx context.Context, tx *sql.Tx, workbook string) (map[string]*entry, error) {
	all, err := readAll(ctx, tx, func(rows *sql.Rows) (*entry, error) {
		e := &entry{}
		return e, rows.Scan(e.fields()...)
	}, `SELECT `+entryColumns+` FROM entries WHERE workbook = $1`, workbook)
	if err != nil {
		return nil, err
	}
	known := make(map[string]*entry, len(all))
	for _, e := range all {
		known[e.name] = e
	}
	return known, nil
}

// makeCatalog returns the number of a connection's catalog.
func makeCatalog(ctx context.Context, tx *sql.Tx, connection string) (id int64, err error) {
	if _, err := tx.ExecContext(ctx, `INSERT INTO catalogs (connection) VALUES ($1) ON CONFLICT (connection) DO NOTHING`, connection); err != nil {
		return 0, err
	}
	return id, tx.QueryRowContext(ctx, `SELECT id FROM catalogs WHERE connection = $1`, connection).Scan(&id)
}

const (
	// maxRows is the maximum number of rows that one statement writes: it has as many
	// parameters as all of their columns together, and PostgreSQL takes 65,535.
	maxRows = 200

	// maxStatementBytes is the size of texts from which a statement takes no further
	// entry. PostgreSQL takes a message of 1 GB, and an entry may have megabytes.
	maxStatementBytes = 16 << 20
)

func (s *Store) writeEntries(ctx context.Context, tx *sql.Tx, catalog int64, entries []*entry) error {
	for len(entries) > 0 {
		size, n := 0, 0
		for n < min(len(entries), maxRows) && size < maxStatementBytes {
			size += entries[n].textBytes()
			n++
		}
		if err := s.writePart(ctx, tx, catalog, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// writePart writes entries with one statement for each table.
func (s *Store) writePart(ctx context.Context, tx *sql.Tx, catalog int64, entries []*entry) error {
	args := s.dialect.arguments()
	var rows []string
	tokens := map[string]string{}
	for _, e := range entries {
		tokens[e.name] = e.tokens(catalog)
		row := []string{args.add(catalog)}
		for _, value := range e.values() {
			row = append(row, args.add(value))
		}
		if s.dialect.termsColumn != "" {
			row = append(row, fmt.Sprintf(s.dialect.termsColumn, args.add(tokens[e.name])))
		}
		rows = append(rows, "("+strings.Join(row, ", ")+")")
	}
	columns := "catalog, " + entryColumns
	if s.dialect.termsColumn != "" {
		columns += ", terms"
	}
	ids, err := readAll(ctx, tx, func(rows *sql.Rows) (id entryID, err error) {
		return id, rows.Scan(&id.id, &id.name)
	}, `INSERT INTO entries (`+columns+`) VALUES `+strings.Join(rows, ", ")+`
		ON CONFLICT (name) DO UPDATE SET `+updates(columns)+` RETURNING id, name`, args.values...)
	if err != nil {
		return err
	}
	return s.dialect.writeTerms(ctx, tx, ids, tokens)
}

// textBytes returns the size of the entry's texts that have no limit of their own.
func (e *entry) textBytes() int {
	return len(e.title) + len(e.place) + len(e.columns) + len(e.labels) + len(e.tags) + len(e.findings) + len(e.folder) + len(e.owner)
}

// entryID is the number that an entry was given.
type entryID struct {
	id   int64
	name string
}

// updates sets each column to the value that could not be inserted.
func updates(columns string) string {
	var all []string
	for column := range strings.SplitSeq(columns, ",") {
		column = strings.TrimSpace(column)
		all = append(all, column+" = excluded."+column)
	}
	return strings.Join(all, ", ")
}

// tokens are the entry's terms as the database's index knows them.
func (e *entry) tokens(catalog int64) string {
	var all []string
	for t := range e.terms() {
		all = append(all, t.token(catalog))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// writeCounts adds to the numbers of entries that have a term. All writers take
// the rows in one order, so that none waits for another that waits for it.
func (s *Store) writeCounts(ctx context.Context, tx *sql.Tx, connection string, counts map[term]int) error {
	maps.DeleteFunc(counts, func(_ term, by int) bool { return by == 0 })
	if len(counts) == 0 {
		return nil
	}
	catalog, err := makeCatalog(ctx, tx, connection)
	if err != nil {
		return err
	}
	order := func(a, b term) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.text, b.text)) }
	for part := range slices.Chunk(slices.SortedFunc(maps.Keys(counts), order), maxRows) {
		args, fewer := s.dialect.arguments(), s.dialect.arguments()
		var rows, gone []string
		id := fewer.add(catalog)
		for _, t := range part {
			rows = append(rows, "("+args.add(catalog)+", "+args.add(t.kind)+", "+args.add(t.text)+", "+args.add(counts[t])+")")
			if counts[t] < 0 {
				gone = append(gone, "("+fewer.add(t.kind)+", "+fewer.add(t.text)+")")
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO terms (catalog, kind, term, entries) VALUES `+strings.Join(rows, ", ")+`
			ON CONFLICT (catalog, kind, term) DO UPDATE SET entries = terms.entries + excluded.entries`, args.values...); err != nil {
			return err
		}
		if len(gone) == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM terms WHERE catalog = `+id+`
			AND (kind, term) IN (VALUES `+strings.Join(gone, ", ")+`) AND entries <= 0`, fewer.values...); err != nil {
			return err
		}
	}
	return nil
}

// indexAll brings the whole index up to date, some workbooks at a time: begun anew
// after it was interrupted, it goes through what is done already, and on. Replicas
// may write to the catalog meanwhile.
func (s *Store) indexAll(ctx context.Context, db *sql.DB) error {
	const atOnce = 50
	names, err := readAll(ctx, db, scanText, `SELECT name FROM workbooks ORDER BY name`)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(names, atOnce) {
		if err := inTransaction(ctx, db, func(tx *sql.Tx) error { return s.indexWorkbooks(ctx, tx, part) }); err != nil {
			return fmt.Errorf("index workbooks: %w", err)
		}
	}
	return nil
}

// indexWorkbooks brings the entries of workbooks up to date. It writes the counts of
// terms last, in the order in which all writers take their rows: a scan that writes
// to the same catalog may have to wait, but never for a transaction that waits for it.
func (s *Store) indexWorkbooks(ctx context.Context, tx *sql.Tx, names []string) error {
	counts := map[string]map[term]int{} // by connection
	for _, name := range names {
		parsed, err := resource.ParseWorkbook(name)
		if err != nil {
			return err
		}
		connection := parsed.Connection.String()
		if counts[connection] == nil {
			counts[connection] = map[term]int{}
		}
		if err := s.indexWorkbook(ctx, tx, connection, name, counts[connection]); err != nil {
			return err
		}
	}
	for _, connection := range slices.Sorted(maps.Keys(counts)) {
		if err := s.writeCounts(ctx, tx, connection, counts[connection]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) indexWorkbook(ctx context.Context, tx *sql.Tx, connection, name string, counts map[term]int) error {
	if err := s.dialect.lock(ctx, tx, name); err != nil { // a scan may be writing it
		return err
	}
	workbook, err := readWorkbook(ctx, tx, name)
	if err != nil || workbook == nil { // deleted since
		return err
	}
	models, err := readModels(ctx, tx, name)
	if err != nil {
		return err
	}
	return s.indexEntries(ctx, tx, connection, workbook, models, counts)
}

func scanText(rows *sql.Rows) (text string, err error) { return text, rows.Scan(&text) }

func entriesOf(workbook *pb.Workbook, models []*pb.Model) []*entry {
	all := []*entry{workbookEntry(workbook)}
	for _, model := range models {
		all = append(all, modelEntry(workbook, model))
	}
	return all
}
