package store

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxWord bounds a word, in bytes. What is longer is cut, in what is searched and
// in what is searched for.
const maxWord = 64

// words turns a text into the words that it is searched by, each with a space
// before it: letters and digits, without case and accents. Both databases get the
// same words, and are never asked to find any in a text by themselves.
func words(text string) string {
	var b strings.Builder
	inWord, start := false, 0
	for _, r := range fold(text) {
		letter, alone := isOfWord(r)
		switch {
		case unicode.Is(unicode.Mn, r): // an accent, parted from its letter
			continue
		case !letter:
			inWord = false
			continue
		case !inWord || alone:
			b.WriteByte(' ')
			inWord, start = !alone, b.Len()
		}
		if b.Len()-start+utf8.RuneLen(r) <= maxWord {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isOfWord reports whether a sign is part of a word, and whether it is a word alone:
// scripts that have no spaces are searched sign by sign.
func isOfWord(r rune) (letter, alone bool) {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9', false
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mc, r), unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// fold takes case and the like out of a text.
func fold(text string) string {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			// Of Cherokee, the library's folding makes the one case of the other, both ways.
			return norm.NFKD.String(strings.ToLower(cases.Fold().String(norm.NFKD.String(text))))
		}
	}
	return strings.ToLower(text)
}

// cut bounds a text to so many bytes, at the beginning of a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
