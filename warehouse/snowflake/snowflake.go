// Package snowflake reads a Snowflake account through gosnowflake, Snowflake's
// own driver.
//
// The driver logs in, renews tokens and runs statements. Results are taken as
// the Arrow streams that Snowflake made, chunk by chunk, counted against what
// Snowflake declared, and converted to canonical types without loss. What the
// driver would do besides is switched off: telemetry, configuration files,
// credential caches, logging, its shared library, and the search for a cloud.
//
// The package imports warehouse, Arrow and the driver, and nothing else of the
// service.
package snowflake

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
	_ "github.com/sigmasource/sigmasource/warehouse/snowflake/internal/quiet" // before the driver
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// Config tells how to reach and to log in to an account. Account, User and
// exactly one of KeyPair, Password, AccessToken and OAuthToken are required;
// OAuthToken needs no User.
type Config struct {
	Account string // "organization-account" or "locator.region"

	// Host, Port and Protocol replace the address that follows from Account.
	// Protocol is "https" or, for a loopback host only, "http".
	Host     string
	Port     int
	Protocol string

	User      string
	Role      string // empty: the user's default, as for the following three
	Warehouse string
	Database  string
	Schema    string

	KeyPair     *KeyPair
	Password    string
	AccessToken string // a programmatic access token
	OAuthToken  string

	TimeZone         string         // IANA name of the sessions' zone; empty: UTC
	SecondaryRoles   SecondaryRoles // of the sessions
	WeekStart        *int           // the parameter WEEK_START; nil: the user's or the account's
	WeekOfYearPolicy *int           // the parameter WEEK_OF_YEAR_POLICY; nil: the user's or the account's

	StatementTimeout time.Duration    // after which Snowflake ends a query, in whole seconds; 0: the account's setting
	ReadTimeout      time.Duration    // for which a download may stand still; 0: one minute
	MaxSessions      int              // and so of queries that run at once, others wait; 0: 8
	Allocator        memory.Allocator // of the batches; nil: memory.DefaultAllocator

	SchemaCheck SchemaCheck  // of chunks; empty: strict
	Logger      *slog.Logger // of differences between schemas; nil: none

	// WrapTransport returns the transport of the driver's requests, around the one
	// that it gets. Nil: that one.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// SecondaryRoles names the secondary roles that a session activates.
type SecondaryRoles string

// The secondary roles that a session can activate.
const (
	DefaultSecondaryRoles SecondaryRoles = ""     // those that are set for the user
	NoSecondaryRoles      SecondaryRoles = "NONE" // only the grants of the role count
	AllSecondaryRoles     SecondaryRoles = "ALL"  // the grants of all roles of the user count
)

const (
	defaultReadTimeout = time.Minute
	defaultMaxSessions = 8

	// sessionIdle is how long an unused session is kept. Snowflake itself ends
	// one after four hours.
	sessionIdle = 30 * time.Minute
	// loginTimeout bounds the driver's repetitions of a login.
	loginTimeout = 20 * time.Second
	// maxRetries is how often the driver repeats a request that failed in passing.
	maxRetries = 4
	// noTimeout is none, where the driver takes 0 for its default of 15 minutes,
	// within which a slow reader may not have read a chunk. A long one is no way
	// out: net/http keeps a goroutine for it until the answer's body is closed,
	// and the driver forgets to close it if the context ends as the answer comes.
	noTimeout = -1
)

// Warehouse is a Snowflake account seen as one user and role, through a pool
// of sessions. It implements [warehouse.Warehouse].
type Warehouse struct {
	config    Config
	db        *sql.DB
	transport http.RoundTripper // the driver's
	zone      *time.Location    // of the sessions

	wait func(context.Context, time.Duration) error // between two downloads of a chunk

	schemas schemaLog

	// lifetime ends when the warehouse is closed, and with it every open result.
	lifetime context.Context
	end      context.CancelCauseFunc

	mu       sync.Mutex
	closed   bool
	requests sync.WaitGroup // statements that the driver is busy with
}

var _ warehouse.Warehouse = (*Warehouse)(nil)

var errClosed = &warehouse.Error{Kind: warehouse.KindUnavailable, Message: "the warehouse is closed"}

// Open checks config and returns its warehouse. It makes no call; the first
// use logs in.
func Open(config Config) (*Warehouse, error) {
	driverConfig, err := config.driverConfig()
	if err != nil {
		return nil, err
	}
	session, err := zone.Load(cmp.Or(config.TimeZone, "UTC"))
	if err != nil {
		return nil, err
	}
	config.Allocator = cmp.Or[memory.Allocator](config.Allocator, memory.DefaultAllocator)
	db := sql.OpenDB(connector{driverConfig, config.SecondaryRoles})
	db.SetMaxOpenConns(cmp.Or(config.MaxSessions, defaultMaxSessions))
	db.SetMaxIdleConns(cmp.Or(config.MaxSessions, defaultMaxSessions))
	db.SetConnMaxIdleTime(sessionIdle)
	logger := cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	lifetime, end := context.WithCancelCause(context.Background())
	return &Warehouse{schemas: schemaLog{logger: logger}, config: config, db: db, transport: driverConfig.Transporter, zone: session, wait: sleep, lifetime: lifetime, end: end}, nil
}

// driverConfig returns the driver's form of the configuration.
func (c Config) driverConfig() (gosnowflake.Config, error) {
	address, err := c.address()
	if err != nil {
		return gosnowflake.Config{}, err
	}
	driverConfig := gosnowflake.Config{
		Account: address.account, Host: address.host, Port: address.port, Protocol: address.protocol,
		User: c.User, Role: c.Role, Warehouse: c.Warehouse, Database: c.Database, Schema: c.Schema,
		Params:                    c.loginParameters(),
		Application:               "sigmasource",
		ValidateDefaultParameters: gosnowflake.ConfigBoolTrue,
		//lint:ignore SA1019 this version has no other way
		LoginTimeout: loginTimeout,
		//lint:ignore SA1019 this version has no other way
		ClientTimeout: noTimeout,
		MaxRetryCount: maxRetries,
		Transporter:   c.transport(),
		//lint:ignore SA1019 the session parameter alone lets the login be reported
		DisableTelemetry: true,
	}
	return driverConfig, c.authenticate(&driverConfig)
}

// connector gives up a login at the first failure of the network. One whose caller
// has left goes on for a while, and the pool keeps its session: Snowflake would keep
// the session of a login that is cut off for hours, and nobody could log out of it.
// No caller waits for that, see [Warehouse.Query].
//
// Each login has session parameters of its own: the driver writes what an answer
// says about the account's parameters into the map that it got, and would set all
// of them at the next login with that map.
type connector struct {
	config gosnowflake.Config
	roles  SecondaryRoles
}

// Driver implements [driver.Connector].
func (connector) Driver() driver.Driver { return gosnowflake.SnowflakeDriver{} }

// Connect implements [driver.Connector]. The pool calls it in goroutines of its own,
// so that a panic on the answer must end here.
func (c connector) Connect(ctx context.Context) (conn driver.Conn, err error) {
	defer recoverTo(&err)
	login, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(farewellTimeout, func() { giveUp(ctx.Err()) })
	})
	defer stop()
	config := c.config
	config.Params = maps.Clone(config.Params)
	conn, err = gosnowflake.NewConnector(gosnowflake.SnowflakeDriver{}, config).Connect(context.WithValue(login, giveUpKey{}, giveUp))
	var network *networkError
	if err != nil && errors.As(context.Cause(login), &network) {
		err = network
	}
	if err != nil {
		return nil, refusedParameter(err)
	}
	if err := checkZone(config.Params); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if c.roles == DefaultSecondaryRoles {
		return conn, nil
	}
	return activate(login, conn, c.roles)
}

// Numbers of Snowflake's errors below it are about statements, and a login has no
// other statement than its parameters.
const firstLoginError = 10_000

// refusedParameter explains the failure of a login whose session parameters Snowflake
// refuses, and returns all others as they are.
func refusedParameter(err error) error {
	var failure *gosnowflake.SnowflakeError
	if !errors.As(err, &failure) || failure.Number <= 0 || failure.Number >= firstLoginError {
		return err
	}
	e := translateFailure(failure)
	e.Kind, e.Message = warehouse.KindConfiguration, "Snowflake refuses a parameter of the session: is the time zone one that Snowflake knows?"
	return e
}

// checkZone compares the time zone of a login with that in Snowflake's answer, which
// the driver writes into the same map under the name in lower case. In another zone
// each day would have other rows.
func checkZone(parameters map[string]*string) error {
	want, got := parameters["TIMEZONE"], parameters["timezone"]
	if want == nil || got == nil || strings.EqualFold(*want, *got) {
		return nil
	}
	return &warehouse.Error{Kind: warehouse.KindConfiguration, Object: *want,
		Message: fmt.Sprintf("the session is in the time zone %q instead of %q: does Snowflake know it?", *got, *want)}
}

// activate sets the secondary roles of a session. A login has no parameter for them.
// Where Snowflake refuses them, the session ends.
func activate(ctx context.Context, conn driver.Conn, roles SecondaryRoles) (driver.Conn, error) {
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("snowflake: the driver runs no statements"), conn.Close())
	}
	_, err := execer.ExecContext(ctx, "USE SECONDARY ROLES "+string(roles), nil)
	if err == nil {
		return conn, nil
	}
	var failure *gosnowflake.SnowflakeError
	if errors.As(err, &failure) && failure.SQLState != "" {
		e := translateFailure(failure)
		e.Kind, e.Message = warehouse.KindConfiguration, fmt.Sprintf("Snowflake refuses the secondary roles %s: does a session policy forbid them?", roles)
		err = e
	}
	return nil, errors.Join(err, conn.Close())
}

// Identify implements [warehouse.Warehouse].
func (w *Warehouse) Identify(ctx context.Context) (id warehouse.Identity, err error) {
	result, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT CURRENT_ACCOUNT(), CURRENT_ORGANIZATION_NAME() || '-' || CURRENT_ACCOUNT_NAME(), CURRENT_USER(), CURRENT_ROLE(), " +
		"CURRENT_WAREHOUSE(), CURRENT_DATABASE(), CURRENT_SCHEMA(), CURRENT_VERSION()"})
	if err != nil {
		return id, err
	}
	defer func() {
		if closeErr := result.Close(); err == nil {
			err = closeErr
		}
	}()
	batch, err := result.Next(ctx)
	if err != nil {
		if err == io.EOF {
			err = &warehouse.Error{Kind: warehouse.KindIncomplete, QueryID: result.QueryID(), Message: "Snowflake does not say who we are"}
		}
		return id, err
	}
	defer batch.Release()
	for i, field := range []*string{&id.Account, &id.QualifiedAccount, &id.User, &id.Role, &id.Warehouse, &id.Database, &id.Schema, &id.Version} {
		if column := batch.Column(i); column.IsValid(0) {
			*field = strings.Clone(column.ValueStr(0)) // the batch's memory serves again
		}
	}
	return id, nil
}

// Probe implements [warehouse.Warehouse]. A query that reads no table and
// generates no row runs without a virtual warehouse, and would show nothing.
func (w *Warehouse) Probe(ctx context.Context) error {
	result, err := w.Query(ctx, warehouse.Statement{SQL: "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 1))"})
	if err != nil {
		return err
	}
	return warehouse.Drain(ctx, result)
}

// Close implements [warehouse.Warehouse]. It waits until running statements
// are aborted, which the transport bounds, and logs out.
func (w *Warehouse) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.end(errClosed)
	w.requests.Wait()
	if count := w.SchemaDifferences(); count > 0 {
		w.schemas.logger.Info("schemas of Snowflake chunks differed from the columns of their results", "differences", count)
	}
	return w.db.Close()
}
