package snowflake

import (
	"bytes"
	"encoding/base64"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake/wiretest"
)

// shapes are answers about a result on which the driver panics, or might.
var shapes = map[string]func(t *testing.T, data map[string]any){
	"more columns than types": func(_ *testing.T, data map[string]any) { data["rowtype"] = types(data)[:1] },
	"fewer columns than types": func(_ *testing.T, data map[string]any) {
		data["rowtype"] = append(types(data), types(data)...)
	},
	"no types":       func(_ *testing.T, data map[string]any) { data["rowtype"] = []any{} },
	"null types":     func(_ *testing.T, data map[string]any) { data["rowtype"] = nil },
	"types of text":  func(_ *testing.T, data map[string]any) { data["rowtype"] = "text" },
	"huge precision": func(_ *testing.T, data map[string]any) { types(data)[0]["precision"] = 1e300 },
	"negative scale": func(_ *testing.T, data map[string]any) { types(data)[0]["scale"] = -1 },
	"object without fields": func(t *testing.T, data map[string]any) {
		nested(t, data, "object", arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64}))
	},
	"array without fields": func(t *testing.T, data map[string]any) {
		nested(t, data, "array", arrow.ListOf(arrow.PrimitiveTypes.Int64))
	},
	"map without fields": func(t *testing.T, data map[string]any) {
		nested(t, data, "map", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64))
	},
	"JSON with chunks": func(_ *testing.T, data map[string]any) {
		data["queryResultFormat"], data["rowsetBase64"], data["rowset"] = "json", "", [][]string{{"1"}}
	},
}

func types(data map[string]any) []map[string]any { return data["rowtype"].([]map[string]any) }

// nested makes the second column of an answer one of a nested type.
func nested(t *testing.T, data map[string]any, name string, typ arrow.DataType) {
	t.Helper()
	types(data)[1]["type"] = name
	schema := arrow.NewSchema([]arrow.Field{{Name: "N", Type: arrow.PrimitiveTypes.Int64}, {Name: "T", Type: typ, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 30 {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).AppendEmptyValue()
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(schema))
	if err := errors.Join(w.Write(batch), w.Close()); err != nil {
		t.Fatal(err)
	}
	data["rowsetBase64"] = base64.StdEncoding.EncodeToString(stream.Bytes())
}

// An answer of any form is an error of its call, and not the end of the process.
func TestNoAnswerEndsTheProcess(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			e := wireSeries(nil)
			w := endpoint(t, e, 2)
			manifest, parts, err := keepSeries(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			if err := parts.Close(); err != nil {
				t.Error(err)
			}
			e.SetAgain(func(data map[string]any) { shape(t, data) })
			parts, err = w.Reopen(t.Context(), manifest)
			if err == nil {
				var part warehouse.Part
				if part, err = parts.Open(0); err == nil {
					_, err = readTexts(t.Context(), part)
				}
				if closeErr := parts.Close(); closeErr != nil {
					t.Error(closeErr)
				}
			}
			wantFailure(t, err)

			e.SetAgain(nil)
			if parts, err = w.Reopen(t.Context(), manifest); err != nil {
				t.Fatalf("afterwards: %v", err)
			}
			if err := parts.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// wantFailure wants a failure of the warehouse that holds none of the values.
func wantFailure(t *testing.T, err error) {
	t.Helper()
	var failure *warehouse.Error
	if !errors.As(err, &failure) || failure.Kind == warehouse.KindUnknown {
		t.Fatalf("the error is %v", err)
	}
	if text := err.Error(); strings.Contains(text, "row ") || strings.Contains(text, "SELECT") {
		t.Errorf("the error holds values or SQL: %s", text)
	}
}

func TestAnAnswerWithoutColumnsIsAnError(t *testing.T) {
	w := endpoint(t, &wiretest.Endpoint{Answer: func(string, wiretest.Session) []wiretest.Column { return nil }}, 1)
	_, err := w.Query(t.Context(), warehouse.Statement{SQL: "SELECT"})
	wantFailure(t, err)
}

// A panic of a statement's goroutine is the error of that statement.
func TestAPanicIsAnError(t *testing.T) {
	w := endpoint(t, wireSeries(nil), 1)
	secret := "a value"
	for name, p := range map[string]any{"text": secret, "error": errors.New(secret), "runtime": nil} {
		if !w.begin() {
			t.Fatal("the warehouse is closed")
		}
		o := <-start(w, func() (int, error) {
			if p == nil {
				var none []int
				return none[len(secret)], nil
			}
			panic(p)
		})
		var failure *warehouse.Error
		if !errors.As(o.err, &failure) || failure.Kind != warehouse.KindUnavailable {
			t.Fatalf("%s: the error is %v", name, o.err)
		}
		if text := failure.Err.Error(); strings.Contains(text, secret) || !strings.Contains(text, "TestAPanicIsAnError") {
			t.Errorf("%s: the cause is %q", name, text)
		}
	}
}

// Each goroutine of the package recovers: a panic in one ends the process.
func TestEachGoroutineRecovers(t *testing.T) {
	goroutines := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		found, bare := goroutinesOf(file)
		goroutines += found
		for _, at := range bare {
			t.Errorf("%s starts a goroutine that does not recover: defer recoverTo(…) in it", set.Position(at))
		}
		return nil
	})
	if err != nil || goroutines == 0 {
		t.Errorf("%d goroutines found, %v", goroutines, err)
	}
}

func TestGoroutinesWithoutRecoverAreFound(t *testing.T) {
	for body, want := range map[string]int{
		"go f()":                    1,
		"go func() { f() }()":       1,
		"go func() { recover() }()": 1,
		"go func() { defer f() }()": 1,
		"group.Go(f)":               1,
		"group.Go(func() { f() })":  1,
		"group.Go(func() error { defer recoverTo(&err); return f() })":            0,
		"go func() { defer recoverTo(&err); f() }()":                              0,
		"go func() { if x { defer recoverTo(&err) }; f() }()":                     1,
		"go func() { f(); defer recoverTo(&err) }()":                              1,
		"go func() { defer func() { _ = recover() }(); f() }()":                   0,
		"go func() { defer func() { func() { _ = recover() }() }(); f() }()":      1,
		"go func() { defer recoverTo(&err); go func() { f() }() }()":              1,
		"func() { group.Go(func() { defer recoverTo(&err) }) }(); go func() {}()": 1,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc y() { "+body+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, bare := goroutinesOf(file); len(bare) != want {
			t.Errorf("%s: %d without recover instead of %d", body, len(bare), want)
		}
	}
}

// goroutinesOf counts the go statements and the calls of methods Go in a file, and
// returns those whose function does not recover from the first statement on that is
// not a defer or a declaration.
func goroutinesOf(file *ast.File) (count int, bare []token.Pos) {
	check := func(at token.Pos, f ast.Expr) {
		count++
		if literal, ok := f.(*ast.FuncLit); !ok || !recovers(literal.Body) {
			bare = append(bare, at)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			check(n.Pos(), n.Call.Fun)
		case *ast.CallExpr:
			if method, ok := n.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Go" && len(n.Args) > 0 {
				check(n.Pos(), n.Args[len(n.Args)-1])
			}
		}
		return true
	})
	return count, bare
}

func recovers(body *ast.BlockStmt) bool {
	for _, statement := range body.List {
		switch statement := statement.(type) {
		case *ast.DeclStmt:
		case *ast.DeferStmt:
			switch f := statement.Call.Fun.(type) {
			case *ast.Ident:
				if f.Name == "recoverTo" {
					return true
				}
			case *ast.FuncLit:
				if callsRecover(f.Body) {
					return true
				}
			}
		default:
			return false
		}
	}
	return false
}

// callsRecover reports whether a deferred function itself calls recover: within
// another function the call has no effect.
func callsRecover(body *ast.BlockStmt) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "recover" {
				found = true
			}
		}
		_, isFunction := n.(*ast.FuncLit)
		return !isFunction
	})
	return found
}

// The driver would decode chunks of an answer that it reads itself in goroutines that
// do not recover.
func TestTheDriverDecodesNoChunks(t *testing.T) {
	w := endpoint(t, wireSeries(func(http.ResponseWriter, *http.Request, int, int, []byte) { t.Error("a chunk was downloaded") }), 1)
	_, err := w.InspectSession(t.Context())
	wantFailure(t, err)
}

func TestOnlyResultsAreTakenFromTheDriver(t *testing.T) {
	for _, text := range []string{
		`{"success":true,"code":"333334","data":{"queryId":"1","getResultUrl":"/queries/1/result"}}`,
		`{"success":false,"code":"000709","message":"statement 1 not found","data":{"queryId":"1"}}`,
		`{"success":false,"code":"390112","data":null}`,
	} {
		c := &capture{}
		if shown, err := c.take([]byte(text)); err != nil || string(shown) != text || c.found != nil {
			t.Errorf("the driver gets %s, %v", shown, err)
		}
	}
	c := &capture{}
	shown, err := c.take([]byte(`{"success":true,"data":{"queryId":"1","queryResultFormat":"arrow","rowtype":[{"name":"N"}],"rowsetBase64":"AAAA","chunks":[{"url":"http://x","rowCount":3}]}}`))
	if err != nil || c.found == nil || len(c.found.Data.Chunks) != 1 {
		t.Fatalf("the result is %v, %v", c.found, err)
	}
	if strings.Contains(string(shown), "AAAA") || strings.Contains(string(shown), "http") {
		t.Errorf("the driver gets %s", shown)
	}
	if _, err := c.take([]byte(`{"success":true,"data":{"rowtype":"a value"}}`)); err == nil || strings.Contains(err.Error(), "a value") {
		t.Errorf("the error is %v", err)
	}
}
