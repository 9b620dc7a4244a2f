package snowflake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

// failures holds what Snowflake's and the driver's error numbers mean. A
// failure without a message gets one from its text, by name only.
var failures = map[int]struct {
	kind    warehouse.Kind
	message string
}{
	390100: {warehouse.KindCredentials, "Snowflake refuses the user name or the password"},
	390101: {warehouse.KindCredentials, "Snowflake says that the user's account is disabled"},
	390102: {warehouse.KindCredentials, "Snowflake says that the user is locked"},
	390144: {warehouse.KindCredentials, "Snowflake refuses the key pair: is its public half set for the user?"},
	390303: {warehouse.KindCredentials, "Snowflake refuses the OAuth token"},
	390318: {warehouse.KindCredentials, "the OAuth token has expired"},
	394300: {warehouse.KindCredentials, "Snowflake refuses the programmatic access token"},
	394400: {warehouse.KindCredentials, "Snowflake refuses the programmatic access token"},
	390422: {warehouse.KindConfiguration, "a network policy of the account does not admit this service's address"},
	390189: {warehouse.KindConfiguration, "the role does not exist or is not granted to the user"},
	390201: {warehouse.KindConfiguration, "the database, schema or warehouse does not exist or is not granted to the role"},
	390111: {warehouse.KindUnavailable, "the session is gone"},
	390112: {warehouse.KindUnavailable, "the session has expired"},
	390114: {warehouse.KindUnavailable, "the session has expired"},
	390195: {warehouse.KindUnavailable, "the session has expired"},

	606:  {warehouse.KindConfiguration, "no warehouse runs: name one that the role may use, and that can resume"},
	604:  {warehouse.KindCancelled, "the query was cancelled in Snowflake"},
	630:  {warehouse.KindTimeout, "the query reached the statement timeout"},
	8:    {warehouse.KindInvalidSQL, "the statement is not a single one"},
	900:  {warehouse.KindInvalidSQL, "the statement is empty"},
	904:  {warehouse.KindInvalidSQL, ""},
	1003: {warehouse.KindInvalidSQL, ""},
	2003: {warehouse.KindPermission, ""},
	2043: {warehouse.KindPermission, ""},
	3001: {warehouse.KindPermission, ""},

	// Of the driver itself.
	gosnowflake.ErrCodeFailedToConnect:    {warehouse.KindConfiguration, "the account does not exist at this address"},
	gosnowflake.ErrFailedToAuth:           {warehouse.KindConfiguration, "the account does not exist at this address"},
	gosnowflake.ErrCodeServiceUnavailable: {warehouse.KindUnavailable, "Snowflake is not available"},
	gosnowflake.ErrFailedToPostQuery:      {warehouse.KindUnavailable, "Snowflake does not take the statement"},
	gosnowflake.ErrFailedToRenewSession:   {warehouse.KindUnavailable, "Snowflake does not renew the session"},
	gosnowflake.ErrFailedToGetChunk:       {warehouse.KindUnavailable, "a part of the result cannot be fetched"},
}

// sessionLost holds the numbers of errors that a new session cures.
var sessionLost = map[int]bool{390111: true, 390112: true, 390114: true, 390195: true}

// states holds what the classes of SQLSTATE mean, where the number is unknown.
var states = map[string]struct {
	kind    warehouse.Kind
	message string
}{
	"22": {warehouse.KindData, "a value cannot be converted or is out of range"},
	"42": {warehouse.KindInvalidSQL, "the statement does not compile"},
	"02": {warehouse.KindPermission, "an object does not exist or is not granted to the role"},
	"08": {warehouse.KindUnavailable, "the connection to Snowflake failed"},
	"53": {warehouse.KindThrottled, "Snowflake has no resources left for the query"},
	"57": {warehouse.KindCancelled, "the query was cancelled in Snowflake"},
}

var (
	identifier    = regexp.MustCompile(`invalid identifier '([^']+)'`)
	position      = regexp.MustCompile(`line (\d+) at position (\d+)`)
	missingObject = regexp.MustCompile(`(?s)(\w+) '?([^'\n]+?)'? does not exist or not authorized`)
	privilege     = regexp.MustCompile(`Insufficient privileges to operate on (\w+) '([^']+)'`)
	missingRole   = regexp.MustCompile(`Role '([^']+)'`)
)

// translate makes a warehouse error or the context's of what the driver returned.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var known *warehouse.Error
	if errors.As(err, &known) {
		return err
	}
	var choice *choiceError
	if errors.As(err, &choice) {
		return choice.err
	}
	var failure *gosnowflake.SnowflakeError
	if errors.As(err, &failure) {
		return translateFailure(failure)
	}
	e := &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "Snowflake gives no answer", Err: withoutURL(err)}
	if errors.Is(err, errRedirected) {
		e.Kind, e.Message = warehouse.KindConfiguration, "the host redirects to another one, which is not followed: is the URL right?"
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		e.Kind, e.Object, e.Message = warehouse.KindConfiguration, dns.Name, "there is no such host: is the account right?"
	}
	return e
}

// withoutURL takes the address out of an error: a chunk's is signed, and opens
// the data to whoever reads it in a log.
func withoutURL(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

func translateFailure(failure *gosnowflake.SnowflakeError) *warehouse.Error {
	e := &warehouse.Error{
		Code: fmt.Sprintf("%06d", failure.Number), State: failure.SQLState, QueryID: failure.QueryID,
		Kind: warehouse.KindUnknown, Message: "Snowflake failed", Err: failure,
	}
	if meaning, ok := states[first(failure.SQLState, 2)]; ok {
		e.Kind, e.Message = meaning.kind, meaning.message
	}
	if failure.Number >= 390100 && failure.Number < 395000 {
		e.Kind, e.Message = warehouse.KindCredentials, "Snowflake refuses the login"
	}
	if meaning, ok := failures[failure.Number]; ok {
		e.Kind, e.Message = meaning.kind, meaning.message
	}
	name(e, failure.Message)
	return e
}

// name adds the names in Snowflake's text: of objects, roles and columns, and
// positions, but never of the text itself, which may quote values.
func name(e *warehouse.Error, text string) {
	switch m := missingObject.FindStringSubmatch(text); {
	case e.Kind == warehouse.KindPermission && m != nil:
		e.Object = m[2]
		e.Message = fmt.Sprintf("%s %s does not exist or is not granted to the role", strings.ToLower(m[1]), m[2])
	case e.Kind == warehouse.KindPermission && e.Message == "":
		e.Message = "an object does not exist or is not granted to the role"
	}
	if m := privilege.FindStringSubmatch(text); m != nil {
		e.Kind, e.Object = warehouse.KindPermission, m[2]
		e.Message = fmt.Sprintf("the role lacks a privilege on the %s %s", m[1], m[2])
	}
	if m := missingRole.FindStringSubmatch(text); m != nil && e.Kind == warehouse.KindConfiguration {
		e.Object = m[1]
	}
	if e.Kind != warehouse.KindInvalidSQL {
		return
	}
	if m := identifier.FindStringSubmatch(text); m != nil {
		e.Message = "the statement names " + m[1] + ", which does not exist"
	}
	if e.Message == "" {
		e.Message = "the statement does not compile"
	}
	if m := position.FindStringSubmatch(text); m != nil {
		e.Message += fmt.Sprintf(" (line %s, position %s)", m[1], m[2])
	}
}

func first(s string, n int) string { return s[:min(n, len(s))] }

// ended returns why the context of a read has ended.
func ended(ctx context.Context) error {
	for _, known := range []error{errClosed, errPartsClosed, context.DeadlineExceeded} {
		if errors.Is(context.Cause(ctx), known) {
			return known
		}
	}
	return ctx.Err()
}
