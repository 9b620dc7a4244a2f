package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// Parse understands a filter. An empty one is nil. It fails with an *Error.
func (fields Fields) Parse(text string) (Expr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if n := utf8.RuneCountInString(text); n > maxLength {
		return nil, &Error{Problem: fmt.Sprintf("it has %d characters; at most %d are allowed", n, maxLength)}
	}
	if err := checkDepth(text); err != nil {
		return nil, err
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return nil, syntaxError(text, err)
	}
	r := &reader{fields: fields, text: text, starts: parsed.GetSourceInfo().GetPositions()}
	return r.read(parsed.GetExpr())
}

// checkDepth bounds how deep the parser, and all that walk its tree, go.
func checkDepth(text string) error {
	var lexer filtering.Lexer
	lexer.Init(text)
	for depth := 0; ; {
		token, err := lexer.Lex()
		if err != nil {
			return nil // the text is over, or the parser will tell
		}
		switch token.Type {
		case filtering.TokenTypeLeftParen:
			depth++
		case filtering.TokenTypeRightParen:
			depth--
		}
		if depth > maxDepth {
			return &Error{Position: position(text, token.Position.Offset), Problem: fmt.Sprintf("parentheses are nested more than %d deep", maxDepth)}
		}
	}
}

// position turns an offset in bytes into one in characters, from 1.
func position(text string, offset int32) int {
	return utf8.RuneCountInString(text[:min(int(offset), len(text))]) + 1
}

// syntaxError takes from the library's error the innermost place and message.
func syntaxError(text string, err error) error {
	failed := &Error{Problem: "it cannot be read"}
	for ; err != nil; err = errors.Unwrap(err) {
		if at, ok := err.(interface {
			Position() filtering.Position
			Message() string
		}); ok {
			skipped := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace)) // the library does not count it
			failed.Position, failed.Problem = position(text, at.Position().Offset+int32(skipped)), at.Message()
		}
	}
	failed.Problem += `; a filter looks like FIELD = "VALUE", joined with AND, OR, NOT and parentheses`
	return failed
}

// reader turns the library's tree into ours. We check the types ourselves, because
// the library's checker does not tell where an error is.
type reader struct {
	fields Fields
	text   string
	starts map[int64]int32 // by the ids of expressions
	tests  int
}

func (r *reader) errorf(e *expr.Expr, format string, args ...any) error {
	skipped := len(r.text) - len(strings.TrimLeftFunc(r.text, unicode.IsSpace))
	start := int(r.starts[e.GetId()]) + skipped
	rest := r.text[min(start, len(r.text)):]
	start += len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
	return &Error{Position: position(r.text, int32(start)), Problem: fmt.Sprintf(format, args...)}
}

const shape = `write FIELD = "VALUE" or FIELD:"VALUE"; free text belongs into the request's field query`

func (r *reader) read(e *expr.Expr) (Expr, error) {
	call := e.GetCallExpr()
	if call == nil {
		return nil, r.errorf(e, "there is no comparison here; %s", shape)
	}
	switch call.GetFunction() {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		all, err := r.readAll(call.GetArgs())
		return And(all), err
	case filtering.FunctionOr:
		all, err := r.readAll(call.GetArgs())
		return Or(all), err
	case filtering.FunctionNot:
		if len(call.GetArgs()) != 1 {
			return nil, r.errorf(e, "NOT takes one condition")
		}
		inner, err := r.read(call.GetArgs()[0])
		return Not{inner}, err
	}
	if !isComparator(call.GetFunction()) || len(call.GetArgs()) != 2 {
		return nil, r.errorf(e, "there is no function of this name; %s", shape)
	}
	if r.tests++; r.tests > maxTests {
		return nil, r.errorf(e, "there are more than %d comparisons", maxTests)
	}
	return r.readTest(call.GetFunction(), call.GetArgs()[0], call.GetArgs()[1])
}

func (r *reader) readAll(args []*expr.Expr) ([]Expr, error) {
	var all []Expr
	for _, arg := range args {
		one, err := r.read(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func isComparator(function string) bool {
	switch function {
	case filtering.FunctionEquals, filtering.FunctionNotEquals, filtering.FunctionHas, filtering.FunctionLessThan,
		filtering.FunctionLessEquals, filtering.FunctionGreaterThan, filtering.FunctionGreaterEquals:
		return true
	}
	return false
}

// operators are those of each kind, for people and for readTest.
var operators = map[Kind][]string{
	Text:    {"=", "!="},
	Folder:  {"=", "!=", ":"},
	Set:     {":"},
	Enum:    {"=", "!="},
	EnumSet: {":"},
	Time:    {"=", "!=", "<", "<=", ">", ">="},
}

var ops = map[string]Op{"=": Equal, "!=": Equal, ":": Has, "<": Less, "<=": LessOrEqual, ">": Greater, ">=": GreaterOrEqual}

func (r *reader) readTest(operator string, left, right *expr.Expr) (Expr, error) {
	name, ok := fieldName(left)
	if !ok {
		return nil, r.errorf(left, "a field is missing here; allowed are %s", r.fields.names())
	}
	field := r.fields.find(name)
	if field == nil {
		return nil, r.errorf(left, "there is no such field; allowed are %s", r.fields.names())
	}
	allowed := operators[field.Kind]
	if !slices.Contains(allowed, operator) {
		return nil, r.errorf(left, "%s cannot be compared with %s; allowed are %s", field.Name, operator, strings.Join(allowed, " "))
	}
	test := Test{Field: field, Op: ops[operator]}
	if err := r.readValue(&test, right); err != nil {
		return nil, err
	}
	if operator == filtering.FunctionNotEquals {
		return Not{test}, nil
	}
	return test, nil
}

// fieldName is the dotted name that an expression consists of.
func fieldName(e *expr.Expr) (string, bool) {
	if ident := e.GetIdentExpr(); ident != nil {
		return ident.GetName(), true
	}
	if member := e.GetSelectExpr(); member != nil {
		parent, ok := fieldName(member.GetOperand())
		return parent + "." + member.GetField(), ok
	}
	return "", false
}

func (r *reader) readValue(test *Test, e *expr.Expr) error {
	if test.Field.Kind == Time {
		return r.readTime(test, e)
	}
	text, ok := word(e)
	isEnum := test.Field.Kind == Enum || test.Field.Kind == EnumSet
	switch {
	case !ok && isEnum:
		return r.errorf(e, "a value of %s is missing here; allowed are %s", test.Field.Name, strings.Join(test.Field.valueNames(), ", "))
	case !ok:
		return r.errorf(e, `a value of %s is missing here; put it in quotes, as in "VALUE"`, test.Field.Name)
	case text == "*" && (test.Field.Kind == Set || test.Field.Kind == EnumSet):
		test.Op = Present
	case isEnum:
		number, known := test.Field.number(text)
		if !known {
			return r.errorf(e, "%s has no such value; allowed are %s", test.Field.Name, strings.Join(test.Field.valueNames(), ", "))
		}
		test.Number = number
	default:
		test.Text = text
	}
	return nil
}

// word is a text in quotes or a single word without.
func word(e *expr.Expr) (string, bool) {
	if ident := e.GetIdentExpr(); ident != nil {
		return ident.GetName(), true
	}
	if constant, ok := e.GetConstExpr().GetConstantKind().(*expr.Constant_StringValue); ok {
		return constant.StringValue, true
	}
	return "", false
}

func (r *reader) readTime(test *Test, e *expr.Expr) error {
	if call := e.GetCallExpr(); call.GetFunction() == filtering.FunctionTimestamp && len(call.GetArgs()) == 1 {
		e = call.GetArgs()[0]
	}
	text, _ := word(e)
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return r.errorf(e, `%s is compared with a time such as "2026-01-31T08:00:00Z"`, test.Field.Name)
	}
	test.Time = t
	return nil
}
