// Package filter reads what callers write into the fields `filter` and `order_by`
// of a list request, as AIP-160 and AIP-132 have it, and says where a text is wrong
// and what would be right.
//
// It knows the names and kinds of fields, and neither models nor SQL: what a filter
// means is for its users. It imports nothing of this service.
package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// What one filter may hold at most.
const (
	maxLength = 2000 // characters, as the contract states it
	maxTests  = 50
	maxDepth  = 10 // of parentheses
)

// Kind is what a field holds, which decides how it can be tested.
type Kind int

const (
	Text    Kind = iota // one text: =, !=
	Folder              // a path of folders: =, !=, and : for in it or below it
	Set                 // any number of texts: : for one of them, :* for any
	Enum                // one of Values: =, !=
	EnumSet             // any number of Values: : for one of them, :* for any
	Time                // a time: =, !=, <, <=, >, >=
)

// Field is what a filter may speak of.
type Field struct {
	Name string // such as `state` or `columns.label`
	Kind Kind
	Enum protoreflect.EnumDescriptor // of Enum and EnumSet
}

// Values returns the numbers of an enum's values, without the one that says nothing.
func (f *Field) Values() (numbers []int32) {
	for i := range f.Enum.Values().Len() {
		if number := f.Enum.Values().Get(i).Number(); number != 0 {
			numbers = append(numbers, int32(number))
		}
	}
	return numbers
}

// number returns the value of a name, with or without the enum's prefix.
func (f *Field) number(name string) (int32, bool) {
	for i := range f.Enum.Values().Len() {
		if value := f.Enum.Values().Get(i); value.Number() != 0 && (name == string(value.Name()) || name == f.short(value)) {
			return int32(value.Number()), true
		}
	}
	return 0, false
}

// short is the name of a value without what all names of the enum begin with.
func (f *Field) short(value protoreflect.EnumValueDescriptor) string {
	prefix := strings.TrimSuffix(string(f.Enum.Values().ByNumber(0).Name()), "UNSPECIFIED")
	return strings.TrimPrefix(string(value.Name()), prefix)
}

func (f *Field) valueNames() (names []string) {
	for _, number := range f.Values() {
		names = append(names, f.short(f.Enum.Values().ByNumber(protoreflect.EnumNumber(number))))
	}
	return names
}

// Op is how a test compares.
type Op int

const (
	Equal Op = iota
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	Has     // the set holds the value; the folder is the value or lies below it
	Present // the set holds anything
)

// Expr is a filter that was understood: an And, an Or, a Not or a Test.
type Expr interface{ expr() }

type (
	// And holds where all do.
	And []Expr
	// Or holds where any does.
	Or []Expr
	// Not holds where the other does not.
	Not struct{ Expr Expr }
	// Test compares a field with a value.
	Test struct {
		Field  *Field
		Op     Op
		Text   string    // of Text, Folder and Set
		Number int32     // of Enum and EnumSet
		Time   time.Time // of Time
	}
)

func (And) expr()  {}
func (Or) expr()   {}
func (Not) expr()  {}
func (Test) expr() {}

// Error tells where a filter is wrong, and how.
type Error struct {
	Position int // in characters, from 1; 0 for the filter as a whole
	Problem  string
}

// Error names the place and the problem.
func (e *Error) Error() string {
	if e.Position == 0 {
		return e.Problem
	}
	return fmt.Sprintf("at character %d: %s", e.Position, e.Problem)
}

// Fields are what the filters of one list may speak of.
type Fields []Field

func (fields Fields) find(name string) *Field {
	if i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return &fields[i]
	}
	return nil
}

func (fields Fields) names() string {
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}
