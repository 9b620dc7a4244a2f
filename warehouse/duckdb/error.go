package duckdb

import (
	"errors"
	"regexp"
	"strings"

	"github.com/sigmasource/sigmasource/warehouse"
)

// driverError is DuckDB's own text. It may quote the statement and its values,
// and is therefore kept as a cause only.
type driverError string

func (e driverError) Error() string { return string(e) }

// classes holds DuckDB's kinds of exception, by the prefix of their texts. A
// class without a message shows the first line of DuckDB's text, which in that
// class holds names only.
var classes = map[string]struct {
	kind    warehouse.Kind
	message string
}{
	"Parser Error":                 {warehouse.KindInvalidSQL, "the statement cannot be parsed"},
	"Syntax Error":                 {warehouse.KindInvalidSQL, "the statement cannot be parsed"},
	"Binder Error":                 {warehouse.KindInvalidSQL, ""},
	"Catalog Error":                {warehouse.KindInvalidSQL, ""},
	"Not implemented Error":        {warehouse.KindInvalidSQL, "the statement uses what DuckDB does not implement"},
	"Parameter Not Resolved Error": {warehouse.KindInvalidSQL, "the statement has parameters"},
	"Parameter Not Allowed Error":  {warehouse.KindInvalidSQL, "the statement has parameters"},
	"Missing Extension Error":      {warehouse.KindInvalidSQL, "the statement needs an extension that is not built in"},
	"Extension Autoloading Error":  {warehouse.KindInvalidSQL, "the statement needs an extension that is not built in"},
	"Permission Error":             {warehouse.KindPermission, "a statement may read the database only"},
	"Conversion Error":             {warehouse.KindData, "a value cannot be converted to the wanted type"},
	"Mismatch Type Error":          {warehouse.KindData, "a value has not the wanted type"},
	"Invalid type Error":           {warehouse.KindData, "a value has not the wanted type"},
	"Out of Range Error":           {warehouse.KindData, "a value is out of range"},
	"Decimal Error":                {warehouse.KindData, "a decimal is out of range"},
	"Divide by Zero Error":         {warehouse.KindData, "a division by zero"},
	"Invalid Input Error":          {warehouse.KindData, "a function refuses its input"},
	"Object Size Error":            {warehouse.KindData, "a value is too large"},
	"INTERRUPT Error":              {warehouse.KindCancelled, "the query was interrupted"},
	"Out of Memory Error":          {warehouse.KindUnavailable, "the query needs more memory than it may use"},
	"IO Error":                     {warehouse.KindUnavailable, "the database file cannot be read"},
}

var (
	missingRelation = regexp.MustCompile(`^(?:Table|View|Schema) with name "?(.+?)"? does not exist`)
	missingCatalog  = regexp.MustCompile(`^Catalog "(.+?)" does not exist`)
	literal         = regexp.MustCompile(`'[^']*'?`)
)

// translate makes a warehouse error of DuckDB's text, such as
// "Catalog Error: Table with name x does not exist!\n…\nLINE 1: select …".
func translate(text string) *warehouse.Error {
	prefix, rest, _ := strings.Cut(text, ": ")
	first, _, _ := strings.Cut(rest, "\n")

	e := &warehouse.Error{Code: prefix, Err: driverError(text)}
	class, known := classes[prefix]
	if !known {
		e.Kind, e.Code, e.Message = warehouse.KindUnknown, "", "DuckDB failed"
		return e
	}
	e.Kind, e.Message = class.kind, class.message
	if e.Message == "" {
		e.Message = strings.TrimRight(literal.ReplaceAllString(first, "'…'"), "!.")
	}
	for _, missing := range []*regexp.Regexp{missingRelation, missingCatalog} {
		if m := missing.FindStringSubmatch(first); m != nil {
			// DuckDB knows no grants: what cannot be seen does not exist.
			e.Kind, e.Object = warehouse.KindPermission, m[1]
		}
	}
	return e
}

// isInterrupt reports whether DuckDB gave up because it was told to.
func isInterrupt(err error) bool {
	var e *warehouse.Error
	return errors.As(err, &e) && e.Kind == warehouse.KindCancelled
}
