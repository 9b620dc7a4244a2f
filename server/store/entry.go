package store

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/resource"
)

// list tells the lists of a catalog apart.
type list int

const (
	workbookList list = 1
	modelList    list = 2
)

// entry is what a model or workbook is found by: the values that filters compare,
// the words that searches look for, and what lists are ordered by. It holds nothing
// that cannot be made anew from the resources.
type entry struct {
	list       list
	gone       int
	name       string
	workbook   string // of a workbook its own name
	pathKey    string
	title      string // words of the display name
	updateTime string // see timeKey
	size       int32
	folder     string
	owner      string
	state      int32
	kind       int32
	element    string
	chart      string
	tags       string // a set, as are the next two
	findings   string
	labels     string
	place      string // words
	columns    string // words
	marks      string // of the terms but for words, see markOf; empty if they are too many
}

const (
	// maxTitle is the maximum length of a title, in bytes: it is a part of page tokens
	// and of index rows.
	maxTitle = 480

	// maxTermBytes is the maximum size of an entry's terms, in bytes of their tokens.
	// It is below the 1,048,575 bytes that a TSVECTOR of PostgreSQL holds, and the same
	// for SQLite. An entry with more terms has the term termIncomplete: each search and
	// each filter examines it, so that the limit affects the time and not the result.
	maxTermBytes = 1_000_000

	// tokenOverhead is the maximum size of what a token has before the term's text: the
	// number of a catalog, a letter of a list and a kind.
	tokenOverhead = 19 + 1 + 1
)

func workbookEntry(w *pb.Workbook) *entry {
	title, rest := titleWords(w.GetDisplayName())
	e := &entry{
		list:       workbookList,
		gone:       number(w.GetGoneTime() != nil),
		name:       w.GetName(),
		workbook:   w.GetName(),
		pathKey:    string(sortKey(w.GetWorkbookId(), w.GetPath(), w.GetDisplayName())),
		title:      title,
		updateTime: timeKey(w.GetUpdateTime()),
		size:       w.GetModelCount(),
		folder:     plain(w.GetPath()),
		owner:      plain(w.GetOwnerId()),
		kind:       int32(w.GetDocumentKind()),
		tags:       set(w.GetTags()),
		place:      rest + words(w.GetPath()),
	}
	e.mark()
	return e
}

func modelEntry(w *pb.Workbook, m *pb.Model) *entry {
	title, rest := titleWords(m.GetDisplayName())
	e := &entry{
		list:       modelList,
		gone:       number(m.GetState() == pb.ModelState_MODEL_STATE_GONE),
		name:       m.GetName(),
		workbook:   w.GetName(),
		pathKey:    string(sortKey(m.GetElementId(), m.GetPath(), m.GetWorkbookDisplayName(), w.GetWorkbookId(), m.GetDisplayName())),
		title:      title,
		updateTime: timeKey(w.GetUpdateTime()),
		size:       int32(len(m.GetColumns())),
		folder:     plain(m.GetPath()),
		owner:      plain(w.GetOwnerId()),
		state:      int32(m.GetState()),
		kind:       int32(m.GetDocumentKind()),
		element:    plain(m.GetElementType()),
		chart:      plain(m.GetVisualizationType()),
		tags:       set(w.GetTags()),
		place:      rest + words(m.GetWorkbookDisplayName()) + words(m.GetPath()),
	}
	var findings, labels []string
	for _, finding := range m.GetFindings() {
		findings = append(findings, strconv.Itoa(int(finding.GetCode())))
	}
	var columns strings.Builder
	for _, column := range m.GetColumns() {
		labels = append(labels, column.GetLabel())
		columns.WriteString(words(column.GetLabel()))
	}
	e.columns, e.findings, e.labels = columns.String(), set(findings), set(labels)
	e.mark()
	return e
}

// titleWords returns the words of a display name as a title, and, if the title holds
// only the first of them, all words again as rest, to be found with the place.
func titleWords(displayName string) (title, rest string) {
	all := words(displayName)
	if title = cut(all, maxTitle); title != all {
		rest = all
	}
	return title, rest
}

func modelSortKey(m *pb.Model) []byte {
	workbookID := ""
	if name, err := resource.ParseModel(m.GetName()); err == nil {
		workbookID = name.WorkbookID
	}
	return sortKey(m.GetName(), m.GetPath(), m.GetWorkbookDisplayName(), workbookID, m.GetDisplayName())
}

// separator parts the members of a set.
const separator = "\x1f"

// set writes texts so that one of them is found by member.
func set(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	var b strings.Builder
	for _, text := range texts {
		b.WriteString(separator)
		b.WriteString(plain(text))
	}
	b.WriteString(separator)
	return b.String()
}

// member is what a set holds if it holds the text.
func member(text string) string { return separator + plain(text) + separator }

func members(set string) []string {
	if set == "" {
		return nil
	}
	return strings.Split(set[1:len(set)-1], separator)
}

// plain writes a text without the separator, and without the zero that PostgreSQL
// does not store in one.
var plain = strings.NewReplacer("\x00", "\x1a0", separator, "\x1a1", "\x1a", "\x1a2").Replace

// timeKey writes a time so that its bytes order as times do: seconds, then
// nanoseconds. No time comes before all others.
func timeKey(t *timestamppb.Timestamp) string {
	key := make([]byte, 12)
	if t != nil {
		binary.BigEndian.PutUint64(key, uint64(t.GetSeconds()-minSeconds)+1)
		binary.BigEndian.PutUint32(key[8:], uint32(t.GetNanos()))
	}
	return string(key)
}

// minSeconds is the first second that a Timestamp may tell, 0001-01-01T00:00:00Z.
const minSeconds = -62135596800

// The kinds of terms. In the database the letter of a list stands before them.
const (
	termTitle   = "n" // a word of the display name
	termPlace   = "p" // a word of the path or the workbook's display name
	termColumn  = "c" // a word of a column's label
	termAll     = "a" // what every entry has
	termBook    = "b"
	termFolder  = "d" // the folder, and those that it lies in
	termOwner   = "o"
	termState   = "s"
	termKind    = "k"
	termElement = "e"
	termChart   = "v"
	termTag     = "t"
	termFinding = "f"
	termLabel   = "l"

	termIncomplete = "x" // what an entry has whose other terms are not all in the index
)

// Terms that stand for several.
const (
	anything   = "any"        // of a set that is not empty
	unreadable = "unreadable" // of a state that is not READY
)

var listLetter = map[list]string{workbookList: "w", modelList: "m"}

// term is something that entries have in common.
type term struct {
	kind string // with the list's letter
	text string
}

// termSet collects terms until they have maxTermBytes.
type termSet struct {
	letter     string // of the list
	terms      map[term]bool
	size       int
	incomplete bool // a term was left out
}

func (e *entry) newTerms() *termSet {
	return &termSet{letter: listLetter[e.list], terms: map[term]bool{}}
}

// add adds a term, unless the set is incomplete or becomes so.
func (s *termSet) add(kind, text string) {
	t := term{s.letter + kind, text}
	if s.incomplete || s.terms[t] {
		return
	}
	if size := s.size + tokenOverhead + len(text); size <= maxTermBytes {
		s.size, s.terms[t] = size, true
	} else {
		s.incomplete = true
	}
}

// terms are those by which the index finds the entry.
func (e *entry) terms() map[term]bool {
	all := e.newTerms()
	e.addFacts(all)
	for _, text := range []struct{ kind, words string }{{termTitle, e.title}, {termPlace, e.place}, {termColumn, e.columns}} {
		for word := range strings.FieldsSeq(text.words) {
			for piece := range pieces(word) {
				if all.add(text.kind, piece); all.incomplete {
					break
				}
			}
		}
	}
	if all.incomplete {
		all.terms[term{kind: all.letter + termIncomplete}] = true
	}
	return all.terms
}

// addFacts adds the terms that are no words.
func (e *entry) addFacts(all *termSet) {
	all.add(termAll, "")
	all.add(termBook, digest(e.workbook))
	all.add(termOwner, digest(e.owner))
	all.add(termState, strconv.Itoa(int(e.state)))
	if e.state != int32(pb.ModelState_MODEL_STATE_READY) {
		all.add(termState, unreadable)
	}
	all.add(termKind, strconv.Itoa(int(e.kind)))
	all.add(termElement, digest(e.element))
	all.add(termChart, digest(e.chart))
	addSet := func(kind, set string, term func(string) string) {
		if set != "" {
			all.add(kind, anything)
		}
		for _, member := range members(set) {
			all.add(kind, term(member))
		}
	}
	addSet(termTag, e.tags, digest)
	addSet(termFinding, e.findings, func(code string) string { return code })
	addSet(termLabel, e.labels, digest)
	for folder := range foldersOf(e.folder) {
		if all.add(termFolder, folder); all.incomplete {
			break
		}
	}
}

// foldersOf returns the digests of a folder and of the folders that it lies in, the
// outermost first. The time is linear in the length of the path.
func foldersOf(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		hash, start := sha256.New(), 0
		for i := range len(path) + 1 {
			if i == 0 || i < len(path) && path[i] != '/' {
				continue
			}
			hash.Write([]byte(path[start:i]))
			if !yield(encodeDigest(hash.Sum(nil))) {
				return
			}
			start = i
		}
	}
}

// digest stands for a text of any length and any characters. What is found by it is
// compared with the text itself.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encodeDigest(sum[:])
}

func encodeDigest(sum []byte) string { return digits.EncodeToString(sum[:5]) }

var digits = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// token is how the database's index knows a term of a catalog.
func (t term) token(catalog int64) string { return strconv.FormatInt(catalog, 10) + t.kind + t.text }

// maxMarks bounds the marks of an entry: they are in indices, whose rows PostgreSQL
// bounds.
const maxMarks = 150

// mark gives the entry its marks.
func (e *entry) mark() {
	facts := e.newTerms()
	e.addFacts(facts)
	if len(facts.terms) > maxMarks || facts.incomplete {
		return
	}
	marks := make([]string, 0, len(facts.terms))
	for t := range facts.terms {
		marks = append(marks, markOf(t))
	}
	slices.Sort(marks)
	e.marks = strings.Join(marks, "")
}

// markOf stands for a term in the indices of orders, so that a walk along them need
// not look at each entry. Where an entry's marks hold a mark, the entry likely has
// the term; where they do not, it has not.
func markOf(t term) string {
	hash := fnv.New32a()
	hash.Write([]byte(t.kind + t.text))
	sum := hash.Sum32()
	sum ^= sum >> 18
	const signs = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
	return string([]byte{signs[sum&63], signs[sum>>6&63], signs[sum>>12&63]})
}
