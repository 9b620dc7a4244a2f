package sigmasql

import "fmt"

// Reason says why a text is not a statement that can be run.
type Reason int

// The reasons.
const (
	Empty              Reason = iota + 1 // nothing but white space and comments
	NotAQuery                            // something other than a query, or a query that also writes or locks
	MultipleStatements                   // something follows the first statement
	Unterminated                         // a string, quoted name or comment does not end
	Unbalanced                           // a bracket is not closed, or closed without having been opened
	TooDeep                              // more brackets within brackets than any warehouse compiles
	UnknownLimit                         // a limit, top or fetch in a place where its meaning is not known
)

// String returns the reason in plain words.
func (r Reason) String() string {
	names := [...]string{
		Empty: "empty", NotAQuery: "not a query", MultipleStatements: "more than one statement",
		Unterminated: "unterminated string, name or comment", Unbalanced: "unbalanced brackets", TooDeep: "nested too deep",
		UnknownLimit: "a row limit in an unknown place",
	}
	if r < Empty || int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// Error is why [Prepare] refuses a text. It never holds any of the text.
type Error struct {
	Reason Reason
	Offset int // the byte in the text where it shows
}

// Error names the reason and the place.
func (e *Error) Error() string {
	return fmt.Sprintf("sigmasql: %s at byte %d", e.Reason, e.Offset)
}
