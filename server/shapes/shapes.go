// Package shapes records the structure of HTTP answers without their content.
//
// Sigma and Snowflake publish only a part of what their answers look like. An
// operator who turns the recording on gets one JSON file for each distinct shape of
// an answer: the endpoint with {} for each id, the status, and the keys and kinds of
// the JSON. Such a file can be sent to the people who maintain this service.
//
// A shape holds no value, no name, no e-mail address and no host. A string is
// reduced to the class of its length and its form. A key of an object is kept only
// if it looks like a field's name. A SQL text is reduced to its known words and its
// punctuation, see [SQL]. Answers that consist of rows are not reduced but left out.
//
// Recording never changes an answer or fails a call. The sizes of answers, the
// number of files and their bytes are bounded.
package shapes

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Limits of a recording.
const (
	// MaxAnswer is the maximum size in bytes of an answer whose structure is recorded,
	// after decompression. Of a larger answer only endpoint and status are.
	MaxAnswer = 4 << 20
	// MaxFiles is the maximum number of files in the folder.
	MaxFiles = 2000
	// MaxBytes is the maximum size in bytes of all files in the folder.
	MaxBytes = 32 << 20
	// maxFile is the maximum size in bytes of one file.
	maxFile = 256 << 10
)

// Recorder writes shapes to a folder. It is safe for concurrent use.
type Recorder struct {
	dir    string
	logger *slog.Logger

	mu    sync.Mutex
	known map[string]bool // names of the files in the folder
	bytes int64           // of them
	full  bool            // the operator was told that a limit is reached
}

// Open makes the folder if it does not exist, and returns a recorder that adds the
// shapes that the folder does not have yet. Failures to write are logged.
func Open(dir string, logger *slog.Logger) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of shapes: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("folder of shapes: %w", err)
	}
	r := &Recorder{dir: dir, logger: logger, known: map[string]bool{}}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			return nil, fmt.Errorf("folder of shapes: %w", err)
		}
		r.known[entry.Name()] = true
		r.bytes += info.Size()
	}
	return r, nil
}

// Transport returns a transport that sends requests through next and records the
// answers to endpoints that this package knows. A body is recorded when its reader
// has read it to the end.
func (r *Recorder) Transport(next http.RoundTripper) http.RoundTripper {
	return &transport{next: next, recorder: r}
}

type transport struct {
	next     http.RoundTripper
	recorder *Recorder
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err != nil {
		return response, err
	}
	name, known := endpoint(request.Method, request.URL.Path)
	if !known {
		return response, nil
	}
	answer := Answer{Endpoint: name, Status: response.StatusCode}
	if isRows(name) && response.StatusCode < 300 {
		answer.Body = "rows, not recorded"
		t.recorder.record(answer)
		return response, nil
	}
	response.Body = &tee{ReadCloser: response.Body, recorder: t.recorder, answer: answer,
		compressed: response.Header.Get("Content-Encoding") == "gzip"}
	return response, nil
}

// CloseIdleConnections closes the idle connections of the transport below.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// tee keeps the bytes that a reader reads, up to MaxAnswer, and records them at the
// end of the body.
type tee struct {
	io.ReadCloser
	recorder   *Recorder
	compressed bool

	mu       sync.Mutex // a body may be closed while it is read
	answer   Answer
	read     bytes.Buffer
	tooLarge bool
	done     bool
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return n, err
	}
	if t.tooLarge = t.tooLarge || t.read.Len()+n > MaxAnswer; t.tooLarge {
		t.read = bytes.Buffer{}
	} else {
		t.read.Write(p[:n])
	}
	if err == io.EOF {
		t.done = true
		t.record()
	}
	return n, err
}

// Close records the answer of a reader that stops at the end of the JSON, before the
// end of the body. An incomplete answer is no JSON and has no shape.
func (t *tee) Close() error {
	err := t.ReadCloser.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done && json.Valid(t.read.Bytes()) {
		t.record()
	}
	t.done = true
	return err
}

func (t *tee) record() {
	defer func() {
		// The answers are foreign data. A fault in this package must not end a call.
		if p := recover(); p != nil {
			t.recorder.logger.Warn("the shape of an answer cannot be recorded", "endpoint", t.answer.Endpoint, "panic", fmt.Sprintf("%T", p))
		}
	}()
	t.answer.Body = t.body()
	t.read = bytes.Buffer{}
	t.recorder.record(t.answer)
}

func (t *tee) body() any {
	body := t.read.Bytes()
	tooLarge := t.tooLarge
	if t.compressed && !tooLarge {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return "not readable"
		}
		if body, err = io.ReadAll(io.LimitReader(r, MaxAnswer+1)); err != nil {
			return "not readable"
		}
		tooLarge = len(body) > MaxAnswer
	}
	if tooLarge {
		return "too large"
	}
	return JSON(body)
}

// record writes the shape of an answer, once.
func (r *Recorder) record(answer Answer) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		r.logger.Warn("the shape of an answer cannot be recorded", "endpoint", answer.Endpoint, "error", err.Error())
		return
	}
	if text.Len() > maxFile {
		answer.Body = "too many shapes in one answer"
		r.record(answer)
		return
	}
	name := fileName(answer, text.Bytes())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[name] {
		return
	}
	if len(r.known) >= MaxFiles || r.bytes+int64(text.Len()) > MaxBytes {
		if !r.full {
			r.full = true
			r.logger.Warn("the folder of shapes is full: further shapes are not recorded", "files", len(r.known), "bytes", r.bytes)
		}
		return
	}
	if err := write(filepath.Join(r.dir, name), text.Bytes()); err != nil {
		r.logger.Warn("a shape cannot be written", "endpoint", answer.Endpoint, "error", err.Error())
		return
	}
	r.known[name] = true
	r.bytes += int64(text.Len())
}

// write writes a file, unless another process has written it. Only its owner may
// read it.
func write(path string, text []byte) error {
	file, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// fileName names the endpoint, the status and a hash of the shape.
func fileName(answer Answer, text []byte) string {
	hash := sha256.Sum256(text)
	words := strings.FieldsFunc(strings.ToLower(answer.Endpoint), func(r rune) bool { return r == ' ' || r == '/' || r == '{' || r == '}' })
	return fmt.Sprintf("%s-%d-%s.json", strings.Join(words, "-"), answer.Status, hex.EncodeToString(hash[:6]))
}

// Answer is the shape of an answer, as a file has it.
type Answer struct {
	// Endpoint is the method and the path, with {} for each id.
	Endpoint string `json:"endpoint"`
	// Status is the status of HTTP.
	Status int `json:"status"`
	// Body is the shape of the body, see [JSON].
	Body any `json:"body"`
}
