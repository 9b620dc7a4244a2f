package snowflaketest

import (
	"crypto/rsa"
	"strings"
	"time"
)

// What a [Server] made from an empty [Config] knows.
const (
	DefaultAccount   = "TESTORG-TESTACCOUNT"
	DefaultLocator   = "TS00001"
	DefaultUser      = "TESTUSER"
	DefaultPassword  = "testpassword"
	DefaultRole      = "TESTROLE"
	DefaultWarehouse = "TESTWAREHOUSE"
)

// Config describes an account. The zero value is an account with one user,
// one role that reads everything and one warehouse, named by the Default
// constants. Names are compared without regard to case, as unquoted
// identifiers are.
type Config struct {
	Account    string // by its organization's name and its own: ORG-NAME
	Locator    string // its other name
	Users      []User
	Roles      []Role   // roles that users have but that are not listed here read everything
	Warehouses []string // all running

	// Parameters are session parameters of the account, which hold where neither
	// the user nor the session has another value. The server honours TIMEZONE,
	// QUOTED_IDENTIFIERS_IGNORE_CASE, STRICT_JSON_OUTPUT, JSON_INDENT,
	// BINARY_INPUT_FORMAT, BINARY_OUTPUT_FORMAT, GEOGRAPHY_OUTPUT_FORMAT,
	// GEOMETRY_OUTPUT_FORMAT, ROWS_PER_RESULTSET, STATEMENT_TIMEOUT_IN_SECONDS,
	// WEEK_START, WEEK_OF_YEAR_POLICY and GO_QUERY_RESULT_FORMAT.
	// SHOW PARAMETERS IN SESSION shows all of them.
	Parameters map[string]string

	// Policies hide rows or change values of tables.
	Policies []Policy

	// InlineRows is how many rows come within the answer to a query; the rest
	// comes in chunks. 0 means 1,000, a negative number none.
	InlineRows int
	// ChunkRows is how many rows a chunk holds at most. 0 means 50,000.
	ChunkRows int
	// BatchRows is how many rows a record batch holds at most. 0 means 5,000.
	BatchRows int
	// GzipChunks compresses chunks, as Snowflake mostly does.
	GzipChunks bool

	// InProgressAfter is how long a request waits for its query before it
	// answers that the query still runs. 0 means 45 s, as Snowflake does.
	InProgressAfter time.Duration

	// Faults are in force from the start; see [Server.SetFaults].
	Faults Faults
}

// User may log in with any of the credentials it has.
type User struct {
	Name         string
	Password     string
	PublicKeys   []*rsa.PublicKey // key pair authentication
	AccessTokens []string         // programmatic access tokens
	OAuthTokens  []string

	Roles     []string // the first one is the default role
	Warehouse string   // default warehouse, may be empty
	Database  string   // default database, may be empty
	Schema    string   // default schema, may be empty

	// SecondaryRoles is whether all other roles are active besides the first: ALL or
	// NONE. Empty is NONE.
	SecondaryRoles string

	Parameters map[string]string // as Config.Parameters, of this user
}

// Policy is a row access policy or, with a column, a masking policy, of a table that
// statements name in full or behind FROM or JOIN.
type Policy struct {
	Name  string // DATABASE.SCHEMA.NAME
	Table string // DATABASE.SCHEMA.TABLE
	// Rows is a condition in Snowflake's dialect over the columns of the table. Rows
	// without it are hidden. It may call CURRENT_ROLE and IS_ROLE_IN_SESSION.
	Rows string
	// Column is shown as Value, an expression like Rows.
	Column, Value string
	// IsHidden keeps the policy out of POLICY_REFERENCES.
	IsHidden bool
}

// Role may read tables.
type Role struct {
	Name string
	// Select lists what the role may read: "DB.SCHEMA.TABLE", "DB.SCHEMA.*",
	// "DB.*" or "*".
	Select []string
}

func (c Config) withDefaults() Config {
	if c.Account == "" {
		c.Account = DefaultAccount
	}
	if c.Locator == "" {
		c.Locator = DefaultLocator
	}
	if len(c.Warehouses) == 0 {
		c.Warehouses = []string{DefaultWarehouse}
	}
	if len(c.Users) == 0 {
		c.Users = []User{{Name: DefaultUser, Password: DefaultPassword, Roles: []string{DefaultRole},
			Warehouse: c.Warehouses[0]}}
	}
	switch {
	case c.InlineRows == 0:
		c.InlineRows = 1_000
	case c.InlineRows < 0:
		c.InlineRows = 0
	}
	if c.ChunkRows <= 0 {
		c.ChunkRows = 50_000
	}
	if c.BatchRows <= 0 {
		c.BatchRows = 5_000
	}
	if c.InProgressAfter <= 0 {
		c.InProgressAfter = 45 * time.Second
	}
	return c
}

func (c Config) user(name string) (User, bool) {
	for _, u := range c.Users {
		if strings.EqualFold(u.Name, name) {
			return u, true
		}
	}
	return User{}, false
}

func containsFold(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
