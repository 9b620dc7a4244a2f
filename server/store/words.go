package store

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	// maxPiece is the maximum length of a term of a word, in letters. A longer word is
	// indexed as pieces of this length.
	maxPiece = 64

	// pieceOverlap is how many letters a piece shares with the piece before it. Each
	// part of a word that is not longer than pieceOverlap lies within one piece.
	pieceOverlap = 32
)

// words returns the words of a text, in order, each with a space before it. A word
// consists of letters and digits, without case and accents. Both databases store
// these words and do not split texts themselves. The length of the result is linear
// in the length of the text.
func words(text string) string {
	var b strings.Builder
	inWord := false
	for _, r := range fold(text) {
		letter, alone := isOfWord(r)
		switch {
		case unicode.Is(unicode.Mn, r): // an accent, separated from its letter by fold
			continue
		case !letter:
			inWord = false
			continue
		case !inWord || alone:
			b.WriteByte(' ')
			inWord = !alone
		}
		b.WriteRune(r)
	}
	return b.String()
}

// pieces returns the parts of a word that are its terms: the word itself, or
// overlapping parts of maxPiece letters if the word is longer.
func pieces(word string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word != "" {
			end := letters(word, maxPiece)
			if !yield(word[:end]) || end == len(word) {
				return
			}
			word = word[letters(word, maxPiece-pieceOverlap):]
		}
	}
}

// searchedPieces returns the parts of a searched word by which terms are looked up.
// An indexed word that contains the searched word has, for each part, a piece that
// contains the part.
func searchedPieces(word string) []string {
	first := letters(word, pieceOverlap)
	if first == len(word) {
		return []string{word}
	}
	last := len(word)
	for range pieceOverlap {
		_, size := utf8.DecodeLastRuneInString(word[:last])
		last -= size
	}
	return []string{word[:first], word[last:]}
}

// letters returns the length in bytes of the first n letters of a text, or of the
// whole text if it has fewer.
func letters(text string, n int) int {
	for i := range text {
		if n == 0 {
			return i
		}
		n--
	}
	return len(text)
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

// cut returns the first characters of a text that together have at most maxBytes.
func cut(s string, maxBytes int) string {
	if len(s) <= maxBytes {
		return s
	}
	for !utf8.RuneStart(s[maxBytes]) {
		maxBytes--
	}
	return s[:maxBytes]
}
