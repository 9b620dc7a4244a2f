package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/keyring"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, func() error { return goleak.Find() })) }

// opener returns an empty store that is closed when the test ends.
type opener func(t testing.TB) *store.Store

// suite is what every database must do.
var suite = map[string]func(t *testing.T, open opener){
	"connections":                                  testConnections,
	"a connection is created once":                 testConnectionExists,
	"an update needs the etag":                     testEtag,
	"an update without secrets keeps them":         testSecretsKept,
	"a connection and its secrets are of one time": testRotation,
	"deletion takes everything along":              testDelete,
	"workspaces do not see each other":             testIsolation,
	"one scan runs per connection":                 testStartScan,
	"one of many starts wins":                      testStartScanConcurrently,
	"a scan that is over stays as it is":           testScanOver,
	"one of many claims wins":                      testClaimConcurrently,
	"a scan is kept, lost, rescued and given back": testLeases,
	"nothing is written under a lost claim":        testLostClaim,
	"a scan is cancelled":                          testCancelScan,
	"a start that nobody is told of":               testAskFails,
	"connections that are due":                     testDueConnections,
	"a workbook is replaced whole":                 testPutWorkbook,
	"a workbook is put whole or not at all":        testPutWorkbookFails,
	"a workbook without its connection":            testPutWorkbookWithoutConnection,
	"a failed workbook keeps its models":           testPutFailedWorkbook,
	"workbooks that are gone":                      testRemoveWorkbooks,
	"each change is noted":                         testChanges,
	"positions in the changes":                     testChangeCursors,
	"a version that writes no ids of changes":      testChangesWithoutIDs,
	"changes replay to the catalog":                testChangesReplay,
	"a workbook that was not read":                 testUnread,
	"an element that Sigma failed on":              testUnreadModel,
	"scans are listed newest first":                testListScans,
	"order":                                        testOrder,
	"pages":                                        testPages,
	"pages while the list changes":                 testPagesUnderChange,
	"pages of any order while the list changes":    testOrdersUnderChange,
	"page sizes":                                   testPageSizes,
	"page tokens":                                  testPageTokens,
	"what is found is what plain Go picks":         testFind,
	"names of any length":                          testLongNames,
	"words of any length":                          testLongWords,
	"names with many words":                        testManyWords,
	"characters of any kind":                       testOddCharacters,
	"a context that is over":                       testContext,
	"sessions and their parts":                     testSessions,
	"offsets of dates":                             testZoneOffsets,
	"completed reads":                              testReads,
}

func TestSQLite(t *testing.T) {
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openSQLite)
		})
	}
}

func TestPostgres(t *testing.T) {
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openPostgres)
		})
	}
}

// TestPooledPostgres: the store does the same through a PgBouncer in transaction mode.
func TestPooledPostgres(t *testing.T) {
	for name, test := range suite {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, openPooledPostgres)
		})
	}
}

func openPooledPostgres(t testing.TB) *store.Store {
	t.Helper()
	pooled, _ := pgtest.PooledDatabase(t)
	s, err := store.OpenPostgres(t.Context(), pooled, newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func openPostgres(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.OpenPostgres(t.Context(), pgtest.Database(t), newKeys(t, filepath.Join(t.TempDir(), "keyset.json")))
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func openSQLite(t testing.TB) *store.Store {
	t.Helper()
	dir := t.TempDir()
	return openFile(t, filepath.Join(dir, "store.db"), newKeys(t, filepath.Join(dir, "keyset.json")))
}

func openFile(t testing.TB, path string, keys store.Keys) *store.Store {
	t.Helper()
	s, err := store.OpenSQLite(t.Context(), path, keys)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

// newKeys makes a keyset in a file.
func newKeys(t testing.TB, path string) *keyring.Ring {
	t.Helper()
	check(t, keyring.Create(t.Context(), keyring.Source{Path: path}))
	return openKeys(t, path)
}

// openKeys opens a keyset that is looked at for changes when it has to be.
func openKeys(t testing.TB, path string) *keyring.Ring {
	t.Helper()
	keys, err := keyring.Open(t.Context(), keyring.Source{Path: path}, time.Hour, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(func() { check(t, keys.Close()) })
	return keys
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("wanted (-), got (+):\n%s", diff)
	}
}

const (
	workspace = "workspaces/acme"
	prod      = "workspaces/acme/connections/prod"
)

func connect(t testing.TB, s *store.Store, name string) *pb.Connection {
	t.Helper()
	c, err := s.CreateConnection(t.Context(), &pb.Connection{Name: name}, &store.Secrets{SigmaClientSecret: "s3cret of " + name}, store.Request{})
	check(t, err)
	return c
}

func workbook(connection, id, path, name string) *pb.Workbook {
	return &pb.Workbook{Name: connection + "/workbooks/" + id, WorkbookId: id, Path: path, DisplayName: name}
}

func model(w *pb.Workbook, connection, element, name string, columns ...string) *pb.Model {
	m := &pb.Model{
		State:               pb.ModelState_MODEL_STATE_READY,
		Name:                connection + "/models/" + w.GetWorkbookId() + "." + element,
		Workbook:            w.GetName(),
		ElementId:           element,
		DisplayName:         name,
		WorkbookDisplayName: w.GetDisplayName(),
		Path:                w.GetPath(),
		ColumnCount:         int32(len(columns)),
	}
	for i, label := range columns {
		m.Columns = append(m.Columns, &pb.Column{ColumnId: fmt.Sprint("c", i), Label: label})
	}
	return m
}

// allModels walks over all pages.
func allModels(ctx context.Context, s *store.Store, parent, workbook string, size int32) ([]*pb.Model, error) {
	var all []*pb.Model
	for page := (store.Page{Size: size}); ; {
		list, next, err := s.ListModels(ctx, parent, store.ListOptions{Workbook: workbook}, page)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		if page.Token = next; next == "" {
			return all, nil
		}
	}
}

func allWorkbooks(t testing.TB, s *store.Store, parent string) []*pb.Workbook {
	t.Helper()
	list, next, err := s.ListWorkbooks(t.Context(), parent, store.ListOptions{}, store.Page{Size: 1000})
	check(t, err)
	if next != "" {
		t.Fatal("more workbooks than the test expects")
	}
	return list
}

// scanning returns the claim of a connection's scan `s`, which it starts where there
// is no scan. Where it cannot, the claim is of a scan that is not there.
func scanning(ctx context.Context, s *store.Store, connection string) store.Claim {
	claim := store.Claim{Scan: connection + "/scans/s", Run: 1}
	if _, started, err := s.StartScan(ctx, &pb.Scan{Name: claim.Scan}, 0, nil); err == nil && started {
		if _, claim, err = s.ClaimScan(ctx, claim.Scan); err != nil {
			panic(err)
		}
	}
	return claim
}

func connectionOf(workbook string) string {
	connection, _, _ := strings.Cut(workbook, "/workbooks/")
	return connection
}

// put stores a workbook that was read.
func put(ctx context.Context, s *store.Store, w *pb.Workbook, models []*pb.Model) error {
	claim := scanning(ctx, s, connectionOf(w.GetName()))
	_, err := s.PutWorkbook(ctx, store.Seen{Claim: claim, Workbook: w, Models: models, Marker: "m"})
	return err
}

// putFailed stores a workbook that could not be read.
func putFailed(ctx context.Context, s *store.Store, w *pb.Workbook) error {
	claim := scanning(ctx, s, connectionOf(w.GetName()))
	_, err := s.PutWorkbook(ctx, store.Seen{Claim: claim, Workbook: w, Unread: true})
	return err
}
