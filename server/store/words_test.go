package store_test

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/sigmasource/sigmasource/server/store"
)

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		" - / \x00 \x1f":              "",
		"Revenue by Region":           " revenue by region",
		"fct_orders_2024-01":          " fct orders 2024 01",
		"São Paulo, Kraków":           " sao paulo krakow",
		"e\u0301tude ÉTUDE":           " etude etude",
		"Straße STRASSE":              " strasse strasse",
		"ΣΊΣΥΦΟΣ σίσυφος":             " σισυφοσ σισυφοσ",
		"ﬁnance Ⅷ ½":                  " finance viii 1 2",
		"売上 レポート2024":                 " 売 上 レ ホ ー ト 2024",
		"한국어":                         " " + norm.NFKD.String("한국어"), // in its parts
		"it's 100% \"sure\" (really)": " it s 100 sure really",
		"İstanbul":                    " istanbul",
		strings.Repeat("x", 100):      " " + strings.Repeat("x", 64),
		strings.Repeat("é", 100):      " " + strings.Repeat("e", 64),
		strings.Repeat("д", 100):      " " + strings.Repeat("д", 32),
	} {
		if got := store.Words(text); got != want {
			t.Errorf("%q has the words %q, want %q", text, got, want)
		}
	}
}

// TestEveryLetterStays: folding a letter twice is folding it once, in every script.
func TestEveryLetterStays(t *testing.T) {
	for r := range unicode.MaxRune + 1 {
		if !unicode.IsLetter(r) {
			continue
		}
		once := store.Words(string(r))
		if twice := store.Words(once); twice != once {
			t.Errorf("%q (%U) becomes %q, and then %q", r, r, once, twice)
		}
	}
}

// TestWordsOfWords: what was split into words stays as it is, and holds nothing that
// means something to a database.
func TestWordsOfWords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		once := store.Words(rapid.String().Draw(rt, "text"))
		if twice := store.Words(once); twice != once {
			rt.Fatalf("%q becomes %q", once, twice)
		}
		if strings.ContainsAny(once, "\x00'\"\\%_*:&|!()\t\n") || once != "" && once[0] != ' ' {
			rt.Fatalf("%q", once)
		}
	})
}
