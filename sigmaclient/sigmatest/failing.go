package sigmatest

import (
	"io"
	"net/http"
	"strings"
)

// Throttle answers as the proxy before Sigma does: 429 with a page of HTML.
// retryAfter is the header's text; empty leaves the header out, as is common.
func Throttle(retryAfter string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		writeHTML(w, http.StatusTooManyRequests, "Access denied | error 1015 | You are being rate limited")
		return true
	}
}

// Gateway answers 502, 503 or 504 with a page of HTML.
func Gateway(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		writeHTML(w, status, http.StatusText(status))
		return true
	}
}

// Fail answers with Sigma's own kind of error.
func Fail(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		refuse(status, code, message).write(w)
		return true
	}
}

// Answer answers 200 with a text of JSON, right or wrong.
func Answer(text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		writeJSON(w, http.StatusOK, []byte(text))
		return true
	}
}

// HugeBody answers with a list whose one entry is of a size in bytes.
func HugeBody(size int) Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		write(w, `{"entries":[{"name":"`)
		chunk := strings.Repeat("x", 1<<16)
		for left := size; left > 0; left -= len(chunk) {
			if _, err := io.WriteString(w, chunk[:min(left, len(chunk))]); err != nil {
				panic(http.ErrAbortHandler) // the caller has had enough
			}
		}
		write(w, `"}],"nextPage":null}`)
		return true
	}
}

// CutBody breaks the connection off in the middle of an answer.
func CutBody() Fault {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		beginBody(w)
		panic(http.ErrAbortHandler)
	}
}

// Drop breaks the connection off without an answer.
func Drop() Fault {
	return func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
}

func beginBody(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "1000")
	write(w, `{"entries":[`)
	flush(w)
}
