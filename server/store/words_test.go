package store_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

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
		strings.Repeat("x", 100):      " " + strings.Repeat("x", 100),
		strings.Repeat("é", 100):      " " + strings.Repeat("e", 100),
		strings.Repeat("д", 5000):     " " + strings.Repeat("д", 5000),
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

// TestPieces: the pieces of a word are short, few, and hold each part of the word by
// which it is looked up.
func TestPieces(t *testing.T) {
	letter := rapid.RuneFrom([]rune("abcдк한𐌰"))
	rapid.Check(t, func(rt *rapid.T) {
		word := []rune(rapid.StringOfN(letter, 1, 500, -1).Draw(rt, "word"))
		pieces := slices.Collect(store.Pieces(string(word)))
		if len(pieces) > 1+len(word)/32 {
			rt.Fatalf("%d letters have %d pieces", len(word), len(pieces))
		}
		for _, piece := range pieces {
			if n := utf8.RuneCountInString(piece); n > 64 || n == 0 {
				rt.Fatalf("a piece of %d letters", n)
			}
		}
		from := rapid.IntRange(0, len(word)-1).Draw(rt, "from")
		searched := string(word[from:rapid.IntRange(from+1, len(word)).Draw(rt, "to")])
		for _, part := range store.SearchedPieces(searched) {
			if !strings.Contains(searched, part) {
				rt.Fatalf("%q is looked up by %q", searched, part)
			}
			if !slices.ContainsFunc(pieces, func(piece string) bool { return strings.Contains(piece, part) }) {
				rt.Fatalf("no piece of %q holds %q", string(word), part)
			}
		}
	})
}
