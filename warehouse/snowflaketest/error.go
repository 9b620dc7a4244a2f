package snowflaketest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// Error is a failure as Snowflake reports it: a code, an SQLSTATE and a text.
type Error struct {
	Code    string // six digits, such as "002003"
	State   string // SQLSTATE, such as "42S02"; logins have none
	Message string
}

// Error returns code, state and message.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s): %s", e.Code, e.State, e.Message) }

// Failures of logins and sessions. The codes are the ones that Snowflake's
// drivers know by name (errors.go of gosnowflake, ErrorCode.java of the JDBC
// driver); the texts are what Snowflake writes in its logs for them.
var (
	errBadCredentials = &Error{Code: "390100", Message: "Incorrect username or password was specified."}
	errBadJWT         = &Error{Code: "390144", Message: "JWT token is invalid."}
	errBadOAuthToken  = &Error{Code: "390303", Message: "Invalid OAuth access token."}
	errBadAccessToken = &Error{Code: "394400", Message: "Programmatic access token is invalid."}
	errSessionGone    = &Error{Code: "390111", Message: "Session no longer exists. New login required to access the service."}
	errTokenExpired   = &Error{Code: "390112", Message: "Your session has expired. Please login again."}
	errMasterExpired  = &Error{Code: "390114", Message: "Authentication token has expired. The user must authenticate again."}
)

// NetworkPolicyError is what a login from an address outside the account's
// network policy gets. Return it from [Faults].Login.
func NetworkPolicyError() *Error {
	return &Error{Code: "390422", Message: "Incoming request with IP/Token 127.0.0.1 is not allowed to access Snowflake. " +
		"Contact your account administrator."}
}

// NoWarehouseError is what a statement gets whose session has no running
// warehouse: none is selected, or it is suspended and does not resume.
func NoWarehouseError() *Error {
	return &Error{Code: "000606", State: "57P03", Message: "No active warehouse selected in the current session.  " +
		"Select an active warehouse with the 'use warehouse' command."}
}

func roleError(role string) *Error {
	return &Error{Code: "390189", Message: fmt.Sprintf("Role '%s' specified in the connect string does not exist or not "+
		"authorized. Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC.", role)}
}

func connectObjectError(kind string) *Error {
	return &Error{Code: "390201", Message: fmt.Sprintf("The requested %s does not exist or not authorized.", kind)}
}

func missingError(kind, name string) *Error {
	state := "42S02"
	if kind != "Object" {
		state = "02000"
	}
	return &Error{Code: "002003", State: state,
		Message: fmt.Sprintf("SQL compilation error:\n%s '%s' does not exist or not authorized.", kind, name)}
}

func missingSessionObjectError() *Error {
	return &Error{Code: "002043", State: "02000",
		Message: "SQL compilation error:\nObject does not exist, or operation cannot be performed."}
}

func abortedError() *Error {
	return &Error{Code: "000604", State: "57014", Message: "SQL execution canceled"}
}

func timeoutError(seconds int64) *Error {
	return &Error{Code: "000630", State: "57014", Message: fmt.Sprintf(
		"Statement reached its statement or warehouse timeout of %d second(s) and was canceled.", seconds)}
}

func syntaxError(text string) *Error {
	return &Error{Code: "001003", State: "42000", Message: "SQL compilation error:\n" + text}
}

func statementNotFoundError(id string) *Error {
	return &Error{Code: "000709", State: "02000", Message: fmt.Sprintf("Statement %s not found", id)}
}

// fromDuckDB turns what DuckDB says into what Snowflake would say. What cannot
// be told apart becomes an internal error with DuckDB's own text, so that a
// gap of the dialect is seen for what it is.
func fromDuckDB(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if errors.Is(err, context.Canceled) {
		return abortedError()
	}
	var de *duckdb.Error
	if !errors.As(err, &de) {
		return &Error{Code: "370001", State: "XX000", Message: "Internal error: " + err.Error()}
	}
	first, _, _ := strings.Cut(de.Msg, "\n")
	switch de.Type {
	case duckdb.ErrorTypeInterrupt:
		return abortedError()
	case duckdb.ErrorTypeParser, duckdb.ErrorTypeSyntax:
		return syntaxError("syntax error: " + strings.TrimPrefix(first, "Parser Error: "))
	case duckdb.ErrorTypeBinder:
		if name, ok := between(first, `column "`, `"`); ok {
			return &Error{Code: "000904", State: "42000",
				Message: fmt.Sprintf("SQL compilation error:\ninvalid identifier '%s'", name)}
		}
		if name, ok := between(first, `Referenced table "`, `"`); ok {
			return &Error{Code: "000904", State: "42000",
				Message: fmt.Sprintf("SQL compilation error:\ninvalid identifier '%s'", name)}
		}
		return &Error{Code: "002070", State: "42000", Message: "SQL compilation error:\n" + first}
	case duckdb.ErrorTypeCatalog:
		if name, ok := between(first, "Function with name ", " "); ok {
			return &Error{Code: "002140", State: "42601",
				Message: "SQL compilation error:\nUnknown function " + strings.ToUpper(name)}
		}
		return &Error{Code: "002003", State: "42S02", Message: "SQL compilation error:\n" + first}
	case duckdb.ErrorTypeConversion:
		return conversionError(first)
	case duckdb.ErrorTypeOutOfRange:
		return &Error{Code: "100046", State: "22003", Message: "Number out of representable range: " + first}
	case duckdb.ErrorTypeInvalidInput:
		return &Error{Code: "100069", State: "22P02", Message: first}
	}
	return &Error{Code: "370001", State: "XX000", Message: "Internal error: " + first}
}

func conversionError(text string) *Error {
	value, _ := between(text, `"`, `"`)
	switch {
	case strings.Contains(text, "date field"):
		return &Error{Code: "100040", State: "22007", Message: fmt.Sprintf("Date '%s' is not recognized", value)}
	case strings.Contains(text, "timestamp field"):
		return &Error{Code: "100035", State: "22007", Message: fmt.Sprintf("Timestamp '%s' is not recognized", value)}
	}
	value, _ = between(text, "'", "'")
	return &Error{Code: "100038", State: "22018", Message: fmt.Sprintf("Numeric value '%s' is not recognized", value)}
}

// between returns what stands between the first occurrence of before and the
// next one of after.
func between(s, before, after string) (string, bool) {
	_, s, ok := strings.Cut(s, before)
	if !ok {
		return "", false
	}
	return first(strings.Cut(s, after))
}

func first(s, _ string, ok bool) (string, bool) { return s, ok }
