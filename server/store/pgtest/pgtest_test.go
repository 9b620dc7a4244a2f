package pgtest_test

import (
	"database/sql"
	"os"
	"testing"

	"github.com/sigmasource/sigmasource/server/store/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m, nil)) }

func TestEachTestHasItsOwnDatabase(t *testing.T) {
	for range 2 {
		db, err := sql.Open("pgx", pgtest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE one (n INTEGER)"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
