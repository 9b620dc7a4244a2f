package store

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/filter"
)

var ofWorkbook = filter.Field{Name: "workbook", Kind: filter.Text}

// ModelFields are what filters of models may speak of.
var ModelFields = filter.Fields{
	ofWorkbook,
	{Name: "path", Kind: filter.Folder},
	{Name: "tags", Kind: filter.Set},
	{Name: "owner_id", Kind: filter.Text},
	{Name: "state", Kind: filter.Enum, Enum: pb.ModelState(0).Descriptor()},
	{Name: "element_type", Kind: filter.Text},
	{Name: "visualization_type", Kind: filter.Text},
	{Name: "document_kind", Kind: filter.Enum, Enum: pb.DocumentKind(0).Descriptor()},
	{Name: "columns.label", Kind: filter.Set},
	{Name: "findings.code", Kind: filter.EnumSet, Enum: pb.FindingCode(0).Descriptor()},
	{Name: "update_time", Kind: filter.Time},
}

// WorkbookFields are what filters of workbooks may speak of.
var WorkbookFields = filter.Fields{
	{Name: "name", Kind: filter.Text},
	{Name: "path", Kind: filter.Folder},
	{Name: "tags", Kind: filter.Set},
	{Name: "owner_id", Kind: filter.Text},
	{Name: "document_kind", Kind: filter.Enum, Enum: pb.DocumentKind(0).Descriptor()},
	{Name: "update_time", Kind: filter.Time},
}

// stored tells where the index has a field: in which column, and by which kind of
// term, if any.
var stored = map[string]struct{ column, kind string }{
	"name":               {"workbook", termBook},
	"workbook":           {"workbook", termBook},
	"path":               {"folder", termFolder},
	"tags":               {"tags", termTag},
	"owner_id":           {"owner", termOwner},
	"state":              {"state", termState},
	"element_type":       {"element_type", termElement},
	"visualization_type": {"visualization_type", termChart},
	"document_kind":      {"document_kind", termKind},
	"columns.label":      {"labels", termLabel},
	"findings.code":      {"findings", termFinding},
	"update_time":        {"update_time", ""},
}

var comparisons = map[filter.Op]string{
	filter.Equal: "=", filter.Less: "<", filter.LessOrEqual: "<=", filter.Greater: ">", filter.GreaterOrEqual: ">=",
}

// condition turns a filter into SQL about a row of entries. Whatever a caller wrote
// is a parameter; the SQL consists of our own texts alone.
func (d dialect) condition(args *arguments, e filter.Expr) string {
	switch e := e.(type) {
	case filter.And:
		return d.conditions(args, e, " AND ")
	case filter.Or:
		return d.conditions(args, e, " OR ")
	case filter.Not:
		return "NOT " + d.condition(args, e.Expr)
	case filter.Test:
		return "(" + d.test(args, e) + ")"
	}
	return "(1 = 1)" // no filter
}

func (d dialect) conditions(args *arguments, all []filter.Expr, operator string) string {
	var parts []string
	for _, e := range all {
		parts = append(parts, d.condition(args, e))
	}
	return "(" + strings.Join(parts, operator) + ")"
}

func (d dialect) test(args *arguments, t filter.Test) string {
	column := stored[t.Field.Name].column
	switch {
	case t.Op == filter.Present:
		return column + " <> ''"
	case t.Field.Kind == filter.Folder && t.Op == filter.Has && t.Text == "":
		return "1 = 1" // all folders lie below the topmost
	case t.Field.Kind == filter.Folder && t.Op == filter.Has:
		return d.find(column+" || '/'", args.add(plain(t.Text)+"/")) + " = 1"
	case t.Field.Kind == filter.EnumSet:
		return d.find(column, args.add(member(strconv.Itoa(int(t.Number))))) + " > 0"
	case t.Op == filter.Has:
		return d.find(column, args.add(member(t.Text))) + " > 0"
	case t.Field.Kind == filter.Enum:
		return column + " = " + args.add(t.Number)
	case t.Field.Kind == filter.Time:
		return column + " " + comparisons[t.Op] + " " + args.add([]byte(timeKey(timestamppb.New(t.Time))))
	}
	return column + " = " + args.add(plain(t.Text))
}

// find is where a text begins in a column, counted from 1; 0 if it does not.
func (d dialect) find(column, text string) string {
	return fmt.Sprintf("%s(%s, %s)", d.position, column, text)
}

// conjuncts are the parts of a filter that must all hold.
func conjuncts(e filter.Expr) []filter.Expr {
	all, ok := e.(filter.And)
	if !ok {
		return []filter.Expr{e}
	}
	var parts []filter.Expr
	for _, e := range all {
		parts = append(parts, conjuncts(e)...)
	}
	return parts
}
