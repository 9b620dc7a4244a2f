package snowflake

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake/wiretest"
)

// chunkWith returns a chunk of 30 rows with columns of these fields. Integers are 30,
// 31, … and texts "row 30", "row 31", …, as wireSeries has them.
func chunkWith(t *testing.T, fields ...arrow.Field) []byte {
	t.Helper()
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for n := int64(30); n < 60; n++ {
		for i := range fields {
			switch f := b.Field(i).(type) {
			case *array.Int64Builder:
				f.Append(n)
			case *array.StringBuilder:
				f.Append(fmt.Sprint("row ", n))
			default:
				f.AppendEmptyValue()
			}
		}
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	var plain bytes.Buffer
	w := ipc.NewWriter(&plain, ipc.WithSchema(schema))
	if err := errors.Join(w.Write(batch), w.Close()); err != nil {
		t.Fatal(err)
	}
	packed, err := wiretest.Compress(plain.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return packed
}

// field returns a nullable field with metadata in pairs of key and value.
func field(name string, typ arrow.DataType, metadata ...string) arrow.Field {
	pairs := map[string]string{}
	for i := 0; i < len(metadata); i += 2 {
		pairs[metadata[i]] = metadata[i+1]
	}
	return arrow.Field{Name: name, Type: typ, Nullable: true, Metadata: arrow.MetadataFrom(pairs)}
}

func TestChunksHaveTheDeclaredColumns(t *testing.T) {
	integer, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	n := field("N", integer, "logicalType", "FIXED", "scale", "0", "precision", "38")
	s := field("T", text, "logicalType", "TEXT", "scale", "0", "charLength", "9")
	for name, test := range map[string]struct {
		fields      []arrow.Field
		differences int64
		message     string // of the error; empty: the read ends well
		warns       bool   // the read ends well with the check warn
	}{
		"as declared":        {[]arrow.Field{n, s}, 0, "", true},
		"no metadata":        {[]arrow.Field{field("N", integer), field("T", text)}, 2, "", true},
		"lower case":         {[]arrow.Field{field("n", integer, "logicalType", "fixed", "scale", "0"), s}, 1, "", true},
		"a new name":         {[]arrow.Field{n, field("X", text, "logicalType", "TEXT")}, 1, "", true},
		"a new logical type": {[]arrow.Field{n, field("T", text, "logicalType", "TOMORROW")}, 1, "", true},
		"a variant":          {[]arrow.Field{n, field("T", text, "logicalType", "VARIANT")}, 1, "", true},
		"a scale of text":    {[]arrow.Field{n, field("T", text, "logicalType", "TEXT", "scale", "7")}, 0, "", true},
		"names in another order": {[]arrow.Field{field("T", integer, "logicalType", "FIXED"), field("N", text, "logicalType", "TEXT")}, 0,
			`column 1 is "T" instead of "N"`, true},
		"columns in another order": {[]arrow.Field{s, n}, 0, `column 1 is "T" instead of "N"`, false},
		"another logical type": {[]arrow.Field{field("N", integer, "logicalType", "TIMESTAMP_NTZ", "scale", "0"), s}, 0,
			`column "N" is TIMESTAMP_NTZ instead of fixed`, true},
		"text as a date": {[]arrow.Field{n, field("T", text, "logicalType", "DATE")}, 0, `column "T" is DATE instead of text`, true},
		"another scale":  {[]arrow.Field{field("N", integer, "logicalType", "FIXED", "scale", "2"), s}, 0, `column "N" has the scale 2 instead of 0`, true},
		"another scale of decimals": {[]arrow.Field{field("N", &arrow.Decimal128Type{Precision: 10, Scale: 2}), s}, 1,
			`column "N" has the scale 2 instead of 0`, false},
		"numbers as text":   {[]arrow.Field{field("N", text, "logicalType", "FIXED"), s}, 0, `column "N" is encoded as`, false},
		"numbers as floats": {[]arrow.Field{field("N", arrow.PrimitiveTypes.Float64), s}, 1, `column "N" is encoded as`, false},
	} {
		for way, read := range ways {
			for _, check := range []SchemaCheck{StrictSchemaCheck, WarnSchemaCheck, ""} {
				t.Run(name+"/"+way+"/"+string(check), func(t *testing.T) {
					t.Parallel()
					var log bytes.Buffer
					body := chunkWith(t, test.fields...)
					w := endpointWith(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, index, _ int, own []byte) {
						if index == 0 {
							own = body
						}
						_, _ = w.Write(own)
					}), Config{MaxSessions: 1, SchemaCheck: check, Logger: slog.New(slog.NewTextHandler(&log, nil))})
					texts, err := read(t, w)
					var failure *warehouse.Error
					isWell := test.message == "" || check == WarnSchemaCheck && test.warns
					switch {
					case isWell && err != nil:
						t.Errorf("%v (cause: %v)", err, errors.Unwrap(err))
					case isWell:
						wantSeries(t, texts)
					case !errors.As(err, &failure):
						t.Errorf("the error is %v", err)
					case check != WarnSchemaCheck && (failure.Kind != warehouse.KindIncomplete ||
						!strings.Contains(failure.Message, "part 2 of the result, of 3, has other columns than Snowflake declared: "+test.message)):
						t.Errorf("the error is %v", err)
					}
					// The other two parts have no metadata: two differences each.
					count := w.SchemaDifferences()
					if isWell && test.message == "" && count != test.differences+4 {
						t.Errorf("%d differences instead of %d; the log: %s", count, test.differences+4, &log)
					}
					if logged := int64(strings.Count(log.String(), "\n")); logged == 0 || logged >= count {
						t.Errorf("%d differences are logged of %d: %s", logged, count, &log)
					}
					if isWell && test.message != "" && !strings.Contains(log.String(), strings.ReplaceAll(test.message, `"`, `\"`)) {
						t.Errorf("the contradiction is not logged: %s", &log)
					}
				})
			}
		}
	}
}

// A structured type in a native encoding fails for good, and names its column.
func TestNativeStructuredTypesAreUnsupported(t *testing.T) {
	for name, typ := range map[string]arrow.DataType{
		"object": arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64}),
		"array":  arrow.ListOf(arrow.PrimitiveTypes.Int64),
		"map":    arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64),
	} {
		w := endpoint(t, wireSeries(func(w http.ResponseWriter, _ *http.Request, _, _ int, _ []byte) {
			_, _ = w.Write(chunkWith(t, field("N", arrow.PrimitiveTypes.Int64), field("T", typ, "logicalType", strings.ToUpper(name))))
		}), 1)
		_, err := ways["query"](t, w)
		var failure *warehouse.Error
		if !errors.As(err, &failure) || failure.Kind != warehouse.KindUnsupported || failure.Column != "T" {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
