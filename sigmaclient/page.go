package sigmaclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

const (
	// pageSize is the most that Sigma gives at once.
	pageSize = 1000

	// maxPages and maxEntries end a list that does not end by itself.
	maxPages   = 10_000
	maxEntries = 1_000_000

	// maxListings is how often a list is read that becomes shorter meanwhile.
	maxListings = 3
)

// paging is how a list is asked for. Sigma has three ways.
type paging int

const (
	byOffset paging = iota // page and limit, answered by nextPage
	byCursor               // pageToken and pageSize, answered by nextPageToken
	bare                   // a plain array; sending a limit is refused
)

// call names what is asked for. The path's "{}" are filled with the ids, so
// that errors and logs can name the call without them.
type call struct {
	path  string
	ids   []string
	query url.Values
	body  []byte // of a POST; nil means a GET

	// tagParameter is what the call names a version's tag by: calls differ.
	tagParameter string
}

func (c call) name() string { return c.method() + " " + c.path }

func (c call) method() string {
	if c.body != nil {
		return http.MethodPost
	}
	return http.MethodGet
}

func (c call) url(base string) string {
	var b strings.Builder
	b.WriteString(base)
	rest := c.path
	for _, id := range c.ids {
		before, after, _ := strings.Cut(rest, "{}")
		b.WriteString(before)
		b.WriteString(url.PathEscape(id))
		rest = after
	}
	b.WriteString(rest)
	if len(c.query) > 0 {
		b.WriteByte('?')
		b.WriteString(c.query.Encode())
	}
	return b.String()
}

// fetch makes a call with a token. An answer that the token is no good is
// believed once: a new token is asked for and the call repeated.
func (c *Client) fetch(ctx context.Context, what call) ([]byte, error) {
	// A dot segment would lead to another path than the one that is named.
	for _, id := range what.ids {
		if id == "" || id == "." || id == ".." {
			return nil, &Error{Kind: KindNotFound, Call: what.name(), Err: errors.New("no such id")}
		}
	}
	token, err := c.tokens.get(ctx, c.credential, "")
	if err != nil {
		return nil, err
	}
	body, err := c.fetchWith(ctx, what, token)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		if token, err = c.tokens.get(ctx, c.credential, token); err != nil {
			return nil, err
		}
		return c.fetchWith(ctx, what, token)
	}
	return body, err
}

func (c *Client) fetchWith(ctx context.Context, what call, token string) ([]byte, error) {
	var body io.Reader
	if what.body != nil {
		body = bytes.NewReader(what.body)
	}
	request, err := newRequest(ctx, what.method(), what.url(c.credential.base), body)
	if err != nil {
		return nil, &Error{Kind: KindInvalidRequest, Call: what.name(), Err: errors.New("the request cannot be made")}
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if what.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	_, answer, err := send(c.http, request, what.name())
	return answer, err
}

// get asks for one thing.
func get[T any](ctx context.Context, c *Client, what call) (T, error) {
	var thing T
	body, err := c.fetch(ctx, what)
	if err != nil {
		return thing, err
	}
	if err := decodeObject(body, &thing); err != nil {
		return thing, &Error{Kind: KindProtocol, Call: what.name(), Status: http.StatusOK, Err: err}
	}
	return thing, nil
}

// identity says which fields of an entry tell it from the others of its list.
type identity struct {
	// required are the JSON keys of the fields without which an entry is
	// useless. An entry that lacks one is rejected.
	required []string
	// unique means that two entries with the same required fields are the same
	// entry.
	unique bool
}

func uniqueBy(keys ...string) identity  { return identity{required: keys, unique: true} }
func requiring(keys ...string) identity { return identity{required: keys} }

// collect reads all pages of a list. A list can shift while its pages are read.
// An entry that is sent twice is returned once. A list that becomes shorter may
// have skipped an entry that was there all along, so it is read again. What is
// missing of the list is added to the context's IncompleteLists.
func collect[T any](ctx context.Context, c *Client, what call, how paging, by identity) ([]T, error) {
	for attempt := 1; ; attempt++ {
		l := listing[T]{client: c, what: what, how: how, by: by, report: IncompleteList{Call: what.name()}}
		if err := l.read(ctx); err != nil {
			return nil, err
		}
		if !l.becameShorter || attempt == maxListings {
			incompleteListsOf(ctx).add(l.report)
			return l.entries, nil
		}
	}
}

// listing is one pass over the pages of a list.
type listing[T any] struct {
	client *Client
	what   call
	how    paging
	by     identity

	entries       []T
	seen          map[string]bool // identities
	report        IncompleteList
	becameShorter bool
}

func (l *listing[T]) read(ctx context.Context) error {
	l.seen = map[string]bool{}
	cursors := map[string]bool{}
	cursor := ""
	for range maxPages {
		body, err := l.client.fetch(ctx, l.what.page(l.how, cursor))
		if err != nil {
			return err
		}
		page, err := decodePage(body)
		if err != nil {
			return l.broken(err)
		}
		l.add(page)
		switch {
		case page.next == "":
			return nil
		case cursors[page.next]:
			return l.broken(errors.New("the list repeats a cursor, so it would never end"))
		case len(l.entries) > maxEntries:
			return l.broken(errors.New("the list does not end"))
		}
		cursors[page.next] = true
		cursor = page.next
	}
	return l.broken(errors.New("the list does not end"))
}

func (l *listing[T]) broken(err error) error {
	return &Error{Kind: KindProtocol, Call: l.what.name(), Status: http.StatusOK, Err: err}
}

// add adds a page's entries.
func (l *listing[T]) add(page page) {
	if page.total > 0 {
		l.becameShorter = l.becameShorter || page.total < l.report.Total
		l.report.Total = page.total
	}
	l.report.CursorUnreadable = l.report.CursorUnreadable || page.cursorUnreadable
	for _, raw := range page.entries {
		at := l.report.Received
		l.report.Received++
		object, err := fieldsOf(raw)
		if err != nil {
			l.report.reject("entries[" + strconv.Itoa(at) + "]")
			continue
		}
		key, missing := l.by.key(object)
		if missing != "" {
			l.report.reject("entries[" + strconv.Itoa(at) + "]." + missing)
			continue
		}
		if l.by.unique && l.seen[key] {
			continue
		}
		var entry T
		if field := setStruct(reflect.ValueOf(&entry).Elem(), object); field != "" {
			l.report.reject("entries[" + strconv.Itoa(at) + "]." + field)
			continue
		}
		l.seen[key] = true
		l.entries = append(l.entries, entry)
	}
}

// key returns the identity of an entry, or the first required field that it
// lacks.
func (i identity) key(object map[string]json.RawMessage) (key, missing string) {
	var parts []string
	for _, name := range i.required {
		part := text(object[name], "")
		if part == "" {
			return "", name
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "\x00"), ""
}

// page is the call for one page. The first page has no cursor: sending a first
// one skipped it, as another client found (OpenMetadata #26130).
func (c call) page(how paging, cursor string) call {
	if how == bare {
		return c
	}
	size, at := "limit", "page"
	if how == byCursor {
		size, at = "pageSize", "pageToken"
	}
	query := url.Values{size: {strconv.Itoa(pageSize)}}
	for key, values := range c.query {
		query[key] = values
	}
	if cursor != "" {
		query.Set(at, cursor)
	}
	c.query = query
	return c
}

// page is one page of a list.
type page struct {
	entries          []json.RawMessage
	next             string // the cursor of the next page; empty at the end
	total            int    // the length of the whole list; 0 if Sigma does not tell
	cursorUnreadable bool
}

// decodePage decodes a page of either form, or a bare array: some endpoints have
// answered both ways over time. The end is a missing cursor; hasMore is not
// relied upon, since not all lists send it.
func decodePage(body []byte) (page, error) {
	var p page
	if first(body) == '[' {
		err := json.Unmarshal(body, &p.entries)
		return p, err
	}
	fields, err := fieldsOf(body)
	if err != nil {
		return page{}, err
	}
	if first(fields["entries"]) != '[' {
		return page{}, errors.New("the page has no entries")
	}
	if err := json.Unmarshal(fields["entries"], &p.entries); err != nil {
		return page{}, err
	}
	p.total = max(0, total(fields["total"]))
	for _, name := range []string{"nextPage", "nextPageToken"} {
		next, ok := cursorOf(fields[name])
		p.cursorUnreadable = p.cursorUnreadable || !ok
		if p.next == "" {
			p.next = next
		}
	}
	return p, nil
}

// total returns the length of a list, or 0 if raw is not an integer. A string
// is no integer here: what Sigma means by one is not known.
func total(raw json.RawMessage) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return 0
	}
	return n
}

// cursorOf returns a cursor. It is a string that looks like a number and might
// be sent as one. Empty means the end of the list. A value from which a cursor
// cannot be read is not ok.
func cursorOf(raw json.RawMessage) (cursor string, ok bool) {
	switch first(raw) {
	case '{', '[', 't':
		return "", false
	case '0': // no page that follows begins at entry 0
		return "", true
	}
	return text(raw, ""), true
}
