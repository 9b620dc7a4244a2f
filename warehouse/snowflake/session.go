package snowflake

import (
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/sigmasource/sigmasource/warehouse"
)

var (
	_ warehouse.SessionInspector = (*Warehouse)(nil)
	_ warehouse.TableInspector   = (*Warehouse)(nil)
	_ warehouse.PolicyInspector  = (*Warehouse)(nil)
)

// InspectSession implements [warehouse.SessionInspector]. It needs no virtual
// warehouse.
func (w *Warehouse) InspectSession(ctx context.Context) (warehouse.Session, error) {
	if !w.begin() {
		return warehouse.Session{}, errClosed
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	stop := context.AfterFunc(w.lifetime, func() { end(errClosed) })
	defer stop()
	done := start(w, func() (warehouse.Session, error) {
		return inSession(ctx, w, func(session any) (warehouse.Session, error) { return w.inspect(ctx, session) })
	})
	select {
	case o := <-done:
		if o.err != nil {
			return warehouse.Session{}, translate(ctx, o.err)
		}
		return o.value, nil
	case <-ctx.Done():
		return warehouse.Session{}, ended(ctx)
	}
}

// inspect reads the names and the parameters of one session of the driver.
func (w *Warehouse) inspect(ctx context.Context, session any) (found warehouse.Session, err error) {
	querier, ok := session.(driver.QueryerContext)
	if !ok {
		return found, errors.New("snowflake: the driver runs no queries")
	}
	names, err := textRows(ctx, querier, `SELECT CURRENT_ROLE() AS "role", CURRENT_SECONDARY_ROLES() AS "secondary", CURRENT_DATABASE() AS "database", CURRENT_SCHEMA() AS "schema"`)
	if err != nil {
		return found, err
	}
	if len(names) != 1 {
		return found, &warehouse.Error{Kind: warehouse.KindIncomplete, Message: "Snowflake does not return the session's names"}
	}
	found.Role, found.Database, found.Schema = names[0]["role"], names[0]["database"], names[0]["schema"]
	found.SecondaryRoles = readSecondaryRoles(names[0]["secondary"])
	parameters, err := textRows(ctx, querier, "SHOW PARAMETERS IN SESSION")
	if err != nil {
		return found, err
	}
	set := w.config.loginParameters()
	for _, row := range parameters {
		name := strings.ToUpper(row["key"])
		if name == "" {
			return found, &warehouse.Error{Kind: warehouse.KindIncomplete, Message: "Snowflake returns a session parameter without a name"}
		}
		_, isSet := set[name]
		level := strings.ToUpper(row["level"])
		found.Parameters = append(found.Parameters, warehouse.SessionParameter{
			Name: name, Value: row["value"], Level: level, IsPinned: isSet && level == "SESSION", AffectsRows: affectsRows(name),
		})
	}
	slices.SortFunc(found.Parameters, func(a, b warehouse.SessionParameter) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// affectsRows reports whether a parameter may decide about rows or values. One that
// is not listed may.
func affectsRows(name string) bool {
	return !slices.ContainsFunc(sessionParameters, func(p sessionParameter) bool { return p.name == name && p.pinned == irrelevant })
}

// readSecondaryRoles reads the value of CURRENT_SECONDARY_ROLES, such as
// {"roles":"A,B","value":"ALL"}. A value of another form is returned as it is.
func readSecondaryRoles(value string) string {
	var roles struct{ Roles, Value string }
	if err := json.Unmarshal([]byte(value), &roles); err != nil {
		return value
	}
	if roles.Roles == "" && roles.Value == "" {
		return string(NoSecondaryRoles)
	}
	return cmp.Or(roles.Value, roles.Roles)
}

// textRows runs a statement and returns its rows, their values as text by the names
// of the columns in lower case.
func textRows(ctx context.Context, querier driver.QueryerContext, statement string) (all []map[string]string, err error) {
	rows, err := querier.QueryContext(ctx, statement, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns := rows.Columns()
	values := make([]driver.Value, len(columns))
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		row := map[string]string{}
		for i, value := range values {
			if value != nil {
				row[strings.ToLower(columns[i])] = fmt.Sprint(value)
			}
		}
		all = append(all, row)
	}
}

// LastAltered implements [warehouse.TableInspector], with one query for each
// database.
func (w *Warehouse) LastAltered(ctx context.Context, tables [][]string) ([]time.Time, error) {
	times := make([]time.Time, len(tables))
	databases := map[string][]int{} // positions of the tables
	for i, table := range tables {
		if len(table) != 3 {
			return nil, fmt.Errorf("snowflake: the name of table %d has %d parts instead of 3", i, len(table))
		}
		databases[table[0]] = append(databases[table[0]], i)
	}
	for _, database := range slices.Sorted(maps.Keys(databases)) {
		var conditions []string
		for _, i := range databases[database] {
			conditions = append(conditions, fmt.Sprintf("TABLE_SCHEMA = %s AND TABLE_NAME = %s", quoteText(tables[i][1]), quoteText(tables[i][2])))
		}
		// Epoch numbers do not depend on the session's time zone.
		found, err := w.rows(ctx, `SELECT TABLE_SCHEMA, TABLE_NAME, DATE_PART(epoch_second, LAST_ALTERED) FROM `+
			quoteName(database, "INFORMATION_SCHEMA", "TABLES")+" WHERE "+strings.Join(conditions, " OR "))
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			if row[2] == "" { // NULL
				continue
			}
			seconds, err := strconv.ParseInt(row[2], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("snowflake: read LAST_ALTERED: %w", err)
			}
			for _, i := range databases[database] {
				if tables[i][1] == row[0] && tables[i][2] == row[1] {
					times[i] = time.Unix(seconds, 0).UTC()
				}
			}
		}
	}
	return times, nil
}

// Policies implements [warehouse.PolicyInspector].
func (w *Warehouse) Policies(ctx context.Context, table []string) ([]warehouse.Policy, error) {
	if len(table) != 3 {
		return nil, fmt.Errorf("snowflake: the name of a table has %d parts instead of 3", len(table))
	}
	domain, err := w.policyDomain(ctx, table)
	if domain == "" || err != nil {
		return nil, err
	}
	found, err := w.rows(ctx, "SELECT POLICY_KIND, POLICY_DB, POLICY_SCHEMA, POLICY_NAME, REF_COLUMN_NAME FROM TABLE("+
		quoteName(table[0], "INFORMATION_SCHEMA", "POLICY_REFERENCES")+"(REF_ENTITY_NAME => "+quoteText(quoteName(table...))+", REF_ENTITY_DOMAIN => "+quoteText(domain)+"))")
	if err != nil {
		return nil, err
	}
	var policies []warehouse.Policy
	for _, row := range found {
		var path []string
		for _, part := range row[1:4] {
			if part != "" {
				path = append(path, part)
			}
		}
		policies = append(policies, warehouse.Policy{Kind: row[0], Name: quoteName(path...), Column: row[4]})
	}
	return policies, nil
}

// policyDomain returns what POLICY_REFERENCES calls the kind of a table: table or view.
// It is empty where the role does not see the table.
func (w *Warehouse) policyDomain(ctx context.Context, table []string) (string, error) {
	found, err := w.rows(ctx, "SELECT TABLE_TYPE FROM "+quoteName(table[0], "INFORMATION_SCHEMA", "TABLES")+
		" WHERE TABLE_SCHEMA = "+quoteText(table[1])+" AND TABLE_NAME = "+quoteText(table[2]))
	switch {
	case err != nil || len(found) == 0:
		return "", err
	case strings.Contains(found[0][0], "VIEW"): // VIEW, MATERIALIZED VIEW
		return "view", nil
	}
	return "table", nil
}

// rows returns the rows of a small query as text, a NULL as empty text.
func (w *Warehouse) rows(ctx context.Context, sql string) (all [][]string, err error) {
	result, err := w.Query(ctx, warehouse.Statement{SQL: sql})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	for {
		batch, err := result.Next(ctx)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range int(batch.NumRows()) {
			row := make([]string, batch.NumCols())
			for j, column := range batch.Columns() {
				row[j] = textOf(column, i)
			}
			all = append(all, row)
		}
		batch.Release()
	}
}

// textOf returns a value as text that stays when its batch is released.
func textOf(column arrow.Array, row int) string {
	if column.IsNull(row) || column.DataType().ID() == arrow.NULL {
		return ""
	}
	if decimal, ok := column.(*array.Decimal128); ok {
		return decimal.Value(row).ToString(decimal.DataType().(*arrow.Decimal128Type).Scale)
	}
	return strings.Clone(column.ValueStr(row))
}

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}
