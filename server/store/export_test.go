package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// SetEffort bounds the work on a page otherwise, so that small lists show what
// large ones do.
func (s *Store) SetEffort(effort int) { s.effort = effort }

var (
	// Words splits a text as searches do.
	Words = words
	// Pieces returns the terms of a word, and SearchedPieces what terms are searched for.
	Pieces, SearchedPieces = pieces, searchedPieces
)

// MigrationLock is the key of the lock of the migrations.
const MigrationLock = migrationLock

// CutWords brings the index of a connection to what a version writes that cuts words
// at 64 bytes, and lets the next start find the store as that version leaves it.
func (s *Store) CutWords(ctx context.Context, connection string) error {
	cutAll := func(text string) string {
		var b strings.Builder
		for word := range strings.FieldsSeq(text) {
			b.WriteString(" " + cut(word, 64))
		}
		return b.String()
	}
	return s.change(ctx, func(tx *sql.Tx) error {
		catalog, err := makeCatalog(ctx, tx, connection)
		if err != nil {
			return err
		}
		entries, err := readAll(ctx, tx, func(rows *sql.Rows) (*entry, error) {
			e := &entry{}
			return e, rows.Scan(e.fields()...)
		}, `SELECT `+entryColumns+` FROM entries WHERE catalog = $1`, catalog)
		if err != nil {
			return err
		}
		counts := map[term]int{}
		for _, e := range entries {
			count(counts, e, -1)
			e.title, e.place, e.columns = cutAll(e.title), cutAll(e.place), cutAll(e.columns)
			count(counts, e, 1)
		}
		if err := s.writeEntries(ctx, tx, catalog, entries); err != nil {
			return err
		}
		if err := s.writeCounts(ctx, tx, connection, counts); err != nil {
			return err
		}
		for _, statement := range []string{`DROP TABLE reads`, `DROP TABLE zone_offsets`, `DELETE FROM goose_db_version WHERE version_id >= 31`} {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// LimitValues has SQLite refuse values that are longer, in bytes.
func (s *Store) LimitValues(ctx context.Context, maxBytes int) (err error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = sqlite.Limit(conn, sqlite3.SQLITE_LIMIT_LENGTH, maxBytes)
	return err
}

// Load stores workbooks with their models, and indexes them, as fast as it can: no
// change is noted, and nothing is compared with what was there.
func (s *Store) Load(ctx context.Context, connection string, books iter.Seq2[*pb.Workbook, []*pb.Model]) error {
	const atOnce = 500
	restore, err := s.dropIndices(ctx)
	if err != nil {
		return err
	}
	counts := map[term]int{}
	next, stop := iter.Pull2(books)
	defer stop()
	for more := true; more; {
		err := s.change(ctx, func(tx *sql.Tx) (err error) {
			for range atOnce {
				var workbook *pb.Workbook
				var models []*pb.Model
				if workbook, models, more = next(); !more {
					break
				}
				if err := s.loadWorkbook(ctx, tx, connection, workbook, models, counts); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	err = s.change(ctx, func(tx *sql.Tx) error { return s.writeCounts(ctx, tx, connection, counts) })
	if err != nil {
		return err
	}
	return restore()
}

// dropIndices drops those of entries that a search uses: they are made faster than
// kept up to date. The function that it returns makes them anew.
func (s *Store) dropIndices(ctx context.Context) (restore func() error, err error) {
	query := `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'entries_by_%'`
	if s.read == s.write {
		query = `SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'entries_by_%'`
	}
	type index struct{ name, definition string }
	indices, err := readAll(ctx, s.write, func(rows *sql.Rows) (i index, err error) { return i, rows.Scan(&i.name, &i.definition) }, query)
	if err != nil {
		return nil, err
	}
	for _, i := range indices {
		if _, err := s.write.ExecContext(ctx, `DROP INDEX `+i.name); err != nil {
			return nil, err
		}
	}
	return func() error {
		for _, i := range indices {
			if _, err := s.write.ExecContext(ctx, i.definition); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func (s *Store) loadWorkbook(ctx context.Context, tx *sql.Tx, connection string, workbook *pb.Workbook, models []*pb.Model, counts map[term]int) error {
	catalog, err := makeCatalog(ctx, tx, connection)
	if err != nil {
		return err
	}
	if err := writeWorkbook(ctx, tx, workbook, Seen{Marker: "m"}); err != nil {
		return err
	}
	if err := s.loadModels(ctx, tx, connection, models); err != nil {
		return err
	}
	entries := entriesOf(workbook, models)
	for _, e := range entries {
		count(counts, e, 1)
	}
	return s.writeEntries(ctx, tx, catalog, entries)
}

func (s *Store) loadModels(ctx context.Context, tx *sql.Tx, connection string, models []*pb.Model) error {
	args := s.dialect.arguments()
	var rows []string
	for _, m := range models {
		short := proto.CloneOf(m)
		short.Columns = nil
		data, err := proto.Marshal(short)
		if err != nil {
			return err
		}
		columns, err := proto.Marshal(&pb.Model{Columns: m.GetColumns()})
		if err != nil {
			return err
		}
		rows = append(rows, "("+strings.Join([]string{args.add(m.GetName()), args.add(connection), args.add(m.GetWorkbook()), args.add(modelSortKey(m)),
			args.add(data), args.add(columns)}, ", ")+", 0)")
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO models (name, connection, workbook, sort_key, resource, model_columns, gone) VALUES `+strings.Join(rows, ", "), args.values...)
	return err
}

// Settle does what the database does by itself in time.
func (s *Store) Settle(ctx context.Context) error {
	if s.read != s.write { // SQLite
		return s.dialect.forget(ctx, s.write)
	}
	_, err := s.write.ExecContext(ctx, `VACUUM ANALYZE`)
	return err
}

// CheckIndex fails if the index is not what the resources make it.
func (s *Store) CheckIndex(ctx context.Context, connection string) error {
	return s.change(ctx, func(tx *sql.Tx) error {
		names, err := readAll(ctx, tx, scanText, `SELECT name FROM workbooks WHERE connection = $1`, connection)
		if err != nil {
			return err
		}
		want, got := map[term]int{}, map[term]int{}
		for _, name := range names {
			workbook, err := readWorkbook(ctx, tx, name)
			if err != nil {
				return err
			}
			models, err := readModels(ctx, tx, name)
			if err != nil {
				return err
			}
			entries, err := readEntries(ctx, tx, name)
			if err != nil {
				return err
			}
			for _, e := range entriesOf(workbook, models) {
				if entries[e.name] == nil || *entries[e.name] != *e {
					return fmt.Errorf("the entry of %s is %v, want %v", e.name, entries[e.name], e)
				}
				count(want, e, 1)
			}
			if len(entries) != len(models)+1 {
				return fmt.Errorf("%d entries of %s with %d models", len(entries), name, len(models))
			}
		}
		_, err = readAll(ctx, tx, func(rows *sql.Rows) (none struct{}, err error) {
			var t term
			var n int
			err = rows.Scan(&t.kind, &t.text, &n)
			got[t] = n
			return none, err
		}, `SELECT kind, term, entries FROM terms WHERE catalog = (SELECT id FROM catalogs WHERE connection = $1)`, connection)
		if err == nil && !maps.Equal(want, got) {
			err = fmt.Errorf("counted terms %v, want %v", got, want)
		}
		return err
	})
}

// Dump returns the rows of a query as text.
func (s *Store) Dump(ctx context.Context, query string) ([]string, error) {
	return readAll(ctx, s.write, func(rows *sql.Rows) (string, error) {
		columns, err := rows.Columns()
		if err != nil {
			return "", err
		}
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return "", err
		}
		text := ""
		for _, value := range values {
			text += fmt.Sprintf("%v|", *value.(*any))
		}
		return text, nil
	}, query)
}

// Former takes from the store what the index, the sessions and the ids of changes
// added to it, as a store is that a version without them wrote.
func (s *Store) Former(ctx context.Context) error {
	statements := []string{
		`DROP TABLE IF EXISTS entry_terms`,
		`DROP TABLE IF EXISTS term_trigrams`,
		`DROP TABLE entries`,
		`DROP TABLE terms`,
		`DROP TABLE catalogs`,
		`CREATE UNIQUE INDEX workbooks_in_order ON workbooks (connection, sort_key)`,
		`CREATE UNIQUE INDEX models_in_order ON models (connection, sort_key)`,
		`DROP TABLE zone_offsets`,
		`DROP TABLE reads`,
		`DROP TABLE session_parts`,
		`DROP TABLE sessions`,
		`ALTER TABLE changes DROP COLUMN id`,
		`ALTER TABLE connections DROP COLUMN change_epoch`,
		`DELETE FROM goose_db_version WHERE version_id >= 10`,
	}
	if s.read != s.write { // SQLite
		statements = append([]string{`DROP TRIGGER connections_change_epoch`}, statements...)
	}
	for _, statement := range statements {
		if _, err := s.write.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// ExpireLease brings a scan to where it is once nobody has kept it for long.
func (s *Store) ExpireLease(ctx context.Context, scan string) error {
	return changed(s.write.ExecContext(ctx, `UPDATE scans SET lease = 1 WHERE name = $1`, scan))
}

// Exec runs a statement against the database.
func (s *Store) Exec(ctx context.Context, statement string, args ...any) error {
	_, err := s.write.ExecContext(ctx, statement, args...)
	return err
}
