// Package selftest finds out, in a real organization of Sigma, whether the facts hold
// that this service assumes about Sigma and that Sigma does not publish.
//
// [WriteScript] writes what an operator builds once: tables with known rows, and a
// workbook whose elements each answer a few questions. [Run] finds the elements in the
// catalog of a connection, reads them through the service's public API, and compares
// the rows with those that package time computes from the script. The report says what
// was seen in counts, types, offsets and codes of findings, and never with a value.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Workbook is the name of the script's workbook, unless an operator gives it another.
const Workbook = "sigmasource selftest"

// Zone is the account time zone of the script's organization.
const Zone = "America/New_York"

// maxRows is the maximum number of rows that are read of an element. The script's
// elements have fewer.
const maxRows = 1000

// Verdict is how what was seen compares with what this service assumes.
type Verdict string

// The verdicts.
const (
	AsAssumed Verdict = "as assumed"
	Other     Verdict = "OTHER THAN ASSUMED"
	NotBuilt  Verdict = "not built"
	NotRead   Verdict = "could not be read"
)

// Report is the result of a run, without data values.
type Report struct {
	Connection string    `json:"connection"`
	Workbook   string    `json:"workbook"`
	ScanTime   time.Time `json:"scanTime"` // the end of the last scan
	Probes     []Line    `json:"probes"`
}

// Line is the result of one probe.
type Line struct {
	Probe    string  `json:"probe"`
	Element  string  `json:"element,omitempty"` // empty: the connection
	Question string  `json:"question"`
	Assumed  string  `json:"assumed"`
	Seen     string  `json:"seen"`
	Verdict  Verdict `json:"verdict"`
	Reason   string  `json:"reason,omitempty"` // why the probe was not built or could not be read
}

// Count returns the number of probes with a verdict.
func (r *Report) Count(verdict Verdict) int {
	n := 0
	for _, line := range r.Probes {
		if line.Verdict == verdict {
			n++
		}
	}
	return n
}

// API is the part of the service's public API that a run uses.
type API struct {
	Connections pb.SigmaConnectionsClient
	Catalog     pb.ModelCatalogClient
	Query       pb.ModelQueryClient
	// Preview returns the rows of a preview that is proven complete.
	Preview func(context.Context, *pb.PreviewModelRequest) (*Rows, error)
	// CountRows reads a model in a read session and returns the number of its rows.
	CountRows func(ctx context.Context, model string) (int64, error)
	// Now is the clock.
	Now func() time.Time
}

// Rows are the rows of a model.
type Rows struct {
	Columns  []*pb.SchemaColumn
	Values   [][]*pb.Value
	Findings []*pb.Finding
}

// Run runs all probes on a connection. It fails if the connection cannot be read, has
// no completed scan, or has no workbook of the name. A probe that fails has a line of
// its own.
func Run(ctx context.Context, api *API, connection, workbook string) (*Report, error) {
	r := &run{api: api, report: &Report{Connection: connection, Workbook: workbook}}
	response, err := api.Connections.GetConnection(ctx, &pb.GetConnectionRequest{Name: connection})
	if err != nil {
		return nil, err
	}
	r.connection = response.GetConnection()
	if err := r.findScan(ctx); err != nil {
		return nil, err
	}
	if err := r.findModels(ctx); err != nil {
		return nil, err
	}
	for _, element := range elements() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.probe(ctx, element)
	}
	return r.report, nil
}

type run struct {
	api        *API
	report     *Report
	connection *pb.Connection
	models     map[string][]*pb.Model // by display name
}

// findScan finds the last scan that has ended well.
func (r *run) findScan(ctx context.Context) error {
	request := &pb.ListScansRequest{Parent: r.connection.GetName()}
	for {
		response, err := r.api.Catalog.ListScans(ctx, request)
		if err != nil {
			return err
		}
		for _, scan := range response.GetScans() {
			if scan.GetState() == pb.ScanState_SCAN_STATE_SUCCEEDED {
				r.report.ScanTime = scan.GetEndTime().AsTime()
				return nil
			}
		}
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return fmt.Errorf("%s: no scan has succeeded yet, so that no element is known; run `sigmasource scan %[1]s`", r.connection.GetName())
		}
	}
}

// findModels lists the elements of the workbook.
func (r *run) findModels(ctx context.Context) error {
	var found []string
	request := &pb.ListWorkbooksRequest{Parent: r.connection.GetName(), PageSize: maxRows}
	for {
		response, err := r.api.Catalog.ListWorkbooks(ctx, request)
		if err != nil {
			return err
		}
		for _, workbook := range response.GetWorkbooks() {
			if workbook.GetDisplayName() == r.report.Workbook && workbook.GetDocumentKind() == pb.DocumentKind_DOCUMENT_KIND_WORKBOOK {
				found = append(found, workbook.GetName())
			}
		}
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			break
		}
	}
	if len(found) != 1 {
		return fmt.Errorf("%d workbooks have the name %q in the scan of %s, want 1; see `sigmasource selftest --script` for how to build it, name another with --workbook, or scan again",
			len(found), r.report.Workbook, r.report.ScanTime.UTC().Format(time.RFC3339))
	}
	r.models = map[string][]*pb.Model{}
	models := &pb.ListModelsRequest{Parent: r.connection.GetName(), Workbook: found[0], PageSize: maxRows}
	for {
		response, err := r.api.Catalog.ListModels(ctx, models)
		if err != nil {
			return err
		}
		for _, model := range response.GetModels() {
			r.models[model.GetDisplayName()] = append(r.models[model.GetDisplayName()], model)
		}
		if models.PageToken = response.GetNextPageToken(); models.PageToken == "" {
			return nil
		}
	}
}

// probe reads an element once and adds a line for each of its probes.
func (r *run) probe(ctx context.Context, element Element) {
	o := &Observation{Now: r.api.Now(), Connection: r.connection}
	var missing, unread string
	switch models := r.models[element.Name]; {
	case element.Name == "":
		response, err := r.api.Connections.CheckConnection(ctx, &pb.CheckConnectionRequest{Name: r.connection.GetName()})
		if err != nil {
			unread = "the connection cannot be checked: " + reason(err)
		}
		o.Checks = response.GetChecks()
	case len(models) == 0:
		missing = "the last scan has no element of this name"
	case len(models) > 1:
		unread = fmt.Sprintf("%d elements have this name", len(models))
	default:
		if err := r.observe(ctx, element, models[0].GetName(), o); err != nil {
			unread = reason(err)
		}
	}
	for _, probe := range element.Probes {
		line := Line{Probe: probe.Name, Element: element.Name, Question: probe.Question, Assumed: probe.Assumed}
		switch {
		case missing != "":
			line.Verdict, line.Reason = NotBuilt, missing
		case unread != "":
			line.Verdict, line.Reason = NotRead, unread
		default:
			probe.fill(&line, o)
		}
		r.report.Probes = append(r.report.Probes, line)
	}
}

// observe reads an element. A model that cannot be read is an observation, too.
func (r *run) observe(ctx context.Context, element Element, name string, o *Observation) error {
	got, err := r.api.Catalog.GetModel(ctx, &pb.GetModelRequest{Name: name})
	if err != nil {
		return err
	}
	o.Model = got.GetModel()
	if o.Check, err = r.api.Query.CheckModel(ctx, &pb.CheckModelRequest{Name: name, CompareWithSigma: element.compare}); err != nil {
		return err
	}
	o.rows, o.rowsErr = r.api.Preview(ctx, &pb.PreviewModelRequest{Name: name, RowLimit: maxRows})
	if element.countRows {
		o.rowCount, o.rowCountErr = r.api.CountRows(ctx, name)
	}
	return nil
}

// fill evaluates a probe on what was read of its element.
func (p *Probe) fill(line *Line, o *Observation) {
	seen, asAssumed, err := p.read(o)
	var missing notBuiltError
	switch {
	case errors.As(err, &missing):
		line.Verdict, line.Reason = NotBuilt, missing.Error()
	case err != nil:
		line.Verdict, line.Reason = NotRead, reason(err)
	case asAssumed:
		line.Verdict = AsAssumed
	default:
		line.Verdict = Other
	}
	line.Seen = seen
}

// notBuiltError is why a question cannot be asked as things are.
type notBuiltError string

func (e notBuiltError) Error() string { return string(e) }

// reason is why a call failed: the reason of the service's error. The message of an
// error may name what is not for others to see. An error of this package has a text
// that may be shown.
func reason(err error) string {
	var own probeError
	if errors.As(err, &own) {
		return own.Error()
	}
	s, _ := status.FromError(err)
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return fmt.Sprintf("%s (%s)", info.GetReason(), s.Code())
		}
	}
	return s.Code().String()
}

// probeError is why a probe cannot tell, without data values.
type probeError string

func (e probeError) Error() string { return string(e) }

// Observation is what was read of an element.
type Observation struct {
	Now        time.Time
	Connection *pb.Connection
	Checks     []*pb.Check // of the connection; only for the probes of the connection

	Model *pb.Model
	Check *pb.CheckModelResponse

	rows        *Rows
	rowsErr     error
	rowCount    int64
	rowCountErr error
}

// Rows returns the rows, or why there are none.
func (o *Observation) Rows() (*Rows, error) { return o.rows, o.rowsErr }

// has reports whether the catalog, the check or the preview has a finding.
func (o *Observation) has(code pb.FindingCode) bool {
	findings := slices.Concat(o.Model.GetFindings(), o.Check.GetFindings())
	if o.rows != nil {
		findings = append(findings, o.rows.Findings...)
	}
	return slices.ContainsFunc(findings, func(f *pb.Finding) bool { return f.GetCode() == code })
}

// finding says in a report whether there is a finding.
func (o *Observation) finding(code pb.FindingCode) string {
	return "finding " + strings.TrimPrefix(code.String(), "FINDING_CODE_") + ": " + yes(o.has(code))
}

// column returns the place of a column. Sigma shows the column ORDER_ID of custom SQL
// as "Order Id".
func (r *Rows) column(name string) (int, error) {
	for i, column := range r.Columns {
		if sameLabel(column.GetName(), name) {
			return i, nil
		}
	}
	return 0, probeError(fmt.Sprintf("the element has no column %q", name))
}

func sameLabel(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "_", " "), strings.ReplaceAll(b, "_", " "))
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
