package duckdb

import (
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse"
)

func FuzzTranslate(f *testing.F) {
	f.Add("Catalog Error: Table with name nope does not exist!\nDid you mean \"x\"?\n\nLINE 1: select * from nope\n   ^")
	f.Add("Catalog Error: Table with name \"a.b\" does not exist because schema \"a\" does not exist.")
	f.Add("Binder Error: Referenced column \"nope\" not found in FROM clause!")
	f.Add("Binder Error: a literal 'with a secret")
	f.Add("Conversion Error: Could not convert string 'abc' to INT32")
	f.Add("INTERRUPT Error: Interrupted!")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		e := translate(text)
		if e.Message == "" && strings.Contains(text, ": ") && e.Kind == warehouse.KindUnknown {
			t.Errorf("%q has no message", text)
		}
		if strings.Contains(e.Message, "\n") || strings.Contains(e.Message, "LINE 1:") && !strings.Contains(strings.SplitN(text, "\n", 2)[0], "LINE 1:") {
			t.Errorf("the message shows the statement: %q", e.Message)
		}
		if e.Err.Error() != text {
			t.Errorf("the cause is %q", e.Err)
		}
	})
}
