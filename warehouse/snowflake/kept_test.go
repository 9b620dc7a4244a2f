package snowflake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// everyType has columns that the driver itself cannot convert, times of day among
// them.
const everyType = `SELECT SEQ4() AS "N", (SEQ4() / 4)::NUMBER(38,10) AS "D", 'row ' || SEQ4() AS "T", '12:34:56'::TIME(0) AS "TIME",
	'2024-01-02 03:04:05.678'::TIMESTAMP_NTZ AS "NTZ", '2024-01-02 03:04:05'::TIMESTAMP_TZ AS "TZ", PARSE_JSON('{"a":1}') AS "J"
	FROM TABLE(GENERATOR(ROWCOUNT => 2500))`

// keep runs a statement and keeps its result.
func keep(t *testing.T, w *snowflake.Warehouse, sql string) (warehouse.Manifest, warehouse.Parts) {
	t.Helper()
	result, err := w.Query(t.Context(), warehouse.Statement{SQL: sql})
	if err != nil {
		t.Fatal(err)
	}
	manifest, parts, err := result.(warehouse.Kept).Keep()
	if err != nil {
		t.Fatal(err)
	}
	return manifest, parts
}

// readPart is a part's rows as text.
func readPart(ctx context.Context, parts warehouse.Parts, n int) (rows []string, err error) {
	part, err := parts.Open(n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	for {
		batch, err := part.Next(ctx)
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		for i := range int(batch.NumRows()) {
			row := ""
			for _, column := range batch.Columns() {
				row += column.ValueStr(i) + "|"
			}
			rows = append(rows, row)
		}
		batch.Release()
	}
}

func readParts(t *testing.T, manifest warehouse.Manifest, parts warehouse.Parts) (rows []string) {
	t.Helper()
	for n, want := range manifest.Parts {
		got, err := readPart(t.Context(), parts, n)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(got)) != want {
			t.Errorf("part %d has %d rows instead of %d", n, len(got), want)
		}
		rows = append(rows, got...)
	}
	return rows
}

func TestAKeptResultIsTheSameEachTime(t *testing.T) {
	for name, settings := range map[string]snowflaketest.Config{
		"in parts":       {InlineRows: 100, ChunkRows: 700, BatchRows: 300, GzipChunks: true},
		"nothing inline": {InlineRows: -1, ChunkRows: 700, BatchRows: 300},
		"all of it":      {InlineRows: 5000},
	} {
		t.Run(name, func(t *testing.T) {
			s := account(t, settings)
			here, there := open(t, config(s)), open(t, config(s))
			manifest, parts := keep(t, here, everyType)
			if manifest.Rows() != 2500 {
				t.Fatalf("the manifest is %v", manifest)
			}
			first := readParts(t, manifest, parts)
			again := readParts(t, manifest, parts)
			reopened, err := there.Reopen(t.Context(), manifest)
			if err != nil {
				t.Fatal(err)
			}
			elsewhere := readParts(t, manifest, reopened)
			for i := range first {
				if first[i] != again[i] || first[i] != elsewhere[i] {
					t.Fatalf("row %d is %q, then %q, elsewhere %q", i, first[i], again[i], elsewhere[i])
				}
				if want := fmt.Sprintf("%d|", i); first[i][:len(want)] != want {
					t.Fatalf("row %d is %q", i, first[i])
				}
			}
			if !reopened.Schema().Equal(parts.Schema()) {
				t.Errorf("the columns are %v, elsewhere %v", parts.Schema(), reopened.Schema())
			}
			if n := len(s.Queries()); n != 1 {
				t.Errorf("%d queries ran", n)
			}
			if err := errors.Join(parts.Close(), reopened.Close()); err != nil {
				t.Error(err)
			}
			if _, err := readPart(t.Context(), parts, 0); err == nil {
				t.Error("a part was read after its result was closed")
			}
		})
	}
}

func TestAKeptResultThatIsGone(t *testing.T) {
	s := account(t, snowflaketest.Config{InlineRows: 100, ChunkRows: 700, Users: []snowflaketest.User{
		{Name: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword, Roles: []string{snowflaketest.DefaultRole}, Warehouse: snowflaketest.DefaultWarehouse},
		{Name: "OTHER", Password: "other", Roles: []string{snowflaketest.DefaultRole}, Warehouse: snowflaketest.DefaultWarehouse},
	}})
	w := open(t, config(s))
	manifest, parts := keep(t, w, everyType)
	defer func() { _ = parts.Close() }()

	s.ExpireChunkURLs()
	if _, err := readPart(t.Context(), parts, 1); err == nil {
		t.Error("an expired address was read")
	}
	reopened, err := w.Reopen(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	if rows := readParts(t, manifest, reopened); len(rows) != 2500 {
		t.Errorf("%d rows", len(rows))
	}

	other := config(s)
	other.User, other.Password = "OTHER", "other"
	_, err = open(t, other).Reopen(t.Context(), manifest)
	wantKind(t, err, warehouse.KindGone)

	changed := manifest
	changed.Parts = append([]int64{1}, manifest.Parts...)
	_, err = w.Reopen(t.Context(), changed)
	wantKind(t, err, warehouse.KindIncomplete)

	if err := s.ExpireResults(); err != nil {
		t.Fatal(err)
	}
	_, err = w.Reopen(t.Context(), manifest)
	wantKind(t, err, warehouse.KindGone)
}

func wantKind(t *testing.T, err error, kind warehouse.Kind) {
	t.Helper()
	var failure *warehouse.Error
	if !errors.As(err, &failure) || failure.Kind != kind {
		t.Errorf("got %v instead of the kind %s", err, kind)
	}
}
