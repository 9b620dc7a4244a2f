package warehouse

import (
	"fmt"
	"strings"
)

// Kind sorts a warehouse's failures by what a caller can do about them.
type Kind int

// The kinds of failure.
const (
	KindUnknown       Kind = iota
	KindCredentials        // the warehouse refuses user, key, password or token
	KindConfiguration      // no such account, role, warehouse, database or schema
	KindPermission         // the role lacks a privilege, or the object does not exist: warehouses rarely say which
	KindInvalidSQL         // the statement does not compile
	KindData               // the statement compiles and fails on the data, such as a failed cast
	KindTimeout            // the statement timeout of the warehouse was reached
	KindCancelled          // somebody cancelled the query in the warehouse
	KindThrottled          // too many statements at once
	KindUnavailable        // the warehouse cannot be reached, is suspended, or failed in passing
	KindIncomplete         // fewer or more rows were delivered than were declared
	KindUnsupported        // a value or type that cannot be delivered exactly
	KindGone               // the warehouse no longer has a result that it kept
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	names := [...]string{"unknown", "credentials", "configuration", "permission", "invalid SQL", "data", "timeout",
		"cancelled", "throttled", "unavailable", "incomplete", "unsupported", "gone"}
	if k < 0 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// Error is a failure in the warehouse's own words, less what must not travel:
// it never holds a secret, a statement's text or a row's values.
type Error struct {
	Kind    Kind
	Code    string // the warehouse's code, such as Snowflake's "002003"
	State   string // SQLSTATE, where the warehouse gives one
	QueryID string
	Object  string // the table, view, role or warehouse that the failure is about, as the warehouse names it
	Column  string // of the value that cannot be delivered exactly
	Row     int64  // of that value, from 1; 0 where it is about the whole column
	Message string // one line a person can act on, free of SQL and values
	Err     error  // the cause, for errors.Is and the log; may be nil
}

// Error returns the message with the warehouse's code and query id. It leaves
// the cause out: a driver's text may quote the statement.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "warehouse: %s", e.Kind)
	if e.Code != "" {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %s", e.Message)
	}
	if e.QueryID != "" {
		fmt.Fprintf(&b, " [query %s]", e.QueryID)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
