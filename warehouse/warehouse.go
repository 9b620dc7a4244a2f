// Package warehouse is the one face that every customer warehouse shows to the
// rest of the service: a statement goes in, Arrow record batches come out.
//
// The package holds the interface, its error type and the canonical Arrow
// types (see [Canonical]). Each adapter lives in a folder of its own, named
// after the warehouse. The package and its adapters know neither Sigma nor
// gRPC, and must not import sigmaclient, server or gen.
package warehouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
)

// Warehouse is a connection to a customer's warehouse. It is safe for
// concurrent use. Opening one makes no call; the first use logs in.
type Warehouse interface {
	// Identify logs in where that has not happened yet and tells as whom. It
	// is the check that a connection works.
	Identify(ctx context.Context) (Identity, error)

	// Probe runs a query that needs the warehouse's compute, and reads its rows.
	// It shows that queries run, which Identify does not.
	Probe(ctx context.Context) error

	// Query runs one statement and returns once its columns are known. The
	// context bounds the whole read, not only this call: when it ends, the
	// query is cancelled in the warehouse and Result.Next fails. The caller
	// must Close the result. Failures are a *Error or the context's error.
	Query(ctx context.Context, stmt Statement) (Result, error)

	// Describe compiles a statement without running it and returns the columns
	// that Query would give. It fails as Query does.
	Describe(ctx context.Context, stmt Statement) (*arrow.Schema, error)

	// Close logs out and frees what the connection holds. Results that are
	// still open fail.
	Close() error
}

// Statement is what Query runs.
type Statement struct {
	// SQL is exactly one query in the warehouse's dialect.
	SQL string
	// Tag names the reader in the warehouse's own query history, where the
	// warehouse has such a thing. It holds no secret and no personal data.
	Tag string
	// Choose returns which of the result's columns are delivered, given the names
	// of all of them: positions from 0, in the order of delivery, none twice. Nil
	// delivers all columns. The adapter neither checks the type of a column that is
	// not chosen nor decodes its values, so that such a column fails nothing. Query
	// and Describe return an error of Choose unchanged. Choose may be called more
	// than once and by any goroutine.
	Choose func(names []string) ([]int, error)
	// Days returns which columns of local-zone type hold dates that the statement
	// casts to instants, as positions from 0 among all columns of the result, given
	// the names of all of them. Such a column is delivered as Date32. A value of it
	// that is not the beginning of a day in the session's time zone is a *Error of
	// KindUnsupported; see zone.Day for what counts as one. Columns of other types are delivered as they are, and positions
	// of no column are ignored. Nil means none. Days may be called more than once and by any goroutine.
	Days func(names []string) []int
}

// HoldsDays reports for each column of a result, given the names of all of them,
// whether the statement's Days returns it.
func (s Statement) HoldsDays(names []string) []bool {
	holds := make([]bool, len(names))
	if s.Days == nil {
		return holds
	}
	for _, position := range s.Days(names) {
		if position >= 0 && position < len(names) {
			holds[position] = true
		}
	}
	return holds
}

// Columns returns the positions of the columns that the statement delivers of
// a result whose columns have the given names. It fails with the error of
// Choose, or where Choose returns a position that does not exist or one twice.
func (s Statement) Columns(names []string) ([]int, error) {
	if s.Choose == nil {
		all := make([]int, len(names))
		for i := range all {
			all[i] = i
		}
		return all, nil
	}
	positions, err := s.Choose(names)
	if err != nil {
		return nil, err
	}
	seen := make(map[int]bool, len(positions))
	for _, position := range positions {
		if position < 0 || position >= len(names) || seen[position] {
			return nil, fmt.Errorf("warehouse: the column at position %d of %d cannot be chosen, or is chosen twice", position, len(names))
		}
		seen[position] = true
	}
	return positions, nil
}

// Identity is whom the warehouse took us for. Fields that a warehouse does not
// know are empty.
type Identity struct {
	Account string // Snowflake's account locator
	// QualifiedAccount is Snowflake's other name of the account, with its
	// organization's: MYORG-MYACCOUNT.
	QualifiedAccount string
	User             string
	Role             string
	Warehouse        string // the compute warehouse in use
	Database         string
	Schema           string
	Version          string // of the warehouse's software
}

// Result is a cursor over a query's rows. It is used by one goroutine.
type Result interface {
	// QueryID is the warehouse's own name for the query, empty where it has none.
	QueryID() string

	// Schema tells the columns, in canonical types only.
	Schema() *arrow.Schema

	// DeclaredRows is the row count that the warehouse itself announced for
	// the result. Where it announces none, ok is false and the end of the
	// cursor is the only proof of completeness.
	DeclaredRows() (n int64, ok bool)

	// Next returns the next batch, which the caller releases, or io.EOF after
	// the last. io.EOF is returned only when as many rows were delivered as
	// were declared; a shorter or longer result is a *Error of KindIncomplete.
	// No other error wraps io.EOF.
	// Memory is bounded: batches are fetched as they are asked for.
	Next(ctx context.Context) (arrow.RecordBatch, error)

	// Close frees the result and cancels the query if it still runs. It is
	// safe to call twice and after an error.
	Close() error
}

// Estimator is a Result whose warehouse guesses how many rows it will have.
type Estimator interface {
	// EstimateRows returns about how many rows will come. It is called before the
	// first Next, and costs no more than to compile the statement. ok is false where
	// the warehouse has no idea.
	EstimateRows(ctx context.Context) (n int64, ok bool)
}

// Waiter is a Warehouse whose Query returns only when the query has run. Describe may
// know its columns long before.
type Waiter interface {
	Warehouse

	// QueryWaits marks the warehouse and does nothing.
	QueryWaits()
}

// Keeper is a Warehouse that keeps the results of queries for a while.
type Keeper interface {
	// Reopen opens a result that was kept, through any connection of the same user.
	// It fails with a *Error of KindGone where the warehouse no longer has it, and of
	// KindIncomplete where it is not the one that the manifest tells of.
	Reopen(ctx context.Context, manifest Manifest) (Parts, error)
}

// Kept is a Result of a Keeper.
type Kept interface {
	Result

	// Keep gives the cursor up for the parts that it would have read. The context of
	// the query bounds them no longer.
	Keep() (Manifest, Parts, error)
}

// Manifest is what is to be known of a kept result to read it again: the figures
// that the warehouse declared when it ran the query.
type Manifest struct {
	QueryID string          `json:"query_id"`
	Parts   []int64         `json:"parts"`   // rows of each part, in the result's order
	Columns json.RawMessage `json:"columns"` // the adapter's own record
}

// Rows is the number of all rows.
func (m Manifest) Rows() int64 {
	var n int64
	for _, rows := range m.Parts {
		n += rows
	}
	return n
}

// Parts is a kept result that is open. It is safe for concurrent use.
type Parts interface {
	// Schema tells the columns, in canonical types only.
	Schema() *arrow.Schema

	// Open returns a cursor over one part, counted from 0, which the caller closes.
	// Any number may be open at a time.
	Open(part int) (Part, error)

	// Close frees what is held. Cursors that are open fail.
	Close() error
}

// Part is a cursor over a part of a kept result. It is used by one goroutine.
type Part interface {
	// Next is as that of Result, for the rows that the manifest declares.
	Next(ctx context.Context) (arrow.RecordBatch, error)
	Close() error
}

// Granter is a Warehouse that knows how privileges are given.
type Granter interface {
	// Grants returns what lets a role read a table, named by its parts, if the
	// table exists.
	Grants(table []string, role string) []Grant
}

// Grant is a privilege that a role may lack.
type Grant struct {
	Privilege string // such as "SELECT"
	Object    string // such as "TABLE DB.SCHEMA.ORDERS"
	Statement string // gives it, in the warehouse's syntax
}

// SessionInspector is a Warehouse whose sessions have roles, and parameters that
// the account, the user and the login set.
type SessionInspector interface {
	// InspectSession returns what decides about the meaning of statements in the
	// sessions of the warehouse. It logs in where that has not happened yet.
	InspectSession(ctx context.Context) (Session, error)
}

// Session is what a SessionInspector knows of its sessions.
type Session struct {
	Role string
	// SecondaryRoles is ALL, NONE, or the names of the active roles with commas
	// between them.
	SecondaryRoles string
	// Database and Schema are the namespace of unqualified names. Empty means none.
	Database, Schema string
	Parameters       []SessionParameter // sorted by name
}

// SessionParameter is a parameter of a session.
type SessionParameter struct {
	Name  string
	Value string
	// Level is where the value is set: ACCOUNT, USER or SESSION, or empty where the
	// warehouse's default holds.
	Level string
	// IsPinned reports that the login of this service sets the value.
	IsPinned bool
	// AffectsRows reports that the parameter may decide about the rows or the values
	// of a query. It is false only for parameters that are known not to.
	AffectsRows bool
}

// TableInspector is a Warehouse that knows when its tables changed.
type TableInspector interface {
	// LastAltered returns when the data or the definition of each table changed last,
	// in the order of the tables. A table is named by its database, schema and name.
	// The time is zero for a table that does not exist or that the role cannot see.
	LastAltered(ctx context.Context, tables [][]string) ([]time.Time, error)
}

// PolicyInspector is a Warehouse that shows the policies of its tables.
type PolicyInspector interface {
	// Policies returns the policies that the role can see on a table or view, which is
	// named by its database, schema and name. An empty list proves nothing: a role
	// does not see each policy that holds for it.
	Policies(ctx context.Context, table []string) ([]Policy, error)
}

// Policy hides or changes rows or values of a table for some roles.
type Policy struct {
	Kind   string // in the warehouse's words, such as ROW_ACCESS_POLICY
	Name   string // qualified
	Column string // that a masking policy changes, or empty
}

// Drain reads a result to its end and closes it.
func Drain(ctx context.Context, result Result) (err error) {
	defer func() { err = errors.Join(err, result.Close()) }()
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		batch.Release()
	}
}
