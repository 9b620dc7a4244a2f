package connections

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/pool"
	"github.com/sigmasource/sigmasource/server/store"
	"github.com/sigmasource/sigmasource/sigmaclient"
	"github.com/sigmasource/sigmasource/sigmaclient/sigmasql"
	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/duckdb"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
	"github.com/sigmasource/sigmasource/warehouse/zone"
)

// statementTimeout is after how long Snowflake ends a query by itself, should
// this process be gone and nobody left to cancel it.
const statementTimeout = time.Hour

// Opener makes Sigma clients and warehouses out of a connection's settings,
// within what the operator allows.
type Opener struct {
	// Sigma holds the tokens and limits that all clients share.
	Sigma *sigmaclient.Service
	// Hosts are the hosts that the operator admits besides Snowflake's own. Nil
	// admits none.
	Hosts *sigmaclient.Hosts
	// WrapSnowflake wraps the transport of the requests to Snowflake. Nil leaves it
	// as it is.
	WrapSnowflake func(http.RoundTripper) http.RoundTripper
	// SnowflakeSchemaCheck is how reads treat a chunk of Snowflake whose own schema
	// contradicts the columns of its result. Empty means strict.
	SnowflakeSchemaCheck snowflake.SchemaCheck
	// DuckDBDir is the folder of DuckDB files. Empty refuses DuckDB warehouses.
	DuckDBDir string
	// ReadTimeout is for how long a download from a warehouse may stand still. 0
	// leaves it to the adapter.
	ReadTimeout time.Duration
	// AllowTimeZoneMismatch lets all connections read although dates in Sigma's SQL
	// contradict their time zone, as Connection.allow_time_zone_mismatch does for one.
	AllowTimeZoneMismatch bool
	Logger                *slog.Logger
}

// Open makes no call: it only checks the settings.
func (o *Opener) Open(connection *pb.Connection, secrets *store.Secrets) (*Link, error) {
	client, err := o.Sigma.Client(sigmaclient.Credentials{
		BaseURL:        connection.GetSigma().GetBaseUrl(),
		ClientID:       connection.GetSigma().GetClientId(),
		ClientSecret:   sigmaclient.Secret(secrets.SigmaClientSecret),
		OrganizationID: connection.GetOrganizationId(),
	})
	if err != nil {
		return nil, hostError("connection.sigma.base_url", err)
	}
	link := &Link{
		Connection: connection, Sigma: client, allowTimeZoneMismatch: o.AllowTimeZoneMismatch,
		identity: newCached[warehouse.Identity](0), session: newCached[warehouse.Session](sessionMaxAge), release: func() {},
	}
	if name := connection.GetSigma().GetTimeZone(); name != "" {
		if link.TimeZone, err = zone.Load(name); err != nil {
			return nil, errmap.InvalidField("connection.sigma.time_zone", "it is not the IANA name of a time zone; set a name such as America/New_York, with its capital letters, or leave it empty")
		}
	}
	switch kind := connection.GetWarehouse().GetKind().(type) {
	case *pb.Warehouse_Snowflake:
		link.Dialect = sigmasql.Snowflake
		link.Warehouse, err = o.openSnowflake(kind.Snowflake, secrets, connection.GetSigma().GetTimeZone())
	case *pb.Warehouse_Duckdb:
		link.Dialect = sigmasql.DuckDB
		link.Warehouse, err = o.openDuckDB(kind.Duckdb, connection.GetSigma().GetTimeZone())
	default:
		err = errmap.InvalidField("connection.warehouse", "name a kind of warehouse")
	}
	if err != nil {
		return nil, err
	}
	return link, nil
}

func (o *Opener) openSnowflake(w *pb.SnowflakeWarehouse, secrets *store.Secrets, timeZone string) (warehouse.Warehouse, error) {
	config := snowflake.Config{
		Account:          w.GetAccount(),
		User:             w.GetUser(),
		Role:             w.GetRole(),
		Warehouse:        w.GetWarehouse(),
		Database:         w.GetDatabase(),
		Schema:           w.GetSchema(),
		TimeZone:         timeZone,
		SecondaryRoles:   secondaryRoles[w.GetSecondaryRoles()],
		WeekStart:        intOf(w.WeekStart),
		WeekOfYearPolicy: intOf(w.WeekOfYearPolicy),
		StatementTimeout: statementTimeout,
		ReadTimeout:      o.ReadTimeout,
		WrapTransport:    o.WrapSnowflake,
		SchemaCheck:      o.SnowflakeSchemaCheck,
		Logger:           o.Logger,
		Allocator:        pool.Allocator{},
	}
	if w.GetUrl() != "" {
		u, err := o.Hosts.Check(w.GetUrl(), isSnowflakeHost)
		if err != nil {
			return nil, hostError("connection.warehouse.snowflake.url", err)
		}
		config.Host, config.Port, config.Protocol = u.Hostname(), port(u), u.Scheme
	}
	switch w.GetAuthenticationMethod() {
	case pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_KEY_PAIR:
		config.KeyPair = &snowflake.KeyPair{PEM: secrets.SnowflakePrivateKeyPEM, Passphrase: secrets.SnowflakePassphrase}
	case pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PASSWORD:
		config.Password = secrets.SnowflakePassword
	case pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_PROGRAMMATIC_ACCESS_TOKEN:
		config.AccessToken = secrets.SnowflakeToken
	case pb.SnowflakeAuthenticationMethod_SNOWFLAKE_AUTHENTICATION_METHOD_OAUTH_TOKEN:
		config.OAuthToken = secrets.SnowflakeToken
	}
	return snowflake.Open(config)
}

var secondaryRoles = map[pb.SnowflakeSecondaryRoles]snowflake.SecondaryRoles{
	pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_UNSPECIFIED: snowflake.DefaultSecondaryRoles,
	pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_NONE:        snowflake.NoSecondaryRoles,
	pb.SnowflakeSecondaryRoles_SNOWFLAKE_SECONDARY_ROLES_ALL:         snowflake.AllSecondaryRoles,
}

func intOf(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

// port is the URL's port, or 0 for its scheme's own.
func port(u *url.URL) int {
	n, err := strconv.Atoi(u.Port())
	if err != nil {
		return 0
	}
	return n
}

// isSnowflakeHost knows Snowflake's domains. An account's host lies directly
// under one, or under a region, a cloud or `privatelink`.
func isSnowflakeHost(host string) bool {
	return strings.HasSuffix(host, ".snowflakecomputing.com") || strings.HasSuffix(host, ".snowflakecomputing.cn")
}

// openDuckDB opens a file of the operator's folder. The contract's pattern for
// names leaves no way out of it; IsLocal guards against a change of that.
func (o *Opener) openDuckDB(w *pb.DuckDbWarehouse, timeZone string) (warehouse.Warehouse, error) {
	if o.DuckDBDir == "" {
		return nil, errmap.InvalidField("connection.warehouse.duckdb", "the operator of this server admits no DuckDB warehouses")
	}
	file := w.GetDatabase() + ".duckdb"
	if !filepath.IsLocal(file) || filepath.Base(file) != file {
		return nil, errmap.InvalidField("connection.warehouse.duckdb.database", "it is no plain name")
	}
	return duckdb.Open(duckdb.Config{Path: filepath.Join(o.DuckDBDir, file), TimeZone: timeZone, Allocator: pool.Allocator{}}), nil
}

func (o *Opener) close(w warehouse.Warehouse) {
	if err := w.Close(); err != nil {
		o.Logger.Warn("a warehouse did not close cleanly", "error", err.Error())
	}
}

// hostError names the field that holds a host that may not be called.
func hostError(field string, err error) error {
	var refused *sigmaclient.HostError
	if !errors.As(err, &refused) {
		return err
	}
	return &errmap.Error{
		Reason:  pb.ErrorReason_ERROR_REASON_HOST_NOT_ALLOWED,
		Message: field + ": " + refused.Problem,
		Fields:  []errmap.Field{{Path: field, Problem: refused.Problem}},
		Err:     err,
	}
}
