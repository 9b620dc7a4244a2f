package snowflake

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

var (
	_ warehouse.Granter = (*Warehouse)(nil)
	_ warehouse.Waiter  = (*Warehouse)(nil)
)

// Describe implements [warehouse.Warehouse]. Snowflake compiles the statement
// and needs no virtual warehouse for it.
func (w *Warehouse) Describe(ctx context.Context, stmt warehouse.Statement) (*arrow.Schema, error) {
	result, err := w.Query(gosnowflake.WithDescribeOnly(ctx), stmt)
	if err != nil {
		return nil, err
	}
	return result.Schema(), result.Close()
}

// QueryWaits implements [warehouse.Waiter].
func (*Warehouse) QueryWaits() {}

// Grants implements [warehouse.Granter]. Snowflake has one message for what is
// missing and what is forbidden, on every level, so all levels are given; and
// as it does not say whether the name is a table's or a view's, both are.
func (w *Warehouse) Grants(table []string, role string) []warehouse.Grant {
	if len(table) != 3 || role == "" {
		return nil
	}
	var grants []warehouse.Grant
	add := func(privilege, kind string, parts []string) {
		object := kind + " " + quoteName(parts...)
		grants = append(grants, warehouse.Grant{
			Privilege: privilege,
			Object:    object,
			Statement: fmt.Sprintf("GRANT %s ON %s TO ROLE %s;", privilege, object, quoteName(role)),
		})
	}
	add("USAGE", "DATABASE", table[:1])
	add("USAGE", "SCHEMA", table[:2])
	add("SELECT", "TABLE", table)
	add("SELECT", "VIEW", table)
	return grants
}

// plainIdentifier needs no quotes: Snowflake folds it to upper case, which it
// is in already.
var plainIdentifier = regexp.MustCompile(`^[A-Z_][A-Z0-9_$]*$`)

func quoteName(parts ...string) string {
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = part
		if !plainIdentifier.MatchString(part) {
			quoted[i] = `"` + strings.ReplaceAll(part, `"`, `""`) + `"`
		}
	}
	return strings.Join(quoted, ".")
}
