package query

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/server/store"
)

// fingerprint covers the name, id, type and order of the columns, and nothing
// else. Each part goes in with its length, so that no two lists of columns read
// the same.
func fingerprint(schema *pb.Schema) string {
	digest := sha256.New()
	part := func(s string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		digest.Write(length[:])
		digest.Write([]byte(s))
	}
	for _, c := range schema.GetColumns() {
		part(c.GetName())
		part(c.GetColumnId())
		part(typeName(c))
	}
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(digest.Sum(nil)[:20]))
}

// typeName is the type of a column's values, such as `decimal(38,10)` or, in another
// zone than UTC, `timestamp(Europe/Berlin)`.
func typeName(c *pb.SchemaColumn) string {
	name := strings.ToLower(strings.TrimPrefix(c.GetType().String(), "COLUMN_TYPE_"))
	if c.GetType() == pb.ColumnType_COLUMN_TYPE_DECIMAL {
		return fmt.Sprintf("%s(%d,%d)", name, c.GetPrecision(), c.GetScale())
	}
	if c.GetTimeZone() != "" {
		return fmt.Sprintf("%s(%s)", name, c.GetTimeZone())
	}
	return name
}

// checkDrift keeps the schema for later, and refuses it if it is not the one
// that the caller relies on.
func (s *Service) checkDrift(ctx context.Context, p *plan, schema *pb.Schema, expected string) error {
	if err := s.store.PutSchema(ctx, p.name.String(), schema); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if expected == "" || expected == schema.GetFingerprint() {
		return nil
	}
	before, err := s.store.Schema(ctx, p.name.String(), expected)
	drift := &pb.SchemaDrift{Fingerprint: schema.GetFingerprint()}
	message := "the columns are not those of the expected fingerprint, which was never given out for this model"
	switch {
	case err == nil && p.isEarlier(before, schema):
		return nil
	case err == nil:
		drift.Changes = differences(before, schema)
		message = "the columns have changed: " + summarize(drift.GetChanges())
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	cause, explanation := causeOfDrift(before, schema, p.columns)
	return &errmap.Error{
		Reason:   pb.ErrorReason_ERROR_REASON_SCHEMA_DRIFT,
		Resource: p.name.String(),
		Message:  message + explanation,
		Metadata: map[string]string{"expected_fingerprint": expected, "fingerprint": schema.GetFingerprint(), "cause": cause},
		Details:  []proto.Message{drift},
	}
}

// causeOfDrift returns the cause of a drift that is not a change in Sigma or in the warehouse, or nothing. The schema
// before is nil where it is not stored.
func causeOfDrift(before, now *pb.Schema, columns model.Columns) (cause, explanation string) {
	switch {
	case hasFoldedNames(before, now):
		return "upgrade", ". Earlier versions of this service read the names in upper case and without Sigma's ids, as the account's parameter QUOTED_IDENTIFIERS_IGNORE_CASE asks; expect the new fingerprint"
	case columns.Err != nil && columns.Origin != model.LastScan:
		return "columns_unknown", ". Sigma refuses to list the element's columns at present, so that they have no ids; try again later"
	}
	return "", ""
}

// hasFoldedNames reports whether a stored schema has the present columns with their names in upper case and without ids.
func hasFoldedNames(before, now *pb.Schema) bool {
	if len(before.GetColumns()) == 0 || len(before.GetColumns()) != len(now.GetColumns()) {
		return false
	}
	isFolded := false
	for i, c := range before.GetColumns() {
		name := now.GetColumns()[i].GetName()
		if c.GetName() != strings.ToUpper(name) || c.GetColumnId() != "" || typeName(c) != typeName(now.GetColumns()[i]) {
			return false
		}
		isFolded = isFolded || c.GetName() != name
	}
	return isFolded
}

// isEarlier reports whether the present columns are those of a stored schema without the helpers of Sigma's screen, which
// earlier versions of this service delivered. A caller that expects the stored schema is not refused: the columns that are
// left are unchanged, and the finding COLUMN_HELPER names the others.
func (p *plan) isEarlier(before, now *pb.Schema) bool {
	if p.wanted != nil {
		return false
	}
	names := make([]string, len(before.GetColumns()))
	for i, c := range before.GetColumns() {
		names[i] = c.GetName()
	}
	rest := &pb.Schema{}
	for i, isHelper := range p.assessed.Helpers(names) {
		if !isHelper {
			rest.Columns = append(rest.Columns, before.GetColumns()[i])
		}
	}
	return fingerprint(rest) == now.GetFingerprint()
}

// differences tells how one schema became the other. Columns are the same if
// their ids are; those without an id, if their names are.
func differences(before, now *pb.Schema) []*pb.SchemaChange {
	var changes []*pb.SchemaChange
	change := func(kind pb.SchemaChangeKind, c *pb.SchemaColumn, from, to string) {
		changes = append(changes, &pb.SchemaChange{Kind: kind, ColumnId: c.GetColumnId(), From: from, To: to, Column: c.GetName()})
	}
	then := map[string]*pb.SchemaColumn{}
	var stayed []string // keys of the columns that are in both, in the order before
	keysNow := keys(now)
	for i, key := range keys(before) {
		then[key] = before.GetColumns()[i]
		if slices.Contains(keysNow, key) {
			stayed = append(stayed, key)
		}
	}
	place := 0
	for i, key := range keysNow {
		c := now.GetColumns()[i]
		old, ok := then[key]
		if !ok {
			change(pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_ADDED, c, "", c.GetName())
			continue
		}
		if old.GetName() != c.GetName() {
			change(pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RENAMED, c, old.GetName(), c.GetName())
		}
		if typeName(old) != typeName(c) {
			change(pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RETYPED, c, typeName(old), typeName(c))
		}
		if was := slices.Index(stayed, key); was != place {
			change(pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_MOVED, c, strconv.Itoa(was+1), strconv.Itoa(place+1))
		}
		place++
	}
	for i, key := range keys(before) {
		if !slices.Contains(keysNow, key) {
			c := before.GetColumns()[i]
			change(pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_REMOVED, c, c.GetName(), "")
		}
	}
	return changes
}

// keys gives each column a key that says which one it is, whatever its place.
// Columns that share a key are told apart by their order.
func keys(schema *pb.Schema) []string {
	seen := map[string]int{}
	var all []string
	for _, c := range schema.GetColumns() {
		key := "id " + c.GetColumnId()
		if c.GetColumnId() == "" {
			key = "name " + c.GetName()
		}
		seen[key]++
		all = append(all, fmt.Sprintf("%s\x00%d", key, seen[key]))
	}
	return all
}

// summarize says for people what changed, the first few changes of many.
func summarize(changes []*pb.SchemaChange) string {
	const most = 5
	var parts []string
	for _, c := range changes[:min(most, len(changes))] {
		switch c.GetKind() {
		case pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_ADDED:
			parts = append(parts, fmt.Sprintf("%q added", c.GetTo()))
		case pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_REMOVED:
			parts = append(parts, fmt.Sprintf("%q removed", c.GetFrom()))
		case pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RENAMED:
			parts = append(parts, fmt.Sprintf("%q renamed to %q", c.GetFrom(), c.GetTo()))
		case pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_RETYPED:
			parts = append(parts, fmt.Sprintf("%q retyped from %s to %s", c.GetColumn(), c.GetFrom(), c.GetTo()))
		case pb.SchemaChangeKind_SCHEMA_CHANGE_KIND_MOVED:
			parts = append(parts, fmt.Sprintf("%q moved", c.GetColumn()))
		}
	}
	if len(changes) > most {
		parts = append(parts, fmt.Sprintf("and %d more", len(changes)-most))
	}
	return strings.Join(parts, ", ")
}

// driftIn is the drift that an error tells of, or nil.
func driftIn(err error) *pb.SchemaDrift {
	var failure *errmap.Error
	if !errors.As(err, &failure) {
		return nil
	}
	for _, detail := range failure.Details {
		if drift, ok := detail.(*pb.SchemaDrift); ok {
			return drift
		}
	}
	return nil
}
