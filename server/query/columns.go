package query

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/warehouse"
)

// helperPrefix begins the names of output columns that Sigma adds for its own
// screen, for conditional formats.
const helperPrefix = "__cond_"

// columns are an element's columns as Sigma knows them. Nil means that Sigma
// does not tell.
type columns []sigmaclient.Column

// byLabel returns the column of a label, unless several share it.
func (cs columns) byLabel(label string) (column sigmaclient.Column, ok bool) {
	for _, c := range cs {
		if c.Label != label {
			continue
		}
		if ok {
			return sigmaclient.Column{}, false
		}
		column, ok = c, true
	}
	return column, ok
}

// label returns the label of the column that a caller names by id or label.
func (cs columns) label(name string) string {
	for _, c := range cs {
		if c.ColumnID == name {
			return c.Label
		}
	}
	return name
}

// choose notes the columns that the caller names.
func (p *plan) choose(names []string) error {
	for i, name := range names {
		label := p.columns.label(name)
		if slices.Contains(p.wanted, label) {
			return errmap.InvalidField(fmt.Sprintf("columns[%d]", i), "the column is named twice")
		}
		p.wanted = append(p.wanted, label)
	}
	return nil
}

// refuseBroken refuses to read what would deliver Sigma's error messages as
// data: Sigma writes them into the SQL as string literals. Columns that the
// caller leaves out may be broken, where it is known which they are.
func (p *plan) refuseBroken() error {
	var broken []string
	unknown := false
	for _, c := range p.columns {
		if c.Type == "error" {
			broken = append(broken, c.Label)
		}
	}
	for _, literal := range p.query.BrokenLiterals() {
		switch {
		case literal.Column == "":
			unknown = true
		case !slices.Contains(broken, literal.Column):
			broken = append(broken, literal.Column)
		}
	}
	if p.wanted != nil {
		left := slices.DeleteFunc(slices.Clone(broken), func(label string) bool { return slices.Contains(p.wanted, label) })
		broken = slices.DeleteFunc(broken, func(label string) bool { return !slices.Contains(p.wanted, label) })
		if len(left) > 0 {
			p.findings.Warn(pb.FindingCode_FINDING_CODE_COLUMN_LEFT_OUT,
				"Columns whose formulas have errors in Sigma were left out: %s.", quoteAll(left))
		}
	}
	if len(broken) == 0 && !unknown {
		return nil
	}
	failure := errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, p.name.String(),
		"a formula of the element has an error, and Sigma would put its message into every row; open the workbook in Sigma and mend the formula")
	if len(broken) > 0 {
		failure.Message = fmt.Sprintf("formulas have errors, and Sigma would put its messages into every row of the columns %s; mend them in Sigma, or name the other columns in `columns`", quoteAll(broken))
		failure.Metadata = map[string]string{"columns": quoteAll(broken)}
	}
	return failure
}

// quoteAll lists labels, the first ones where they are many.
func quoteAll(labels []string) string {
	const most = 10
	var b strings.Builder
	for i, label := range labels[:min(most, len(labels))] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", label)
	}
	if len(labels) > most {
		fmt.Fprintf(&b, " and %d more", len(labels)-most)
	}
	return b.String()
}

// choice returns the positions of the columns that the caller wants of a result
// whose columns have the given names, in the caller's order: all but Sigma's
// helper columns where the caller names none. It has no side effect, since a
// warehouse may call it more than once at a time.
func (p *plan) choice(names []string) ([]int, error) {
	chosen := []int{}
	if p.wanted == nil {
		for i, name := range names {
			if !strings.HasPrefix(name, helperPrefix) {
				chosen = append(chosen, i)
			}
		}
		return chosen, nil
	}
	positions := make(map[string][]int, len(names))
	for i, name := range names {
		positions[name] = append(positions[name], i)
	}
	for i, label := range p.wanted {
		switch found := positions[label]; len(found) {
		case 0:
			return nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), "the model has no such column")
		case 1:
			chosen = append(chosen, found[0])
		default:
			return nil, columnNotFound(p.name, fmt.Sprintf("columns[%d]", i), "several columns have this label; rename one of them in Sigma")
		}
	}
	return chosen, nil
}

// choiceKey is equal for plans that choose the same columns of every result.
func (p *plan) choiceKey() string { return fmt.Sprintf("%q", p.wanted) }

// statement is a query that delivers the columns of choice. Columns that are not
// chosen fail nothing, whatever their types and values are: the select list of
// Sigma's SQL stays as it is, because it decides about the rows under `distinct`,
// `group by all`, `order by 1` and `union`.
func (p *plan) statement(sql string) warehouse.Statement {
	return warehouse.Statement{SQL: sql, Tag: queryTag(p.name), Choose: p.choice}
}

func columnNotFound(model resource.Model, field, problem string) error {
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND,
		Resource: model.String(),
		Message:  field + ": " + problem,
		Fields:   []errmap.Field{{Path: field, Problem: problem}},
	}
}
