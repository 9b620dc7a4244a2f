package model

import (
	"slices"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// broken are the columns that hold Sigma's messages in the place of values.
type broken struct {
	labels []string
	// rows is set where a message decides about the rows, or reaches a column that cannot be told, so that no choice of
	// columns avoids it.
	rows bool
	// restricted are columns that column-level security hides. None of them is among labels.
	restricted []string
}

func (b broken) any() bool { return len(b.labels) > 0 || b.rows || len(b.restricted) > 0 }

// unreadable returns the labels of the columns that cannot be read.
func (b broken) unreadable() []string { return slices.Concat(b.labels, b.restricted) }

// constants are the string constants of a query that the formulas of their columns do not explain.
type constants struct {
	broken      broken
	unexplained []string // labels of columns that hold one constant, which is no known message
}

// judgeConstants compares the constants in a query with the formulas of their columns. Sigma's messages have known forms,
// but an author can write the same text, and Sigma can write messages that are not known. So a formula decides where there
// is one: what it says itself is the author's. Without a formula the form decides alone.
func judgeConstants(query *sigmasql.Query, columns Columns, formulas formulas) constants {
	var found constants
	isBroken := map[string]bool{}
	add := func(label string) {
		if !isBroken[label] {
			isBroken[label] = true
			found.broken.labels = append(found.broken.labels, label)
		}
	}
	listed := make(map[string]bool, len(columns.List))
	for _, c := range columns.List {
		listed[c.Label] = true
		if columns.isCurrent() && c.Type == "error" {
			add(c.Label)
		}
	}
	for _, message := range query.BrokenLiterals() {
		switch {
		case message.Column == "":
			found.broken.rows = found.broken.rows || !formulas.anySays(message.Value)
		case !formulas.of(message.Column).explains(message.Value):
			add(message.Column)
		}
	}
	isRestricted := map[string]bool{}
	for _, label := range restricted(query, listed, formulas) {
		if !isBroken[label] && !isRestricted[label] {
			isRestricted[label] = true
			found.broken.restricted = append(found.broken.restricted, label)
		}
	}
	outputs, _ := query.Outputs()
	for _, o := range outputs {
		label, isListed := listedLabel(o.Label, listed)
		if isListed && isBroken[label] && !isRestricted[o.Label] {
			add(o.Label) // "Name (1)" where a column "Name" is broken
		}
		if !o.IsConstant || o.Label == "" || isBroken[o.Label] || isRestricted[o.Label] {
			continue
		}
		f := formulas.own(label)
		if f.isKnown && !f.isLiteral() && !f.isContext() && !f.isReference() {
			found.unexplained = append(found.unexplained, o.Label)
		}
	}
	return found
}

// explains reports whether a constant in the place of the formula is the author's own, or the value of a context function.
func (f formula) explains(constant string) bool {
	return f.isLiteral() || f.isContext() || slices.Contains(f.texts, constant)
}

// formulas are the formulas of an element's columns.
type formulas struct {
	byLabel map[string]formula // without labels that several columns have
}

func newFormulas(columns Columns) formulas {
	f := formulas{byLabel: make(map[string]formula, len(columns.List))}
	if !columns.isCurrent() {
		return f
	}
	for label, c := range columns.ByLabel() {
		f.byLabel[label] = parseFormula(c.Formula)
	}
	return f
}

// own returns a column's formula.
func (f formulas) own(label string) formula { return f.byLabel[label] }

// maxReferences bounds how many references within an element are followed.
const maxReferences = 16

// of returns the formula that gives a column its values: its own, or that of the column of the same element which it is
// another name for.
func (f formulas) of(label string) formula {
	for range maxReferences {
		own := f.byLabel[label]
		if !own.isReference() {
			return own
		}
		if _, ok := f.byLabel[own.references[0]]; !ok || own.references[0] == label {
			return own
		}
		label = own.references[0]
	}
	return formula{}
}

// splitNamed splits the labels of columns that Sigma does not list into those that a formula of the element names, and all
// others. A column with such a name is one of the element, and hidden.
func (f formulas) splitNamed(labels []string) (named, others []string) {
	if len(labels) == 0 {
		return nil, nil
	}
	isNamed := map[string]bool{}
	for _, formula := range f.byLabel {
		for _, name := range formula.references {
			isNamed[name] = true
		}
	}
	for _, label := range labels {
		if isNamed[label] {
			named = append(named, label)
		} else {
			others = append(others, label)
		}
	}
	return named, others
}

// anySays reports whether a text is a literal in any formula of the element.
func (f formulas) anySays(text string) bool {
	for _, formula := range f.byLabel {
		if slices.Contains(formula.texts, text) {
			return true
		}
	}
	return false
}
