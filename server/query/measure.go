package query

import (
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// maxComparedColumns is the maximum count of columns whose values a comparison with Sigma compares. The contract states it.
const maxComparedColumns = 200

// measure is what a comparison keeps of the values of one column, whatever their order. Its size does not depend on the
// count of values.
type measure struct {
	rows, empty int64
	texts       uint64 // the sum of the hashes of all texts
	first       uint64 // the hash of the first text
	isSingle    bool   // all texts are the first one

	numbers int64 // values that are numbers in plain notation
	sum     float64
	size    float64 // the sum of the absolute values, which bounds the error of the sum

	times    int64 // values that are dates or times
	min, max time.Time
	unit     time.Duration // the finest that a value is written with: a second, a minute or a day
}

// comparisonSeed makes the hashes of both sides of a comparison comparable.
type comparisonSeed = maphash.Seed

// addText adds a value by its text. An empty text counts as a null, and CR with LF as LF, because the export does not tell
// them apart.
func (m *measure) addText(seed comparisonSeed, text string) {
	m.rows++
	text = strings.ReplaceAll(text, "\r\n", "\n")
	if strings.EqualFold(text, "true") || strings.EqualFold(text, "false") { // a truth value's form depends on who writes it
		text = strings.ToLower(text)
	}
	if text == "" {
		m.empty++
		return
	}
	hash := maphash.String(seed, text)
	if m.rows-m.empty == 1 {
		m.first, m.isSingle = hash, true
	}
	m.texts += hash
	m.isSingle = m.isSingle && hash == m.first
}

func (m *measure) addNumber(n float64) {
	m.numbers++
	m.sum += n
	m.size += math.Abs(n)
}

func (m *measure) addTime(t time.Time, unit time.Duration) {
	if m.times == 0 || t.Before(m.min) {
		m.min = t
	}
	if m.times == 0 || t.After(m.max) {
		m.max = t
	}
	if m.times == 0 || unit < m.unit {
		m.unit = unit
	}
	m.times++
}

// addExported adds a cell of Sigma's export.
func (m *measure) addExported(seed comparisonSeed, text string) {
	m.addText(seed, text)
	if text == "" {
		return
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && !strings.ContainsAny(text, "xX_pP") {
		m.addNumber(n)
	}
	if t, unit, ok := exportedTime(text); ok {
		m.addTime(t, unit)
	}
}

// day is the unit of dates.
const day = 24 * time.Hour

// exportLayouts are the forms of dates and times in which a cell is read, after the letter T and the zone are taken off, and
// the unit of each. A fraction of a second may follow the seconds; a second is the finest unit of Sigma's own display.
var exportLayouts = []struct {
	layout string
	unit   time.Duration
}{{"2006-01-02 15:04:05", time.Second}, {"2006-01-02 15:04", time.Minute}, {"2006-01-02", day}}

// exportedTime reads a cell as a reading of the wall clock in the account time zone. Other forms, such as 4/1/2026, can be
// those of two dates, and are not read.
func exportedTime(text string) (t time.Time, unit time.Duration, ok bool) {
	if len(text) < len(time.DateOnly) || text[4] != '-' {
		return t, 0, false
	}
	text = strings.Replace(text, "T", " ", 1)
	if at := strings.LastIndexAny(text, "+-Z"); at > len(time.DateOnly) {
		text = strings.TrimRight(text[:at], " ")
	}
	for _, form := range exportLayouts {
		if t, err := time.Parse(form.layout, text); err == nil {
			return t, form.unit, true
		}
	}
	return t, 0, false
}

// addValue adds a value of the warehouse. Instants are read in the account time zone.
func (m *measure) addValue(seed comparisonSeed, value *pb.Value, zone *time.Location) {
	switch v := value.GetKind().(type) {
	case *pb.Value_BoolValue:
		m.addText(seed, strconv.FormatBool(v.BoolValue))
	case *pb.Value_Int64Value:
		m.addText(seed, strconv.FormatInt(v.Int64Value, 10))
		m.addNumber(float64(v.Int64Value))
	case *pb.Value_DoubleValue:
		m.addText(seed, "number")
		m.addNumber(v.DoubleValue)
	case *pb.Value_DecimalValue:
		m.addText(seed, "number")
		if n, err := strconv.ParseFloat(v.DecimalValue, 64); err == nil {
			m.addNumber(n)
		}
	case *pb.Value_StringValue:
		m.addText(seed, v.StringValue)
	case *pb.Value_DateValue:
		m.addWallClock(seed, v.DateValue, time.DateOnly, day)
	case *pb.Value_DatetimeValue:
		m.addWallClock(seed, v.DatetimeValue, "2006-01-02T15:04:05", time.Second)
	case *pb.Value_TimestampValue:
		m.addWallClock(seed, v.TimestampValue.AsTime().In(zone).Format("2006-01-02T15:04:05.999999999"), "2006-01-02T15:04:05", time.Second)
	case *pb.Value_TimeValue, *pb.Value_BytesValue, *pb.Value_JsonValue:
		m.addText(seed, "value")
	default:
		m.addText(seed, "")
	}
}

func (m *measure) addWallClock(seed comparisonSeed, text, layout string, unit time.Duration) {
	m.addText(seed, text)
	if t, err := time.Parse(layout, text); err == nil {
		m.addTime(t, unit)
	}
}

// compareColumn compares the measures of a column of the given type. Values whose form in the export is not known leave the
// verdict undecided.
func compareColumn(label string, kind pb.ColumnType, sigma, inWarehouse *measure) *pb.ColumnComparison {
	c := &pb.ColumnComparison{Label: label, Verdict: pb.ComparisonVerdict_COMPARISON_VERDICT_SAME}
	differ := func(name string, differs bool) {
		if differs {
			c.Differences = append(c.Differences, name)
		}
	}
	differ("nulls", sigma.empty != inWarehouse.empty)
	isReadable := true
	switch kind {
	case pb.ColumnType_COLUMN_TYPE_INTEGER, pb.ColumnType_COLUMN_TYPE_DOUBLE, pb.ColumnType_COLUMN_TYPE_DECIMAL:
		if isReadable = sigma.numbers == sigma.rows-sigma.empty; isReadable {
			differ("sum", !isSameSum(sigma, inWarehouse))
		}
	case pb.ColumnType_COLUMN_TYPE_DATE, pb.ColumnType_COLUMN_TYPE_DATETIME, pb.ColumnType_COLUMN_TYPE_TIMESTAMP:
		if isReadable = sigma.times == sigma.rows-sigma.empty; isReadable {
			differ("min", !sigma.min.Truncate(sigma.unit).Equal(inWarehouse.min.Truncate(sigma.unit)))
			differ("max", !sigma.max.Truncate(sigma.unit).Equal(inWarehouse.max.Truncate(sigma.unit)))
		}
	case pb.ColumnType_COLUMN_TYPE_STRING, pb.ColumnType_COLUMN_TYPE_BOOL:
		differ("texts", sigma.texts != inWarehouse.texts)
	default:
		isReadable = sigma.rows == sigma.empty
	}
	switch {
	case len(c.GetDifferences()) > 0:
		c.Verdict = pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT
	case !isReadable:
		c.Verdict, c.Cause = pb.ComparisonVerdict_COMPARISON_VERDICT_UNDECIDED, "format"
	}
	return c
}

func isSameSum(a, b *measure) bool {
	isExact := a.sum == b.sum || math.IsNaN(a.sum) && math.IsNaN(b.sum)
	size := max(a.size, b.size)
	return isExact || !math.IsInf(size, 0) && math.Abs(a.sum-b.sum) <= sumTolerance*size
}

// sumTolerance is the relative error of a sum that is no difference: Sigma exports numbers as 64-bit floating point numbers.
const sumTolerance = 1e-9

// causeOf returns the likely cause of a column that differs, or an empty text.
func causeOf(c *pb.ColumnComparison, sigma, inWarehouse *measure, findings []*pb.Finding) string {
	has := func(codes ...pb.FindingCode) bool {
		return slices.ContainsFunc(findings, func(f *pb.Finding) bool { return slices.Contains(codes, f.GetCode()) })
	}
	// The widest distance between the offsets of two zones is 26 hours. Days that are cut in another zone differ by one.
	shift := inWarehouse.min.Truncate(sigma.unit).Sub(sigma.min.Truncate(sigma.unit))
	shiftOfMax := inWarehouse.max.Truncate(sigma.unit).Sub(sigma.max.Truncate(sigma.unit))
	isShifted := shift != 0 && shift.Abs() <= 26*time.Hour && (shiftOfMax-shift).Abs() <= time.Hour // clock changes
	switch {
	case c.GetVerdict() != pb.ComparisonVerdict_COMPARISON_VERDICT_DIFFERENT:
		return c.GetCause()
	case sigma.times > 0 && sigma.times == sigma.rows-sigma.empty && isShifted:
		return "time_zone"
	case has(pb.FindingCode_FINDING_CODE_MATERIALIZED_SOURCE):
		return "materialization"
	case inWarehouse.isSingle && !sigma.isSingle && slices.Contains(c.GetDifferences(), "texts"),
		has(pb.FindingCode_FINDING_CODE_ROLE_DIFFERS, pb.FindingCode_FINDING_CODE_ROLE_PER_VIEWER):
		return "role"
	case sigma.rows != inWarehouse.rows && has(pb.FindingCode_FINDING_CODE_LIMIT_AMBIGUOUS, pb.FindingCode_FINDING_CODE_AUTHOR_LIMIT):
		return "limit"
	}
	return ""
}
