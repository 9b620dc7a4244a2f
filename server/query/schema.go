package query

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/model"
	"github.com/sigmasource/sigmasource/warehouse"
)

// encodeSchema describes the columns to the caller, as the warehouse and as
// Sigma know them. The IPC message is left out for callers who asked for rows.
func encodeSchema(schema *arrow.Schema, known model.Columns, format pb.DataFormat) (*pb.Schema, error) {
	out := &pb.Schema{Columns: make([]*pb.SchemaColumn, schema.NumFields())}
	listed := known.ByLabel()
	for i, field := range schema.Fields() {
		column, err := encodeColumn(field)
		if err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
		if of, ok := listed[field.Name]; ok && len(schema.FieldIndices(field.Name)) == 1 {
			column.ColumnId, column.SigmaType, column.Formula = of.ColumnID, of.Type, of.Formula
		}
		out.Columns[i] = column
	}
	out.Fingerprint = fingerprint(out)
	if format == pb.DataFormat_DATA_FORMAT_ARROW {
		payload := ipc.GetSchemaPayload(schema, memory.DefaultAllocator)
		defer payload.Release()
		var message bytes.Buffer
		if _, err := payload.WritePayload(&message); err != nil {
			return nil, fmt.Errorf("encode Arrow schema: %w", err)
		}
		out.ArrowIpc = message.Bytes()
	}
	return out, nil
}

func encodeColumn(field arrow.Field) (*pb.SchemaColumn, error) {
	column := &pb.SchemaColumn{Name: field.Name}
	column.WarehouseType, _ = field.Metadata.GetValue(warehouse.MetadataType)
	switch t := field.Type.(type) {
	case *arrow.BooleanType:
		column.Type = pb.ColumnType_COLUMN_TYPE_BOOL
	case *arrow.Int64Type:
		column.Type = pb.ColumnType_COLUMN_TYPE_INTEGER
	case *arrow.Decimal128Type:
		column.Precision, column.Scale = t.Precision, t.Scale
		column.Type = pb.ColumnType_COLUMN_TYPE_DECIMAL
		if t.Scale == 0 {
			column.Type = pb.ColumnType_COLUMN_TYPE_INTEGER
			column.Precision = 0
		}
	case *arrow.Float64Type:
		column.Type = pb.ColumnType_COLUMN_TYPE_DOUBLE
	case *arrow.StringType:
		column.Type = pb.ColumnType_COLUMN_TYPE_STRING
		if warehouse.IsJSON(field) {
			column.Type = pb.ColumnType_COLUMN_TYPE_JSON
		}
	case *arrow.BinaryType:
		column.Type = pb.ColumnType_COLUMN_TYPE_BYTES
	case *arrow.Date32Type:
		column.Type = pb.ColumnType_COLUMN_TYPE_DATE
	case *arrow.Time64Type:
		column.Type = pb.ColumnType_COLUMN_TYPE_TIME
	case *arrow.TimestampType:
		column.Type = pb.ColumnType_COLUMN_TYPE_DATETIME
		if t.TimeZone != "" {
			column.Type = pb.ColumnType_COLUMN_TYPE_TIMESTAMP
			if t.TimeZone != "UTC" {
				column.TimeZone = t.TimeZone
			}
		}
	case *arrow.NullType:
		column.Type = pb.ColumnType_COLUMN_TYPE_NULL
	default:
		return nil, fmt.Errorf("the type %s is not canonical", field.Type)
	}
	return column, nil
}
