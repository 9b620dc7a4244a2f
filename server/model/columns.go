package model

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// Columns are an element's columns as Sigma lists them, or as they are known otherwise.
type Columns struct {
	List []sigmaclient.Column
	// Origin says where the list comes from, and so how far it can be trusted.
	Origin Origin
	// IsPartial is set where Sigma declared more columns than it listed.
	IsPartial bool
	// Err is why the list is not Sigma's present one, where Sigma refused it.
	Err error
}

// Origin is where a list of columns comes from.
type Origin uint8

// The origins.
const (
	Unlisted     Origin = iota // there is no list
	Current                    // Sigma's answer of this moment about this version
	OtherVersion               // Sigma's answer about another version or state than the one that is read
	LastScan                   // what an earlier scan stored
	ElementList                // display names alone, from the list of elements
)

// StoredColumns returns columns as a scan stored them.
func StoredColumns(stored []*pb.Column) []sigmaclient.Column {
	list := make([]sigmaclient.Column, len(stored))
	for i, c := range stored {
		list[i] = sigmaclient.Column{ColumnID: c.GetColumnId(), Label: c.GetLabel(), Formula: c.GetFormula(), Type: c.GetSigmaType()}
	}
	return list
}

// Complete adds the stored columns that a list lacks, where Sigma declared more columns than it listed. Columns are equal if
// their ids are.
func (c Columns) Complete(stored []*pb.Column) Columns {
	if !c.IsPartial {
		return c
	}
	isListed := make(map[string]bool, len(c.List))
	for _, column := range c.List {
		isListed[column.ColumnID] = true
	}
	missing := slices.DeleteFunc(StoredColumns(stored), func(column sigmaclient.Column) bool { return column.ColumnID == "" || isListed[column.ColumnID] })
	c.List = slices.Concat(c.List, missing)
	return c
}

// isCurrent reports whether formulas and types in the list are those of the text that is read.
func (c Columns) isCurrent() bool { return c.Origin == Current }

// areAll reports whether the list has every column of the element, so that what it lacks is no column.
func (c Columns) areAll() bool { return c.Origin == Current && len(c.List) > 0 && !c.IsPartial }

// Key is equal for lists that tell columns from helpers alike.
func (c Columns) Key() string {
	digest := sha256.New()
	for _, column := range c.List {
		fmt.Fprintf(digest, "%q %q\n", column.ColumnID, column.Label)
	}
	return fmt.Sprintf("%t %x", c.areAll(), digest.Sum(nil))
}

// ByLabel returns the columns by label, without the labels that several columns share.
func (c Columns) ByLabel() map[string]sigmaclient.Column {
	byLabel := make(map[string]sigmaclient.Column, len(c.List))
	isShared := map[string]bool{}
	for _, column := range c.List {
		if _, isTaken := byLabel[column.Label]; isTaken {
			isShared[column.Label] = true
		}
		byLabel[column.Label] = column
	}
	maps.DeleteFunc(byLabel, func(label string, _ sigmaclient.Column) bool { return isShared[label] })
	return byLabel
}

// labels resolves the names by which callers choose columns.
type labels struct {
	byID     map[string]string
	isShared map[string]bool // labels that several columns have
}

func (c Columns) labels() labels {
	l := labels{byID: make(map[string]string, len(c.List)), isShared: map[string]bool{}}
	seen := make(map[string]bool, len(c.List))
	for _, column := range c.List {
		l.isShared[column.Label] = seen[column.Label]
		seen[column.Label] = true
		if _, isTaken := l.byID[column.ColumnID]; !isTaken && column.ColumnID != "" {
			l.byID[column.ColumnID] = column.Label
		}
	}
	return l
}

// Choose returns the labels of the columns that a caller names by id or label, in the caller's order, or nil for all. It
// fails on a column that is named twice, and on an id whose label other columns have as well: Sigma's SQL has no ids, so
// that the column cannot be told from the others. The field is the one that errors name.
func (c Columns) Choose(field string, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	known := c.labels()
	chosen := make([]string, 0, len(names))
	seen := make(map[string]bool, len(names))
	for i, name := range names {
		path := fmt.Sprintf("%s[%d]", field, i)
		label, isID := known.byID[name]
		switch {
		case !isID:
			label = name
		case known.isShared[label]:
			return nil, ColumnNotFound(path, "other columns have the label of this one; rename one of them in Sigma")
		}
		if seen[label] {
			return nil, errmap.InvalidField(path, "the column is named twice")
		}
		seen[label] = true
		chosen = append(chosen, label)
	}
	return chosen, nil
}

// ColumnNotFound returns the error about a column that a caller names in a field, and that is not one of the model's.
func ColumnNotFound(field, problem string) *errmap.Error {
	return &errmap.Error{
		Reason:  pb.ErrorReason_ERROR_REASON_COLUMN_NOT_FOUND,
		Message: field + ": " + problem,
		Fields:  []errmap.Field{{Path: field, Problem: problem}},
	}
}

// RequireUnbroken refuses to read columns that hold Sigma's messages in the place of values. The wanted labels are those
// of [Columns.Choose]; nil means all. Broken columns that the caller leaves out become a finding.
func (m *Model) RequireUnbroken(wanted []string) error {
	if wanted != nil {
		left := slices.DeleteFunc(m.broken.unreadable(), func(label string) bool { return slices.Contains(wanted, label) })
		if len(left) > 0 {
			m.Findings.Warn(pb.FindingCode_FINDING_CODE_COLUMN_LEFT_OUT,
				"Columns whose formulas have errors in Sigma, or that it hides from the owner of the credential, were left out: %s. To read them, correct the formulas in Sigma, or give the owner access.", QuoteAll(left))
		}
	}
	refusal := m.refusal(wanted)
	if refusal == nil {
		return nil
	}
	if labels, complete := m.outputLabels(); complete {
		m.CompareOutputs(labels)
	}
	m.Findings.addBroken(m.broken)
	return refusal
}

// refusal returns the error about broken columns among those wanted, or nil.
func (m *Model) refusal(wanted []string) error {
	chosen := func(labels []string) []string {
		if wanted == nil {
			return labels
		}
		return slices.DeleteFunc(slices.Clone(labels), func(label string) bool { return !slices.Contains(wanted, label) })
	}
	labels, restricted := chosen(m.broken.labels), chosen(m.broken.restricted)
	switch {
	case len(labels) > 0:
		return &errmap.Error{
			Reason: pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, Resource: m.Name,
			Message:  fmt.Sprintf("formulas have errors, and Sigma would put its messages into every row of the columns %s; correct them in Sigma, or name the other columns in `columns`", QuoteAll(labels)),
			Metadata: map[string]string{"columns": QuoteAll(labels)},
		}
	case len(restricted) > 0:
		return &errmap.Error{
			Reason: pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, Resource: m.Name,
			Message:  fmt.Sprintf("column-level security hides the columns %s from the owner of the Sigma credential; give this member access in Sigma, or name the other columns in `columns`", QuoteAll(restricted)),
			Metadata: map[string]string{"columns": QuoteAll(restricted)},
		}
	case m.broken.rows:
		return errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_BROKEN, m.Name,
			"a formula of the element has an error, and Sigma's message stands in a column that cannot be told, or decides about the rows; open the workbook in Sigma and correct the formula")
	}
	return nil
}

// Helpers reports for each label of a result's columns whether the column is a helper of Sigma's own screen, which no caller
// wants. It may be called concurrently.
func (m *Model) Helpers(labels []string) []bool {
	outputs := m.matchOutputs(labels)
	helpers := make([]bool, len(labels))
	for _, i := range outputs.helpers {
		helpers[i] = true
	}
	return helpers
}

// CompareOutputs compares the labels of a result's columns with Sigma's list, and adds the findings about the differences.
func (m *Model) CompareOutputs(labels []string) {
	outputs := m.matchOutputs(labels)
	at := func(positions []int) (list []string) {
		for _, i := range positions {
			list = append(list, labels[i])
		}
		return list
	}
	if m.Columns.areAll() {
		hidden, unlisted := m.formulas.splitNamed(at(outputs.unlisted))
		m.Findings.addHidden(hidden)
		m.Findings.addUnlisted(unlisted)
		m.Findings.addNotInSQL(m.absent(outputs.isNamed))
	}
	m.Findings.addHelpers(at(outputs.helpers))
}

// matchedOutputs are the columns of a result that are not in Sigma's list, by their positions, and the labels in the list
// that the result has.
type matchedOutputs struct {
	helpers, unlisted []int
	isNamed           map[string]bool
}

func (m *Model) matchOutputs(labels []string) matchedOutputs {
	listed := make(map[string]bool, len(m.Columns.List))
	ids := make(map[string]bool, len(m.Columns.List))
	for _, c := range m.Columns.List {
		listed[c.Label] = true
		ids[c.ColumnID] = c.ColumnID != ""
	}
	found := matchedOutputs{isNamed: make(map[string]bool, len(labels))}
	for i, label := range labels {
		base, ok := listedLabel(label, listed)
		switch {
		case ok:
			found.isNamed[base] = true
		case isHelper(label, ids, m.Columns.areAll()):
			found.helpers = append(found.helpers, i)
		default:
			found.unlisted = append(found.unlisted, i)
		}
	}
	return found
}

// absent returns the labels in Sigma's list that a result does not have.
func (m *Model) absent(isNamed map[string]bool) []string {
	var absent []string
	for _, c := range m.Columns.List {
		if c.Label != "" && !isNamed[c.Label] {
			isNamed[c.Label] = true // once
			absent = append(absent, c.Label)
		}
	}
	return absent
}

// listedLabel returns the label in Sigma's list that a result's column has, allowing for the suffix in brackets by which
// Sigma tells columns of one name apart: "Name (1)", "Name (ORDERS)", "Amount (Grand Total)".
func listedLabel(label string, listed map[string]bool) (string, bool) {
	if listed[label] {
		return label, true
	}
	for range maxSuffixes {
		open := strings.LastIndex(label, " (")
		if open <= 0 || !strings.HasSuffix(label, ")") {
			return "", false
		}
		label = label[:open]
		if listed[label] {
			return label, true
		}
	}
	return "", false
}

// maxSuffixes bounds how many suffixes of one label are taken away.
const maxSuffixes = 3

// Sigma adds columns to its SQL for its own screen: conditional formats, the order of a grouping by a column that is not
// shown, and the ends of a colour scale. Public SQL texts and query logs show these forms. Each names a column by Sigma's
// id, but that of a sort need not be among the element's own.
const (
	conditionHelper = "__cond_"
	sortHelper      = "sort-"
)

var (
	sortNumber  = regexp.MustCompile(`-\d+$`)
	scaleHelper = regexp.MustCompile(`^(.+)-(?:min|max)$`)
	// inodeID is the id of a column of a source, such as inode-2Xq…/ORDER_ID.
	inodeID = regexp.MustCompile(`^inode-[0-9A-Za-z]{16,}/.+$`)
	// shortID is the id of a column that is made in Sigma: ten characters of base 64 for URLs.
	shortID     = regexp.MustCompile(`^[0-9A-Za-z_-]{10}$`)
	mixedCase   = regexp.MustCompile(`[a-z].*[A-Z]`)
	digitInside = regexp.MustCompile(`[0-9][A-Za-z]`)
)

// isHelper reports whether the label of a column that Sigma does not list has a helper's form. The ids are those of the
// element's columns, isComplete whether they are all.
func isHelper(label string, ids map[string]bool, isComplete bool) bool {
	if strings.HasPrefix(label, conditionHelper) {
		return true
	}
	if id, ok := strings.CutPrefix(label, sortHelper); ok {
		numbered := sortNumber.ReplaceAllString(id, "")
		return ids[id] || ids[numbered] || looksLikeID(id) || looksLikeID(numbered)
	}
	if parts := scaleHelper.FindStringSubmatch(label); parts != nil {
		return ids[parts[1]] || !isComplete && looksLikeID(parts[1]) && hasDigit(parts[1])
	}
	return false
}

// looksLikeID reports whether a text has the form of a column's id and cannot be a word, so that an author's
// "sort-descending" stays.
func looksLikeID(id string) bool {
	if inodeID.MatchString(id) {
		return true
	}
	return shortID.MatchString(id) && (mixedCase.MatchString(id) || digitInside.MatchString(id))
}

func hasDigit(id string) bool { return strings.ContainsAny(id, "0123456789") }

// QuoteAll writes labels for people, the first ones where there are many.
func QuoteAll(labels []string) string {
	const limit = 10
	var b strings.Builder
	for i, label := range labels[:min(limit, len(labels))] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", label)
	}
	if len(labels) > limit {
		fmt.Fprintf(&b, " and %d more", len(labels)-limit)
	}
	return b.String()
}
