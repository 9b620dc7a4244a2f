package sigmatest

import (
	"net/http"
	"strconv"
)

const (
	defaultPage = 50
	maxPage     = 1000
)

// pageStyle is how a call pages.
type pageStyle int

const (
	plain    pageStyle = iota // page and limit, answered by nextPage
	withMore                  // the same with the older hasMore
	byToken                   // pageToken and pageSize, answered by nextPageToken
)

// page answers with one page of a list. Cursors are offsets: a list that shifts
// meanwhile shows entries twice or not at all, as Sigma's do.
func page[T any](a *ask, style pageStyle, all []T, entry func(T) object) answer {
	query, at, size := a.URL.Query(), "page", "limit"
	if style == byToken {
		at, size = "pageToken", "pageSize"
	}
	limit, offset := defaultPage, 0
	if query.Has(size) {
		n, err := strconv.Atoi(query.Get(size))
		if err != nil || n < 1 || n > maxPage {
			return refuse(http.StatusBadRequest, "invalid_request", "Invalid "+size)
		}
		limit = n
	}
	if query.Has(at) {
		n, err := strconv.Atoi(query.Get(at))
		if err != nil || n < 1 {
			return refuse(http.StatusBadRequest, "invalid_request", "Invalid "+at)
		}
		offset = min(n, len(all))
	}
	if a.options.PageSize > 0 {
		limit = min(limit, a.options.PageSize)
	}
	end := min(len(all), offset+limit)
	entries := make([]object, 0, end-offset)
	for _, one := range all[offset:end] {
		entries = append(entries, entry(one))
	}
	last := end == len(all)
	if a.options.RepeatCursor && len(all) > limit {
		last, end = false, limit
	}
	body := object{"entries": entries}
	switch {
	case style == byToken && !last:
		body["nextPageToken"] = strconv.Itoa(end)
	case style == byToken:
	case last:
		body["nextPage"] = nil
	default:
		body["nextPage"] = strconv.Itoa(end)
	}
	if style != byToken && !a.options.TersePages {
		body["total"] = len(all) + a.unsent
		if style == withMore {
			body["hasMore"] = !last
		}
	}
	return ok(body)
}
