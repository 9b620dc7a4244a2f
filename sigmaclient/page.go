package sigmaclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
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
	if err := json.Unmarshal(body, &thing); err != nil {
		return thing, &Error{Kind: KindProtocol, Call: what.name(), Status: http.StatusOK, Err: err}
	}
	return thing, nil
}

// collect asks for all pages of a list. Lists shift while they are read. What comes
// twice is kept once, by its id; an empty id is kept always. A list that becomes
// shorter may have left something out that was there all along, so it is read again.
func collect[T any](ctx context.Context, c *Client, what call, how paging, id func(T) string) (all []T, err error) {
	for range maxListings {
		var shorter bool
		if all, shorter, err = collectOnce(ctx, c, what, how, id); err != nil || !shorter {
			break
		}
	}
	return all, err
}

func collectOnce[T any](ctx context.Context, c *Client, what call, how paging, id func(T) string) (all []T, shorter bool, err error) {
	broken := func(err error) error {
		return &Error{Kind: KindProtocol, Call: what.name(), Status: http.StatusOK, Err: err}
	}
	seen := map[string]bool{}
	cursors := map[string]bool{}
	cursor := ""
	known := 0
	for range maxPages {
		body, err := c.fetch(ctx, what.page(how, cursor))
		if err != nil {
			return nil, false, err
		}
		entries, next, length, err := decodePage[T](body)
		if err != nil {
			return nil, false, broken(err)
		}
		if length > 0 {
			shorter = shorter || length < known
			known = length
		}
		for _, entry := range entries {
			key := id(entry)
			if key != "" && seen[key] {
				continue
			}
			seen[key] = true
			all = append(all, entry)
		}
		if next == "" {
			return all, shorter, nil
		}
		if cursors[next] {
			return nil, false, broken(errors.New("the list repeats a cursor, so it would never end"))
		}
		if len(all) > maxEntries {
			break
		}
		cursors[next] = true
		cursor = next
	}
	return nil, false, broken(errors.New("the list does not end"))
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

// decodePage reads a page of either form, or a bare array: some endpoints have
// answered both ways over time. The end is a missing cursor; hasMore is not
// relied upon, since not all lists send it. The length is the whole list's; 0 where
// it is not told.
func decodePage[T any](body []byte) (entries []T, next string, length int, err error) {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		err = json.Unmarshal(body, &entries)
		return entries, "", 0, err
	}
	var page struct {
		Entries       *[]T   `json:"entries"`
		NextPage      cursor `json:"nextPage"`
		NextPageToken cursor `json:"nextPageToken"`
		Total         total  `json:"total"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, "", 0, err
	}
	if page.Entries == nil {
		return nil, "", 0, errors.New("the page has no entries")
	}
	next = string(page.NextPage)
	if next == "" {
		next = string(page.NextPageToken)
	}
	return *page.Entries, next, int(page.Total), nil
}

// total is how many entries a list has. What is no such number is not worth losing a
// whole list for.
type total int

func (t *total) UnmarshalJSON(data []byte) error {
	if n, err := strconv.Atoi(string(data)); err == nil {
		*t = total(n)
	}
	return nil
}

// cursor is a string, though it looks like a number and might be sent as one.
type cursor string

func (c *cursor) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(c))
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil {
		return err
	}
	*c = cursor(number)
	return nil
}
