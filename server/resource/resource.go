// Package resource parses and formats the names of the contract's resources,
// such as `workspaces/acme/connections/prod/models/w1.e1`.
//
// Every key of the store and every decision about access begins with such a
// name, so a name has exactly one spelling: Parse accepts what String gives and
// nothing else. The package imports nothing of this service.
package resource

import (
	"fmt"
	"strconv"
	"strings"
)

// The most characters of the parts of a name, as the contract states them.
const (
	maxID      = 63
	maxSigmaID = 128
)

// Connection names a connection.
type Connection struct {
	Workspace string // its id
	ID        string
}

// Scan names a scan of a connection.
type Scan struct {
	Connection Connection
	ID         string
}

// Workbook names a workbook of a connection.
type Workbook struct {
	Connection Connection
	WorkbookID string // Sigma's id
}

// Model names a model of a connection.
type Model struct {
	Connection Connection
	WorkbookID string // Sigma's id
	ElementID  string // Sigma's id, unique within the workbook
}

// Session names a read session of a connection.
type Session struct {
	Connection Connection
	ID         string
}

// Stream names a stream of a read session.
type Stream struct {
	Session Session
	Number  int // from 0
}

// WorkspaceName returns `workspaces/{id}`.
func WorkspaceName(id string) string { return "workspaces/" + id }

// String returns `workspaces/{workspace}/connections/{connection}`.
func (c Connection) String() string {
	return WorkspaceName(c.Workspace) + "/connections/" + c.ID
}

// String returns `{connection}/scans/{scan}`.
func (s Scan) String() string { return s.Connection.String() + "/scans/" + s.ID }

// String returns `{connection}/workbooks/{workbookId}`.
func (w Workbook) String() string { return w.Connection.String() + "/workbooks/" + w.WorkbookID }

// String returns `{connection}/models/{workbookId}.{elementId}`.
func (m Model) String() string {
	return m.Connection.String() + "/models/" + m.WorkbookID + "." + m.ElementID
}

// String returns `{connection}/sessions/{session}`.
func (s Session) String() string { return s.Connection.String() + "/sessions/" + s.ID }

// String returns `{session}/streams/{number}`.
func (s Stream) String() string { return s.Session.String() + "/streams/" + strconv.Itoa(s.Number) }

// Workbook returns the name of the model's workbook.
func (m Model) Workbook() Workbook {
	return Workbook{Connection: m.Connection, WorkbookID: m.WorkbookID}
}

// Error is returned for a text that is no name of the wanted kind. It does not
// repeat the text, which comes from a caller and may be anything.
type Error struct {
	Kind    string // such as `connection`
	Pattern string // what the name should look like
}

// Error says what the name should look like.
func (e *Error) Error() string {
	return fmt.Sprintf("not the name of a %s, which looks like %s", e.Kind, e.Pattern)
}

var (
	errWorkspace  = &Error{"workspace", "workspaces/{workspace}"}
	errWithin     = &Error{"resource", "workspaces/{workspace}/..."}
	errConnection = &Error{"connection", "workspaces/{workspace}/connections/{connection}"}
	errScan       = &Error{"scan", "workspaces/{workspace}/connections/{connection}/scans/{scan}"}
	errWorkbook   = &Error{"workbook", "workspaces/{workspace}/connections/{connection}/workbooks/{workbook}"}
	errModel      = &Error{"model", "workspaces/{workspace}/connections/{connection}/models/{workbook}.{element}"}
	errSession    = &Error{"session", "workspaces/{workspace}/connections/{connection}/sessions/{session}"}
	errStream     = &Error{"stream", "workspaces/{workspace}/connections/{connection}/sessions/{session}/streams/{number}"}
)

// ParseWorkspace returns the id of the workspace of that name.
func ParseWorkspace(name string) (id string, err error) {
	id, ok := strings.CutPrefix(name, "workspaces/")
	if !ok || !isID(id) {
		return "", errWorkspace
	}
	return id, nil
}

// WorkspaceOf returns the id of the workspace that a resource of any kind lies
// in. It does not look at what follows the workspace.
func WorkspaceOf(name string) (id string, err error) {
	rest, ok := strings.CutPrefix(name, "workspaces/")
	if !ok {
		return "", errWithin
	}
	id, _, _ = strings.Cut(rest, "/")
	if !isID(id) {
		return "", errWithin
	}
	return id, nil
}

// ParseConnection parses the name of a connection.
func ParseConnection(name string) (Connection, error) {
	c, rest, ok := cutConnection(name)
	if !ok || rest != "" {
		return Connection{}, errConnection
	}
	return c, nil
}

// ParseScan parses the name of a scan.
func ParseScan(name string) (Scan, error) {
	c, id, ok := cutChild(name, "scans")
	if !ok || !only(id, maxID, "-", false) {
		return Scan{}, errScan
	}
	return Scan{Connection: c, ID: id}, nil
}

// ParseWorkbook parses the name of a workbook.
func ParseWorkbook(name string) (Workbook, error) {
	c, id, ok := cutChild(name, "workbooks")
	if !ok || !isSigmaID(id) {
		return Workbook{}, errWorkbook
	}
	return Workbook{Connection: c, WorkbookID: id}, nil
}

// ParseModel parses the name of a model.
func ParseModel(name string) (Model, error) {
	c, id, ok := cutChild(name, "models")
	workbook, element, dot := strings.Cut(id, ".")
	if !ok || !dot || !isSigmaID(workbook) || !isSigmaID(element) {
		return Model{}, errModel
	}
	return Model{Connection: c, WorkbookID: workbook, ElementID: element}, nil
}

// ParseSession parses the name of a read session.
func ParseSession(name string) (Session, error) {
	c, id, ok := cutChild(name, "sessions")
	if !ok || !only(id, maxID, "-", false) {
		return Session{}, errSession
	}
	return Session{Connection: c, ID: id}, nil
}

// maxStreams is the most streams that a session may have.
const maxStreams = 10_000

// ParseStream parses the name of a stream of a read session.
func ParseStream(name string) (Stream, error) {
	parent, number, ok := strings.Cut(name, "/streams/")
	session, err := ParseSession(parent)
	if !ok || err != nil {
		return Stream{}, errStream
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= maxStreams || strconv.Itoa(n) != number {
		return Stream{}, errStream
	}
	return Stream{Session: session, Number: n}, nil
}

// cutChild splits a name into its connection and what follows `/{collection}/`.
func cutChild(name, collection string) (c Connection, id string, ok bool) {
	c, rest, ok := cutConnection(name)
	if !ok {
		return Connection{}, "", false
	}
	id, ok = strings.CutPrefix(rest, collection+"/")
	return c, id, ok
}

// cutConnection splits a name into its connection and what follows it, without
// the slash between them.
func cutConnection(name string) (c Connection, rest string, ok bool) {
	rest, ok = strings.CutPrefix(name, "workspaces/")
	if !ok {
		return Connection{}, "", false
	}
	c.Workspace, rest, _ = strings.Cut(rest, "/")
	rest, ok = strings.CutPrefix(rest, "connections/")
	if !ok {
		return Connection{}, "", false
	}
	var slash bool
	c.ID, rest, slash = strings.Cut(rest, "/")
	ok = isID(c.Workspace) && isID(c.ID) && slash == (rest != "")
	return c, rest, ok
}

// isID reports whether s may be the id of a workspace or a connection.
func isID(s string) bool {
	return only(s, maxID, "-", false) && s[0] != '-' && s[len(s)-1] != '-'
}

// isSigmaID reports whether s may be one of Sigma's ids.
func isSigmaID(s string) bool { return only(s, maxSigmaID, "-_", true) }

// only reports whether s consists of 1 to most ASCII digits, lower-case
// letters, upper-case ones if allowed, and the given marks.
func only(s string, most int, marks string, upper bool) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z':
		case upper && 'A' <= c && c <= 'Z':
		case strings.IndexByte(marks, c) >= 0:
		default:
			return false
		}
	}
	return true
}
