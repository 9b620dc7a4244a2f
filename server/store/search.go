package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sigmasource/sigmasource/server/filter"
)

// A search looks for words in texts that were split into words when they were
// stored. A word of the search is found where a word begins with it, or, if it has
// three letters, where a word holds it: so many the trigrams can look up. The terms
// select the entries that may match; the words in the entry decide.

const (
	maxSearchWords = 10
	trigram        = 3

	// maxPrefixed and maxHolding are how many words of a catalog may begin with a
	// word of the search, or hold it, before it counts as one that is everywhere.
	maxPrefixed = 500
	maxHolding  = 100
)

// level is a part of a list: what is listed before all that is in later levels.
type level struct {
	where filter.Expr
	words []string // of the search
	in    string   // the text that holds all words, as SQL
	notIn string   // a text that does not hold all, as SQL: that was a level before
	start string   // what the title begins with
	other string   // what it does not begin with: that was a level before
	order order
	need  *need // of the filter and the search
	marks *need // of the filter alone
}

// The texts of a level hold those of the level before, so that a level is what the
// next one holds less itself.
const (
	titleText  = "title"
	placeText  = "title || place_words"
	columnText = "title || place_words || column_words"
)

// searchWords splits a search into its words. One without a letter or a digit has
// none, as if nothing was typed yet.
func searchWords(search string) ([]string, error) {
	found := strings.Fields(words(search))
	if len(found) > maxSearchWords {
		return nil, &RequestError{Field: "query", Problem: fmt.Sprintf("it has %d words; at most %d are allowed", len(found), maxSearchWords)}
	}
	return found, nil
}

// levels are the parts of a list in which words were searched for, the best first:
// names that begin with the words, then those that hold them, then what is found
// with the help of the path, and of columns. In a given order there is one part.
func (s *Store) levels(ctx context.Context, catalog int64, l list, where filter.Expr, found []string, given *order) ([]level, error) {
	letter := listLetter[l]
	whole := level{where: where, need: needOf(letter, where), marks: needOf(letter, where), order: byPath}
	if given != nil {
		whole.order = *given
	}
	if len(found) == 0 {
		return []level{whole}, nil
	}
	kinds := []string{termTitle, termPlace, termColumn}
	if l == workbookList {
		kinds = kinds[:2]
	}
	inKinds, err := s.lookUpWords(ctx, catalog, letter, kinds, found)
	if err != nil {
		return nil, err
	}
	needWith := func(kinds int) *need {
		needs := []*need{needOf(letter, where)}
		for _, word := range inKinds {
			needs = append(needs, needAny(word[:kinds]...))
		}
		return needAll(needs...)
	}
	if given != nil {
		whole.words, whole.in, whole.need = found, columnText, needWith(len(kinds))
		return []level{whole}, nil
	}
	start := " " + strings.Join(found, " ")
	all := []level{
		{where: where, start: start, order: byTitle, need: needWith(1)},
		{where: where, words: found, in: titleText, other: start, order: byTitle, need: needWith(1)},
		{where: where, words: found, in: placeText, notIn: titleText, order: byPath, need: needWith(2)},
	}
	if l == modelList {
		all = append(all, level{where: where, words: found, in: columnText, notIn: placeText, order: byPath, need: needWith(3)})
	}
	for i := range all {
		all[i].marks = whole.marks
	}
	return all, nil
}

// levelCondition turns a level into SQL about a row of entries, but for what the
// title begins with.
func (d dialect) levelCondition(args *arguments, l *level) string {
	parts := d.titleCondition(args, l)
	if l.where != nil {
		parts = append(parts, d.condition(args, l.where))
	}
	if l.in != "" && l.in != titleText {
		parts = append(parts, d.holdsAll(args, l.in, l.words))
	}
	if l.notIn != "" {
		parts = append(parts, "NOT "+d.holdsAll(args, l.notIn, l.words))
	}
	return strings.Join(parts, " AND ")
}

// indexedCondition is as much of it as the index of the level's order can tell.
func (d dialect) indexedCondition(args *arguments, l *level) string {
	var parts []string
	if l.order.column == byTitle.column {
		parts = d.titleCondition(args, l)
	}
	if l.marks != nil {
		parts = append(parts, "(marks = '' OR "+l.marks.marked(d, args)+")")
	}
	return strings.Join(parts, " AND ")
}

func (d dialect) titleCondition(args *arguments, l *level) (parts []string) {
	if l.in == titleText {
		parts = append(parts, d.holdsAll(args, l.in, l.words))
	}
	if l.other != "" {
		parts = append(parts, d.find("title", args.add(l.other))+" <> 1")
	}
	return parts
}

func (d dialect) holdsAll(args *arguments, text string, all []string) string {
	var parts []string
	for _, word := range all {
		if utf8.RuneCountInString(word) < trigram {
			word = " " + word
		}
		parts = append(parts, d.find(text, args.add(word))+" > 0")
	}
	return "(" + strings.Join(parts, " AND ") + ")"
}

// lookUpWords returns for each word and each kind the need of an entry in which the
// word is found.
func (s *Store) lookUpWords(ctx context.Context, catalog int64, letter string, kinds, found []string) ([][]*need, error) {
	var all [][]*need
	for _, word := range found {
		var needs []*need
		for _, kind := range kinds {
			n, err := s.lookUpPieces(ctx, catalog, letter+kind, word)
			if err != nil {
				return nil, err
			}
			needs = append(needs, n)
		}
		all = append(all, needs)
	}
	return all, nil
}

// lookUpPieces returns the need of an entry in which a word of any length is found.
func (s *Store) lookUpPieces(ctx context.Context, catalog int64, kind, word string) (*need, error) {
	var needs []*need
	for _, piece := range searchedPieces(word) {
		n, err := s.lookUpWord(ctx, catalog, kind, piece)
		if err != nil {
			return nil, err
		}
		needs = append(needs, n)
	}
	return needAll(needs...), nil
}

func (s *Store) lookUpWord(ctx context.Context, catalog int64, kind, word string) (*need, error) {
	query, pattern, most := s.dialect.wordsHolding, s.dialect.holding(word), maxHolding
	args := []any{catalog, kind, pattern}
	if utf8.RuneCountInString(word) < trigram {
		query, most = `SELECT term, entries FROM terms WHERE catalog = $1 AND kind = $2 AND term >= $3 AND term < $4`, maxPrefixed
		args = []any{catalog, kind, word, word + string(utf8.MaxRune)}
	}
	needs, err := readAll(ctx, s.read, func(rows *sql.Rows) (*need, error) {
		n := &need{term: term{kind: kind}}
		if err := rows.Scan(&n.term.text, &n.most); err != nil {
			return nil, err
		}
		return n, nil
	}, fmt.Sprintf("%s LIMIT %d", query, most+1), args...)
	switch {
	case err != nil:
		return nil, err
	case len(needs) > most:
		return nil, nil
	case len(needs) > 1 && most == maxPrefixed:
		sum := &need{term: term{kind, word}, prefix: true}
		for _, n := range needs {
			sum.most += n.most
		}
		return sum, nil
	}
	return &need{any: append([]*need{}, needs...)}, nil
}
