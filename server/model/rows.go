package model

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
)

// addRows adds why rows, values or columns can be others than in Sigma, as far as the text, the formulas and the session show.
func (m *Model) addRows(e Element, o Options) {
	traits := m.Query.Traits()
	m.addZone(traits, o)
	m.addOwner(e, traits)
	m.addRole(e.Role, o.Session)
	m.addSigmasTables(e, o)
	m.addGrain()
	if len(e.Controls) > 0 {
		m.Findings.add(pb.FindingCode_FINDING_CODE_CONTROLS_PRESENT, pb.FindingSeverity_FINDING_SEVERITY_INFO, map[string]string{"controls": QuoteAll(e.Controls)},
			"The document has controls, and their saved values decide about the rows: %s. To read with other values, set bookmark_id to a saved view (command line: --bookmark), or publish other values in Sigma.", QuoteAll(e.Controls))
	}
	m.addNames(traits.Unqualified, o)
	if len(traits.ContextFunctions) > 0 {
		functions := strings.ToUpper(strings.Join(traits.ContextFunctions, ", "))
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_CONTEXT_FUNCTION, map[string]string{"functions": functions},
			"The SQL calls functions whose values depend on the session, so that Sigma has other ones: %s. Replace them in the custom SQL or in the formula by constants or columns.", functions)
	}
	m.addSession(traits, o)
	m.addUnstable(traits)
	m.addLookups()
}

// RequireFull returns why a model that can be previewed must not be read in full, or nil: the connection's time zone contradicts
// the text, or names would be resolved by a default of the warehouse's account.
func (m *Model) RequireFull() error {
	if len(m.fullRead) > 0 {
		return m.fullRead[0]
	}
	return nil
}

// OwnerRulesApply reports whether rules of row-level security apply, with the owner of the Sigma credential as the user.
func (m *Model) OwnerRulesApply() bool { return len(m.ownerEvidence) > 0 }

// UnstableLabels returns the labels of the columns whose values can change from read to read, so that they are no keys.
func (m *Model) UnstableLabels() []string { return slices.Clone(m.unstable) }

// Grain holds the columns that repeat a value in all base rows of a group.
type Grain struct {
	// Repeated are the labels of the repeated columns, and Keys those of the columns by which the groups are joined.
	Repeated, Keys []string
	// Group are the labels whose distinct rows are the groups, in the order of the result. It is empty where the text does not
	// show a key of each group.
	Group []string
}

// IsRepeated reports whether the model has the finding GRAIN_REPEATED.
func (g Grain) IsRepeated() bool { return len(g.Repeated) > 0 }

// Grain returns which columns repeat a value in all base rows of a group.
func (m *Model) Grain() Grain {
	if m.Query == nil {
		return Grain{}
	}
	found := m.Query.Grain()
	g := Grain{Repeated: found.Repeated, Keys: found.Keys, Group: m.Query.GroupColumns()}
	listed := make(map[string]bool, len(m.Columns.List))
	for _, c := range m.Columns.List {
		listed[c.Label] = true
	}
	outputs, _ := m.Query.Outputs()
	for _, o := range outputs {
		if isTotal(o.Label, listed) && !slices.Contains(g.Repeated, o.Label) {
			g.Repeated = append(g.Repeated, o.Label)
		}
	}
	return g
}

// isTotal reports whether Sigma made the label, of a total of a column that it lists.
func isTotal(label string, listed map[string]bool) bool {
	for _, suffix := range [...]string{" (Grand Total)", " (Row Total)", " (Parent Row Total)"} {
		if base, ok := strings.CutSuffix(label, suffix); ok {
			return listed[base] && !listed[label]
		}
	}
	return false
}

func (m *Model) addGrain() {
	g := m.Grain()
	if !g.IsRepeated() {
		return
	}
	facts := map[string]string{"columns": QuoteAll(g.Repeated)}
	by := ""
	if len(g.Keys) > 0 {
		facts["keys"] = QuoteAll(g.Keys)
		by = " by " + facts["keys"]
	}
	m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_GRAIN_REPEATED, facts,
		"The query has base rows, and the values of a group or a total repeat in each of them: %s%s. To read one row for each group, set distinct_group (command line: --distinct-group). Before a sync relies on a key, count it with key_columns (--key).", facts["columns"], by)
}

// ReadGroups removes the finding GRAIN_REPEATED for a read of the distinct rows of the groups, unless totals repeat as well.
func (m *Model) ReadGroups() {
	g := m.Grain()
	if len(g.Group) > 0 && len(g.Repeated) == len(m.Query.Grain().Repeated) {
		m.Findings.list = slices.DeleteFunc(m.Findings.list, func(f *pb.Finding) bool {
			return f.GetCode() == pb.FindingCode_FINDING_CODE_GRAIN_REPEATED
		})
	}
}

// addOwner adds whether rules of row-level security apply to the owner of the credential.
func (m *Model) addOwner(e Element, traits sigmasql.Traits) {
	if traits.NamesOwner {
		m.ownerEvidence = append(m.ownerEvidence, "email")
	}
	formulas := slices.Clone(e.UpstreamFormulas)
	if e.Columns.Origin == Current || e.Columns.Origin == LastScan {
		for _, c := range e.Columns.List {
			formulas = append(formulas, c.Formula)
		}
	}
	if slices.ContainsFunc(formulas, isAboutUser) {
		m.ownerEvidence = append(m.ownerEvidence, "formula")
	}
	definitions := e.BuiltOnSQL
	if definitions == nil {
		definitions = e.CustomSQL
	}
	if slices.ContainsFunc(definitions, systemParameter.MatchString) {
		m.ownerEvidence = append(m.ownerEvidence, "custom_sql")
	}
	noRows := ""
	if traits.KeepsNoRows {
		noRows = " A filter of the query lets no row pass."
	}
	switch {
	case len(m.ownerEvidence) > 0:
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER, map[string]string{"evidence": strings.Join(m.ownerEvidence, ",")},
			"The query depends on the user, and the user is the owner of the Sigma credential: rows and values are those that this member sees.%s Give the member the teams and attributes that see all rows, or use the credential of another member.", noRows)
	case e.UpstreamErr != nil:
		m.Findings.add(pb.FindingCode_FINDING_CODE_ROWS_OF_OWNER, pb.FindingSeverity_FINDING_SEVERITY_INFO, sigmaFacts(e.UpstreamErr),
			"Sigma does not list the columns of what the element builds on, so rules of row-level security in them are not known.%s Share the data model with the owner of the Sigma credential.", noRows)
	}
}

// systemParameter is a parameter of custom SQL in whose place Sigma writes a fact about the user.
var systemParameter = regexp.MustCompile(`(?i)\{\{\s*system::`)

// isAboutUser reports whether a formula asks for the user: CurrentUserEmail(), CurrentUserInTeam("Sales").
func isAboutUser(text string) bool {
	return slices.ContainsFunc(parseFormula(text).functions, func(function string) bool { return strings.HasPrefix(function, "currentuser") })
}

// addRole adds how the warehouse role of Sigma's connection differs from this one's.
func (m *Model) addRole(sigma SigmaRole, session *Session) {
	role, reads := "", ""
	if session != nil && session.Role != "" {
		role = session.Role
		reads = " This connection reads as " + role + "."
	}
	if sigma.PerViewer != "" {
		facts := map[string]string{"cause": sigma.PerViewer}
		if role != "" {
			facts["role"] = role
		}
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_ROLE_PER_VIEWER, facts,
			"Sigma uses another warehouse role for each viewer (%s), so each may see other rows.%s Make sure that the role of this connection sees the rows that the reader needs.", sigma.PerViewer, reads)
		return
	}
	if role == "" || sigma.Name == "" || strings.EqualFold(role, sigma.Name) {
		return
	}
	facts := map[string]string{"role": role, "sigma_role": sigma.Name}
	m.Findings.add(pb.FindingCode_FINDING_CODE_ROLE_DIFFERS, pb.FindingSeverity_FINDING_SEVERITY_INFO, facts, roleDiffers, sigma.Name, role, "")
}

const roleDiffers = "Sigma queries the warehouse with the role %s, and this connection with %s.%s Set the role of the connection to Sigma's, or compare the rows with compare_with_sigma."

// HasOtherRole reports whether Sigma queries the warehouse with another role than this connection.
func (m *Model) HasOtherRole() bool { return m.Findings.has(pb.FindingCode_FINDING_CODE_ROLE_DIFFERS) }

// SetPolicyTables adds to the finding ROLE_DIFFERS the tables of the query to which policies for rows or values apply, as far
// as the role sees them. The finding then is a warning.
func (m *Model) SetPolicyTables(tables []string) {
	for _, f := range m.Findings.list {
		if f.GetCode() == pb.FindingCode_FINDING_CODE_ROLE_DIFFERS && len(tables) > 0 {
			f.Severity = pb.FindingSeverity_FINDING_SEVERITY_WARNING
			f.Message = fmt.Sprintf(roleDiffers, f.GetMetadata()["sigma_role"], f.GetMetadata()["role"],
				" Policies decide by the role which rows and values of these tables it sees: "+QuoteAll(tables)+".")
		}
	}
}

// addSigmasTables adds the tables in which Sigma keeps data of its own.
func (m *Model) addSigmasTables(e Element, o Options) {
	var inputs []string
	for _, table := range m.Query.Tables() {
		isWriteBack := slices.ContainsFunc(e.WriteBackSchemas, func(schema []string) bool { return isInSchema(table, schema) })
		if isInputTable(table[len(table)-1], isWriteBack) {
			inputs = append(inputs, strings.Join(table, "."))
		}
		if isMaterialization(table[len(table)-1], isWriteBack) {
			m.materialized = append(m.materialized, table)
		}
	}
	if len(inputs) > 0 {
		facts := map[string]string{"tables": QuoteAll(inputs)}
		m.Findings.add(pb.FindingCode_FINDING_CODE_INPUT_TABLE, pb.FindingSeverity_FINDING_SEVERITY_INFO, facts,
			"The SQL reads input tables of Sigma's: %s. Each read sees the entries up to its own question to Sigma; publish entries in Sigma before a read that needs them.", facts["tables"])
		if o.VersionTag != "" {
			m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_TAG_INPUT_TABLE, facts,
				"The version with the tag %q reads input tables, and Sigma gives a tagged version an empty copy of them: %s. Read the published version, without version_tag.", o.VersionTag, facts["tables"])
		}
	}
	m.addMaterialized()
}

// isInSchema reports whether a table is in a schema, given by the parts of its name: database and schema. A part that one of
// them lacks counts as equal.
func isInSchema(table, schema []string) bool {
	table = table[:len(table)-1]
	if len(table) == 0 || len(schema) == 0 {
		return false
	}
	for len(table) > 0 && len(schema) > 0 {
		last, of := table[len(table)-1], schema[len(schema)-1]
		if of != "" && !strings.EqualFold(last, of) {
			return false
		}
		table, schema = table[:len(table)-1], schema[:len(schema)-1]
	}
	return true
}

// Sigma's own tables: an input table is SIGDS_ and an id, and a materialization T_MAT_ and an id. In a write-back schema of
// Sigma's, where authors keep no tables, other forms count as well.
var (
	inputTable      = regexp.MustCompile(`(?i)^SIGDS_[0-9a-f][0-9a-f_-]*$`)
	materialization = regexp.MustCompile(`(?i)^T_MAT_(?:[0-9_-]+[a-f]|[a-f_-]+[0-9])[0-9a-f_-]*$`)
	writtenBack     = regexp.MustCompile(`(?i)^(?:T_MAT|T_ID)|_MAT$`)
)

func isInputTable(name string, isWriteBack bool) bool {
	return inputTable.MatchString(name) || isWriteBack && strings.HasPrefix(strings.ToUpper(name), "SIGDS")
}

func isMaterialization(name string, isWriteBack bool) bool {
	return materialization.MatchString(name) || isWriteBack && writtenBack.MatchString(name)
}

func (m *Model) addMaterialized() {
	if len(m.materialized) == 0 {
		return
	}
	tables := QuoteAll(joined(m.materialized))
	m.Findings.add(pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE, pb.FindingSeverity_FINDING_SEVERITY_INFO, map[string]string{"tables": tables},
		"The SQL reads materializations of Sigma's, which are as old as their last run: %s. Run the materialization in Sigma before a read that needs newer rows.", tables)
}

// MaterializedTables returns the materializations of Sigma's that the text reads, in the form of [sigmasql.Query.Tables].
func (m *Model) MaterializedTables() [][]string { return slices.Clone(m.materialized) }

// SetMaterialized adds to the finding MATERIALIZED_SOURCE when the warehouse last changed the oldest of the tables.
func (m *Model) SetMaterialized(lastAltered, now time.Time) {
	for _, f := range m.Findings.list {
		if f.GetCode() == pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE {
			f.GetMetadata()["last_altered"] = lastAltered.UTC().Format(time.RFC3339)
			f.Message = fmt.Sprintf("The SQL reads materializations of Sigma's, the oldest of which is %s old: %s. Run the materialization in Sigma before a read that needs newer rows.",
				age(now.Sub(lastAltered)), f.GetMetadata()["tables"])
		}
	}
}

// age writes a time for people, in its largest unit: "30 hours".
func age(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return "less than 2 minutes"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d < 72*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func joined(names [][]string) []string {
	list := make([]string, len(names))
	for i, parts := range names {
		list[i] = strings.Join(parts, ".")
	}
	return list
}

// addNames adds the tables that the session finds by its namespace.
func (m *Model) addNames(names [][]string, o Options) {
	if len(names) == 0 {
		return
	}
	namespace := o.Namespace
	if o.Session != nil && o.Session.Namespace != ([2]string{}) {
		namespace = o.Session.Namespace
	}
	facts := map[string]string{"names": quoteNames(names)}
	resolved := ""
	if parts := slices.DeleteFunc(namespace[:], func(part string) bool { return part == "" }); len(parts) > 0 {
		facts["namespace"] = quoteNames([][]string{parts})
		resolved = " This connection finds them in " + facts["namespace"] + "."
	}
	const (
		text   = "The SQL names tables without database and schema, and Sigma's user may have another default: %s.%s %s."
		refuse = "the SQL names tables without database and schema, and the connection has neither, so that a default of the warehouse's account would decide: %s; set database and schema of the warehouse, or name them in the custom SQL"
	)
	severity, advice := pb.FindingSeverity_FINDING_SEVERITY_WARNING, "Name database and schema in the custom SQL"
	if o.Dialect == sigmasql.Snowflake && o.Namespace == ([2]string{}) {
		severity = pb.FindingSeverity_FINDING_SEVERITY_ERROR
		advice = "The connection has neither, so a full read fails. Set database and schema of the warehouse, or name them in the custom SQL"
		m.fullRead = append(m.fullRead, &errmap.Error{
			Reason: pb.ErrorReason_ERROR_REASON_NAME_UNQUALIFIED, Resource: m.Name,
			Message: fmt.Sprintf(refuse, facts["names"]), Metadata: map[string]string{"names": facts["names"]},
		})
	}
	m.Findings.add(pb.FindingCode_FINDING_CODE_NAME_UNQUALIFIED, severity, facts, text, facts["names"], resolved, advice)
}

// quoteNames writes names of several parts for people, the first ones where there are many: "SALES"."ORDERS".
func quoteNames(names [][]string) string {
	const limit = 10
	var list []string
	for _, parts := range names[:min(limit, len(names))] {
		quoted := make([]string, len(parts))
		for i, part := range parts {
			quoted[i] = fmt.Sprintf("%q", part)
		}
		list = append(list, strings.Join(quoted, "."))
	}
	text := strings.Join(list, ", ")
	if len(names) > limit {
		text += fmt.Sprintf(" and %d more", len(names)-limit)
	}
	return text
}

// The parameters of a session that decide about weeks.
const (
	weekStart        = "WEEK_START"
	weekOfYearPolicy = "WEEK_OF_YEAR_POLICY"
	levelOfUser      = "USER"
)

// addSession adds what parameters of the session decide about.
func (m *Model) addSession(traits sigmasql.Traits, o Options) {
	var parameters map[string]Parameter
	if o.Session != nil {
		parameters = o.Session.Parameters
	}
	if traits.DependsOnWeeks {
		m.addWeeks(parameters)
	}
	var ofUser []string
	for name, p := range parameters {
		if strings.EqualFold(p.Level, levelOfUser) && name != weekStart && name != weekOfYearPolicy {
			ofUser = append(ofUser, name)
		}
	}
	slices.Sort(ofUser)
	if len(ofUser) > 0 {
		names := strings.Join(ofUser, ", ")
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_SESSION_PARAMETER, map[string]string{"parameters": names},
			"Session parameters that can change values are set for the user of this connection, and not for Sigma's: %s. Unset them for the user, or set them for the account.", names)
	}
}

func (m *Model) addWeeks(parameters map[string]Parameter) {
	facts := map[string]string{}
	var known []string
	severity := pb.FindingSeverity_FINDING_SEVERITY_INFO
	for _, name := range []string{weekStart, weekOfYearPolicy} {
		p, ok := parameters[name]
		if !ok {
			continue
		}
		facts[strings.ToLower(name)] = p.Value
		known = append(known, name+" = "+p.Value)
		if isOfUser := strings.EqualFold(p.Level, levelOfUser); isOfUser || facts["level"] == "" {
			facts["level"] = p.Level
			if isOfUser {
				severity = pb.FindingSeverity_FINDING_SEVERITY_WARNING
			}
		}
	}
	values := ""
	if len(known) > 0 {
		values = " (" + strings.Join(known, ", ") + ")"
	}
	if facts["level"] == "" {
		delete(facts, "level")
	}
	m.Findings.add(pb.FindingCode_FINDING_CODE_WEEK_BY_SESSION, severity, facts,
		"Session parameters decide on which day weeks begin, or how they are counted%s. If Sigma shows other weeks, set week_start and week_of_year_policy of the warehouse.", values)
}

// addUnstable adds the columns whose values can change from read to read.
func (m *Model) addUnstable(traits sigmasql.Traits) {
	outputs, _ := m.Query.Outputs()
	functions := slices.Clone(traits.UnstableFunctions)
	for _, o := range outputs {
		isUnstable := o.IsUnstable
		if !traits.HasSort {
			for _, function := range m.formulas.own(o.Label).functions {
				if needsSort(function) {
					isUnstable = true
					functions = append(functions, function)
				}
			}
		}
		if isUnstable && o.Label != "" {
			m.unstable = append(m.unstable, o.Label)
		}
	}
	if len(m.unstable) == 0 && !traits.HasUnstableRows {
		return
	}
	slices.Sort(functions)
	facts := map[string]string{"functions": strings.Join(slices.Compact(functions), ", ")}
	what := "Which rows the query returns"
	if len(m.unstable) > 0 {
		facts["columns"] = QuoteAll(m.unstable)
		what = "The values of " + facts["columns"]
		if traits.HasUnstableRows {
			what = "Which rows the query returns, and the values of " + facts["columns"] + ","
		}
	}
	m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_VALUES_UNSTABLE, facts,
		"%s can change from read to read, because of %s. Sort the element in Sigma by columns that decide the order, and do not use these columns as a key.", what, facts["functions"])
}

// needsSort reports whether the value of one of Sigma's functions depends on the order of rows.
func needsSort(function string) bool {
	switch function {
	case "first", "last", "nth", "filldown", "lag", "lead", "rownumber":
		return true
	}
	return strings.HasPrefix(function, "moving") || strings.HasPrefix(function, "cumulative")
}

// addLookups adds the columns whose lookup may have several matches.
func (m *Model) addLookups() {
	outputs, _ := m.Query.Outputs()
	var labels []string
	for _, o := range outputs {
		isLookup := slices.Contains(m.formulas.own(o.Label).functions, "lookup")
		if o.Label != "" && (o.IsLookup || isLookup) {
			labels = append(labels, o.Label)
		}
	}
	if len(labels) > 0 {
		m.Findings.WarnWith(pb.FindingCode_FINDING_CODE_LOOKUP_AMBIGUOUS, columnsFact(labels),
			"A lookup may have several matches for a row, and its value is then '*' or that of any match: %s. Make sure that the key of the lookup's target is unique.", QuoteAll(labels))
	}
}

// restricted are the labels of columns that column-level security hides from the owner of the credential: Sigma shows each as
// a column "Restricted" with the text "No access", or writes null in the place of a column of a source.
func restricted(query *sigmasql.Query, listed map[string]bool, formulas formulas) []string {
	outputs, _ := query.Outputs()
	var labels []string
	for _, o := range outputs {
		if o.Label == "" || !o.IsConstant && !o.IsNull {
			continue
		}
		label, ok := listedLabel(o.Label, listed)
		if !ok {
			label = o.Label
		}
		f := formulas.of(label)
		saysNoAccess := o.IsConstant && !slices.ContainsFunc(o.Constants, func(c sigmasql.Literal) bool { return c.Value != noAccess })
		isSource := o.IsNull && f.isReference() && strings.Contains(f.references[0], "/")
		if !f.explains(noAccess) && (saysNoAccess || isSource || restrictedLabel.MatchString(o.Label)) {
			labels = append(labels, o.Label)
		}
	}
	return labels
}

// noAccess is the value of each row of a restricted column.
const noAccess = "No access"

var restrictedLabel = regexp.MustCompile(`^Restricted(?: \(\d+\))?$`)
