// Package model decides what a model is: from Sigma's answers about one element to its state, its findings, its columns
// and the statement that reads it. Scans and reads both call [Assess], so that the catalog and a read agree.
//
// It uses sigmasql for the text, sigmaclient for the form of Sigma's answers, and errmap for reasons. It makes no calls, and
// must not import a warehouse, the store, or the packages that serve RPCs.
package model

import (
	"errors"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// Element is what Sigma answered about one element. Answers may be missing: only the query is essential.
type Element struct {
	// Name is the model's resource name.
	Name string
	// IsListed is set where Sigma lists the element as a table or a chart, so that a missing query is not explained by
	// the kind of element.
	IsListed bool
	// Query is the answer to the question for the element's SQL, unless QueryErr is set.
	Query    sigmaclient.Query
	QueryErr error
	// AskTime is when Sigma was asked for the query. Zero leaves the moment out of findings, as in a scan, whose
	// findings stay equal as long as the element does.
	AskTime time.Time
	// Columns are the element's columns.
	Columns Columns
	// CustomSQL are the definitions of the custom SQL in the document. CustomSQLErr is set where Sigma refused to list
	// them.
	CustomSQL    []string
	CustomSQLErr error
	// BuiltOnSQL are those of CustomSQL that the element builds on, or nil where the lineage does not show which.
	BuiltOnSQL []string
	// UpstreamFormulas are the formulas of the columns of what the element is made of, such as a data model, as far as Sigma
	// lists them. UpstreamErr is set where Sigma refused to list some.
	UpstreamFormulas []string
	UpstreamErr      error
	// Controls are the names of the controls of the document, and of the data models that the element builds on.
	Controls []string
	// WriteBackSchemas are the schemas in which Sigma keeps tables of its own, such as input tables and materializations:
	// the parts of each name, database and schema.
	WriteBackSchemas [][]string
	// Role is the warehouse role of Sigma's own connection.
	Role SigmaRole
}

// SigmaRole is the role with which Sigma queries the warehouse. The zero value is an unknown role.
type SigmaRole struct {
	Name string
	// PerViewer is why the role is another one for each viewer: "oauth", "user_attribute" or "role_switching". Empty where
	// all viewers have the same.
	PerViewer string
}

// Options say how a model is to be read.
type Options struct {
	Dialect     sigmasql.Dialect
	LimitPolicy sigmasql.LimitPolicy
	// TimeZone is the account time zone of the organization, or nil where it is not set.
	TimeZone *time.Location
	// AllowTimeZoneMismatch turns a contradiction to TimeZone into a warning.
	AllowTimeZoneMismatch bool
	// VersionTag is the tag whose version is read, or empty.
	VersionTag string
	// Namespace is the database and the schema that the connection sets for names without them. Parts may be empty.
	Namespace [2]string
	// Session is the warehouse session in which the model is read, or nil where it is not known, as in a scan.
	Session *Session
}

// Session is what a warehouse session decides about the rows and values of a query.
type Session struct {
	Role           string
	SecondaryRoles string    // as the warehouse shows them, such as ALL or NONE; empty where it has none
	Namespace      [2]string // database and schema in use
	// Parameters are the session parameters that can decide about rows or values, by name, such as WEEK_START.
	Parameters map[string]Parameter
}

// Parameter is the value of a session parameter.
type Parameter struct {
	Value string
	// Level is where the value is set: "ACCOUNT", "USER", "SESSION", or empty for the warehouse's default.
	Level string
}

// Model is an element that has been assessed. It is not safe for concurrent use, except for
// [Model.Helpers]: reading it adds findings.
type Model struct {
	Name    string
	State   pb.ModelState
	Columns Columns
	// Query is the element's SQL taken apart, or nil where the element has none that can be read.
	Query *sigmasql.Query
	// Findings are what a user should know about the model, however it is read.
	Findings Findings

	problem  *errmap.Error // why there is no Query
	formulas formulas
	broken   broken

	fullRead      []*errmap.Error // why it must not be read in full
	ownerEvidence []string        // of rules of row-level security
	unstable      []string
	materialized  [][]string
}

// Assess decides about an element. It never fails: an element that cannot be read is a model with a problem.
func Assess(e Element, o Options) *Model {
	m := &Model{Name: e.Name, Columns: e.Columns}
	if m.State, m.problem = stateOf(e); m.problem != nil {
		return m
	}
	query, err := sigmasql.Prepare(e.Query.SQL, sigmasql.Options{
		Dialect: o.Dialect, LimitPolicy: o.LimitPolicy, CustomSQL: e.CustomSQL, CustomSQLUnknown: e.CustomSQLErr != nil,
	})
	if err != nil {
		m.State, m.problem = pb.ModelState_MODEL_STATE_BROKEN, unsupported(e.Name, err)
		return m
	}
	m.Query = query
	m.Findings.addText(e, query, o)
	m.Findings.addMissing(e)
	m.formulas = newFormulas(e.Columns)
	constants := judgeConstants(query, e.Columns, m.formulas)
	m.broken = constants.broken
	m.Findings.addConstants(constants.unexplained)
	m.addRows(e, o)
	return m
}

// Problem returns why the model as a whole cannot be read, or nil.
func (m *Model) Problem() error {
	if m.problem != nil {
		return m.problem
	}
	return m.refusal(nil)
}

// DependsOnCustomSQL reports whether the definitions of custom SQL decide how the model is read: the text has inner limits
// that count as Sigma's, or constants that count as messages.
func (m *Model) DependsOnCustomSQL() bool {
	if m.Query == nil {
		return false
	}
	for _, limit := range m.Query.Limits() {
		if limit.Preview && limit.Depth > 0 {
			return true
		}
	}
	return len(m.Query.BrokenLiterals()) > 0
}

// CatalogState returns the state and the findings under which the catalog keeps the model, and the problem as an error where
// the model as a whole cannot be read.
func (m *Model) CatalogState() (pb.ModelState, []*pb.Finding, error) {
	if m.problem != nil {
		return m.State, m.Findings.All(), m.problem
	}
	if labels, complete := m.outputLabels(); complete {
		m.CompareOutputs(labels)
	}
	if !m.broken.any() {
		return m.State, m.Findings.All(), nil
	}
	m.Findings.addBroken(m.broken)
	return pb.ModelState_MODEL_STATE_BROKEN, m.Findings.All(), m.refusal(nil)
}

// outputLabels returns the labels of the text's outermost columns, and whether they are all of them.
func (m *Model) outputLabels() (labels []string, complete bool) {
	outputs, complete := m.Query.Outputs()
	for _, o := range outputs {
		labels = append(labels, o.Label)
		complete = complete && o.Label != ""
	}
	return labels, complete
}

func unsupported(name string, err error) *errmap.Error {
	failure := errmap.New(pb.ErrorReason_ERROR_REASON_MODEL_SQL_UNSUPPORTED, name, "Sigma's text for this element is not one query that can be read safely")
	failure.Err = err
	var refused *sigmasql.Error
	if errors.As(err, &refused) {
		failure.Message += ": " + refused.Reason.String()
		failure.Metadata = map[string]string{"problem": refused.Reason.String()}
	}
	return failure
}
