package server_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/store/pgtest"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// onEachStore runs a test over a scanned catalog in SQLite and in PostgreSQL.
func onEachStore(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, scanned(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, scannedIn(t, pgtest.Database(t)))
	})
}

// exec runs a statement in the database of the store, beside the server.
func (w *world) exec(statement string) {
	w.t.Helper()
	driver, source := "sqlite", "file:"+w.storeFile()+"?_pragma=busy_timeout(10000)"
	if w.database != "" {
		driver, source = "pgx", w.database
	}
	db, err := sql.Open(driver, source)
	w.must(err)
	_, err = db.ExecContext(w.ctx, statement)
	w.must(errors.Join(err, db.Close()))
}

// backup stops the server, copies the store, and starts the server again. The
// function that it returns restarts the server over the copy.
func (w *world) backup() (restore func()) {
	w.t.Helper()
	w.stop()
	defer w.start()
	if w.database != "" {
		copied := pgtest.Copy(w.t, w.database)
		return func() {
			w.stop()
			w.database = copied
			w.start()
		}
	}
	content, err := os.ReadFile(w.storeFile())
	w.must(err)
	return func() {
		w.stop()
		w.must(os.WriteFile(w.storeFile(), content, 0o600))
		w.start()
	}
}

// recreate deletes the connection and creates it again under its name.
func (w *world) recreate() {
	w.t.Helper()
	_, err := w.connections.DeleteConnection(w.ctx, &pb.DeleteConnectionRequest{Name: snowflakeName})
	w.must(err)
	w.create(snowflakeName, w.snowflakeConnection())
}

// rename gives a workbook another name and scans.
func (w *world) rename(workbook, name string) {
	w.t.Helper()
	w.sigma.ChangeWorkbook(workbook, func(book *sigmatest.Workbook) { book.Name = name })
	w.scanChanged(snowflakeName)
}

// page lists changes of the connection.
func (w *world) page(request *pb.ListChangesRequest) *pb.ListChangesResponse {
	w.t.Helper()
	request.Parent = snowflakeName
	response, err := w.catalog.ListChanges(w.ctx, request)
	w.must(err)
	if response.GetNextCursor() == "" || response.GetNewestCursor() == "" {
		w.t.Errorf("a page without cursors: %v", response)
	}
	return response
}

// after lists the changes after a cursor, one a line, and returns the next cursor.
func (w *world) after(cursor string) ([]string, string) {
	w.t.Helper()
	page := w.page(&pb.ListChangesRequest{Cursor: cursor, PageSize: 1000})
	var lines []string
	for _, c := range page.GetChanges() {
		lines = append(lines, changeLine(c))
	}
	return lines, page.GetNextCursor()
}

// refuses makes sure that both methods refuse a position for a reason, and that the
// caller can go on from the cursor of the error.
func (w *world) refuses(request *pb.ListChangesRequest, reason pb.ErrorReason) {
	w.t.Helper()
	request.Parent = snowflakeName
	_, err := w.catalog.ListChanges(w.ctx, request)
	facts := wantError(w.t, err, codes.OutOfRange, reason)
	if message := status.Convert(err).Message(); !strings.Contains(message, "list the models anew") || !strings.Contains(message, "newest_cursor") {
		w.t.Errorf("the message does not say what to do: %q", message)
	}
	stream, err := w.catalog.WatchChanges(w.ctx, &pb.WatchChangesRequest{Parent: snowflakeName, AfterSequence: request.GetAfterSequence(), Cursor: request.GetCursor()})
	w.must(err)
	_, err = stream.Recv()
	wantError(w.t, err, codes.OutOfRange, reason)
	if lines, _ := w.after(facts["newest_cursor"]); len(lines) != 0 {
		w.t.Errorf("after the newest cursor there are %q", lines)
	}
}

const (
	epochMismatch   = pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_EPOCH_MISMATCH
	historyMismatch = pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_HISTORY_MISMATCH
	beyondEnd       = pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_BEYOND_END
	cursorExpired   = pb.ErrorReason_ERROR_REASON_CHANGE_CURSOR_EXPIRED
)

func TestCursorsOfAConnectionThatWasCreatedAnew(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *world) {
		whole := w.page(&pb.ListChangesRequest{})
		middle, newest := whole.GetChanges()[3].GetCursor(), whole.GetNextCursor()
		if newest != whole.GetNewestCursor() || newest != whole.GetChanges()[6].GetCursor() {
			t.Error("the end of the feed has several cursors")
		}
		w.recreate()
		empty := w.page(&pb.ListChangesRequest{})
		if empty.GetNextCursor() != empty.GetNewestCursor() || len(empty.GetChanges()) != 0 {
			t.Errorf("a feed without changes: %v", empty)
		}
		for _, cursor := range []string{middle, newest} {
			w.refuses(&pb.ListChangesRequest{Cursor: cursor}, epochMismatch)
		}
		for _, sequence := range []int64{1, 7, 9999} {
			w.refuses(&pb.ListChangesRequest{AfterSequence: sequence}, beyondEnd)
		}

		// The new feed is as long as the former, and another one all the same.
		w.mustScan(snowflakeName)
		for _, cursor := range []string{middle, newest} {
			w.refuses(&pb.ListChangesRequest{Cursor: cursor}, epochMismatch)
		}
		if lines, end := w.after(empty.GetNextCursor()); len(lines) != 7 || end == newest {
			t.Errorf("after the position before the first change there are %q", lines)
		}
		if page := w.page(&pb.ListChangesRequest{AfterSequence: 7}); len(page.GetChanges()) != 0 {
			t.Errorf("after the last sequence there are %v", page)
		}
		w.recreate()
		w.refuses(&pb.ListChangesRequest{Cursor: empty.GetNextCursor()}, epochMismatch)
	})
}

func TestCursorsOfAStoreThatWasRestored(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *world) {
		saved := w.page(&pb.ListChangesRequest{}).GetNewestCursor()
		restore := w.backup()
		w.rename("One", "Uno")
		_, first := w.after(saved)
		w.rename("Two", "Due")
		lines, second := w.after(first)
		wantLines(t, lines, "WORKBOOK_RENAMED workbooks/two Two>Due")

		restore()
		if lines, next := w.after(saved); len(lines) != 0 || next != saved {
			t.Errorf("after the backup's last change there are %q", lines)
		}
		for _, cursor := range []string{first, second} {
			w.refuses(&pb.ListChangesRequest{Cursor: cursor}, beyondEnd)
		}
		for _, sequence := range []int64{8, 9} {
			w.refuses(&pb.ListChangesRequest{AfterSequence: sequence}, beyondEnd)
		}

		// The next scan finds both renamed, and makes as many changes.
		w.scanChanged(snowflakeName)
		lines, next := w.after(saved)
		wantLines(t, lines, "WORKBOOK_RENAMED workbooks/one One>Uno", "WORKBOOK_RENAMED workbooks/two Two>Due")
		for _, cursor := range []string{first, second} {
			w.refuses(&pb.ListChangesRequest{Cursor: cursor}, historyMismatch)
		}
		w.rename("Three", "Tre")
		for _, cursor := range []string{first, second} {
			w.refuses(&pb.ListChangesRequest{Cursor: cursor}, historyMismatch)
		}
		if lines, _ := w.after(next); len(lines) != 1 {
			t.Errorf("the restored feed goes on with %q", lines)
		}
	})
}

func TestCursorsBeforeTheStoredChanges(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *world) {
		whole := w.page(&pb.ListChangesRequest{})
		w.exec(`DELETE FROM changes WHERE seq <= 3`)
		for i, c := range whole.GetChanges() {
			if i < 3 { // after the third no change is missing, but the server cannot verify its position
				w.refuses(&pb.ListChangesRequest{Cursor: c.GetCursor()}, cursorExpired)
			} else if lines, _ := w.after(c.GetCursor()); len(lines) != 6-i {
				t.Errorf("after the change %d there are %q", i+1, lines)
			}
		}
		for _, sequence := range []int64{0, 1, 2} {
			w.refuses(&pb.ListChangesRequest{AfterSequence: sequence}, cursorExpired)
		}
		if page := w.page(&pb.ListChangesRequest{AfterSequence: 3}); len(page.GetChanges()) != 4 {
			t.Errorf("after the last sequence that was deleted there are %v", page)
		}
		_, err := w.catalog.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: snowflakeName, AfterSequence: 1})
		if facts := wantError(t, err, codes.OutOfRange, cursorExpired); facts["sequence"] != "1" || facts["oldest_sequence"] != "4" {
			t.Errorf("the error says %v", facts)
		}
		w.exec(`DELETE FROM changes`)
		w.refuses(&pb.ListChangesRequest{Cursor: whole.GetNextCursor()}, cursorExpired)
		w.rename("One", "Uno")
		if page := w.page(&pb.ListChangesRequest{AfterSequence: 7}); len(page.GetChanges()) != 1 {
			t.Errorf("after the last sequence there are %v", page)
		}
	})
}

func TestAWatchedFeedThatIsReplaced(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *world) {
		watch := func(request *pb.WatchChangesRequest) (ended func() error) {
			t.Helper()
			ctx, cancel := context.WithCancel(w.ctx)
			t.Cleanup(cancel)
			request.Parent = snowflakeName
			stream, err := w.catalog.WatchChanges(ctx, request)
			w.must(err)
			message, err := stream.Recv()
			w.must(err)
			if n := len(message.GetChanges()); n == 0 || message.GetNextCursor() != message.GetChanges()[n-1].GetCursor() {
				t.Errorf("the message is %v", message)
			}
			return func() error {
				message, err := stream.Recv()
				if err == nil {
					t.Errorf("it goes on with %v", message)
				}
				return err
			}
		}
		sixth := w.page(&pb.ListChangesRequest{}).GetChanges()[5].GetCursor()
		byCursor, bySequence := watch(&pb.WatchChangesRequest{Cursor: sixth}), watch(&pb.WatchChangesRequest{AfterSequence: 5})
		w.exec(`UPDATE changes SET id = id || id WHERE seq = 7`)
		wantError(t, byCursor(), codes.OutOfRange, historyMismatch)
		wantError(t, bySequence(), codes.OutOfRange, historyMismatch)

		ended := watch(&pb.WatchChangesRequest{Cursor: sixth})
		w.exec(`UPDATE connections SET change_seq = 6`)
		wantError(t, ended(), codes.OutOfRange, beyondEnd)
		w.exec(`UPDATE connections SET change_seq = 7`)

		ended = watch(&pb.WatchChangesRequest{Cursor: sixth})
		w.exec(`DELETE FROM changes WHERE seq > 4`)
		wantError(t, ended(), codes.OutOfRange, cursorExpired)

		// A poll between the deletion and the creation finds no connection. It comes
		// once a second, so that one of a few streams sees both done.
		for {
			w.recreate()
			w.mustScan(snowflakeName)
			ended := watch(&pb.WatchChangesRequest{})
			w.recreate()
			err := ended()
			if status.Code(err) == codes.NotFound {
				continue
			}
			wantError(t, err, codes.OutOfRange, epochMismatch)
			return
		}
	})
}

func TestRequestsForChangesThatAreWrong(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	other := workspace + "/connections/other"
	w.create(other, w.snowflakeConnection())
	ofOther, err := w.catalog.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: other})
	w.must(err)
	models, err := w.catalog.ListModels(w.ctx, &pb.ListModelsRequest{Parent: snowflakeName, PageSize: 1})
	w.must(err)
	third := w.page(&pb.ListChangesRequest{PageSize: 3}).GetNextCursor()
	for name, test := range map[string]struct {
		cursor string
		after  int64
		field  string
	}{
		"a word":                     {"x", 0, "cursor"},
		"a sequence":                 {"3", 0, "cursor"},
		"no base64":                  {"!" + third[1:], 0, "cursor"},
		"one that was cut":           {third[:len(third)-1], 0, "cursor"},
		"half of one":                {third[:len(third)/2], 0, "cursor"},
		"one with more behind it":    {third + "AAAA", 0, "cursor"},
		"one in other letters":       {strings.ToUpper(third), 0, "cursor"},
		"a page token":               {models.GetNextPageToken(), 0, "cursor"},
		"one of another connection":  {ofOther.GetNextCursor(), 0, "cursor"},
		"a long one":                 {strings.Repeat("A", 201), 0, "cursor"},
		"another sequence beside it": {third, 4, "after_sequence"},
		"a negative sequence":        {"", -1, "after_sequence"},
	} {
		_, err := w.catalog.ListChanges(w.ctx, &pb.ListChangesRequest{Parent: snowflakeName, Cursor: test.cursor, AfterSequence: test.after})
		stream, openErr := w.catalog.WatchChanges(w.ctx, &pb.WatchChangesRequest{Parent: snowflakeName, Cursor: test.cursor, AfterSequence: test.after})
		w.must(openErr)
		_, watchErr := stream.Recv()
		for _, err := range []error{err, watchErr} {
			t.Run(name, func(t *testing.T) {
				wantError(t, err, codes.InvalidArgument, pb.ErrorReason_ERROR_REASON_REQUEST_INVALID)
				wantField(t, err, test.field)
			})
		}
	}
	if page := w.page(&pb.ListChangesRequest{Cursor: third, AfterSequence: 3}); len(page.GetChanges()) != 4 {
		t.Errorf("with the sequence that the cursor has, too, there are %v", page)
	}
}

// TestChangesInPages: whichever position of a feed a caller goes on from, and with
// whichever size of page, it gets the rest once.
func TestChangesInPages(t *testing.T) {
	onEachStore(t, func(t *testing.T, w *world) {
		whole := w.page(&pb.ListChangesRequest{})
		for size := int32(1); size <= 8; size++ {
			cursor, sequence := "", int64(0)
			for {
				page := w.page(&pb.ListChangesRequest{Cursor: cursor, PageSize: size})
				for _, c := range page.GetChanges() {
					if sequence++; c.GetSequence() != sequence || c.GetCursor() != whole.GetChanges()[sequence-1].GetCursor() {
						t.Fatalf("after %d comes %v", sequence-1, c)
					}
				}
				if len(page.GetChanges()) == 0 {
					break
				}
				cursor = page.GetNextCursor()
			}
			if sequence != 7 || cursor != whole.GetNewestCursor() {
				t.Errorf("pages of %d hold %d changes", size, sequence)
			}
		}
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		stream, err := w.catalog.WatchChanges(ctx, &pb.WatchChangesRequest{Parent: snowflakeName})
		w.must(err)
		for sequence := int64(0); sequence < 7; {
			message, err := stream.Recv()
			w.must(err)
			for _, c := range message.GetChanges() {
				if sequence++; c.GetSequence() != sequence {
					t.Fatalf("after %d comes %v", sequence-1, c)
				}
			}
		}
		cancel()
		if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the cancelled stream ends with %v", err)
		}
	})
}
