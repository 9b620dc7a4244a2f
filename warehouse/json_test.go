package warehouse_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sigmasource/sigmasource/warehouse"
)

var jsonTexts = []string{
	`{"a":[1,-2.5e+10,0,-0,0.0,1E5,null,true,false,"x\n\u00e9\"\\\/\b\f\r\t"],"b":{"c":{}},"d":[]}`,
	" \t\r\n[ 1 , { \"a\" : 2 } ] \n", `"東京 😀"`, "17", "null", "[[[[]]]]", `""`,
	`[1,undefined,"x"]`, "undefined", "", " ", "nul", "nulll", "truefalse", "NaN", "-Infinity", "[NaN]", "[1,]", `{"a":1,}`, `{,}`,
	"[1 2]", "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x10", "'a'", `"a`, `"\x"`, `"\u12"`, "\"\x01\"", "\"\xff\"", `{"a"}`, `{"a":}`, `{1:2}`, `{a:1}`,
	"]", "}", "[", "{", "[}", "{]", "1 1", `{"a":1}{"b":2}`, "// comment\n1", "\ufeff1", "[\"a\"", `{"a":1`, "\x00",
	strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
}

// FuzzValidJSON compares with the standard library.
func FuzzValidJSON(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, want := warehouse.ValidJSON(text), json.Valid(text) && utf8.Valid(text); got != want {
			t.Errorf("%.100q: %v instead of %v", text, got, want)
		}
	})
}

// BenchmarkValidJSON tells how many times as fast as the standard library it is.
func BenchmarkValidJSON(b *testing.B) {
	text := []byte(`{"list":[` + strings.Repeat(`{"id":12345,"name":"a name"},`, 34) + `null]}`)
	for name, valid := range map[string]func([]byte) bool{"ValidJSON": warehouse.ValidJSON, "encoding/json": json.Valid} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if !valid(text) {
					b.Fatal("the text is not valid")
				}
			}
		})
	}
}
