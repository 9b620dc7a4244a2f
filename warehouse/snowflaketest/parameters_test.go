package snowflaketest_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse/snowflaketest"
)

// sqlRows returns the columns' names and the rows of a query, the values of a row with
// commas between them, or its failure.
func sqlRows(t *testing.T, s *snowflaketest.Server, query string, change ...func(*gosnowflake.Config)) (names []string, rows []string, err error) {
	t.Helper()
	conn, err := openDB(t, s, change...).Conn(t.Context())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = conn.Raw(func(c any) (err error) {
		result, err := c.(driver.QueryerContext).QueryContext(t.Context(), query, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, result.Close()) }()
		names = result.Columns()
		row := make([]driver.Value, len(names))
		for {
			if err := result.Next(row); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			cells := make([]string, len(row))
			for i, value := range row {
				if cells[i] = fmt.Sprint(value); value == nil {
					cells[i] = "<null>"
				}
			}
			rows = append(rows, strings.Join(cells, ","))
		}
	})
	return names, rows, err
}

// The session's value of a parameter goes before the user's, and that before the
// account's.
func TestParametersOfAccountAndUser(t *testing.T) {
	user := func(parameters map[string]string) []snowflaketest.User {
		return []snowflaketest.User{{Name: snowflaketest.DefaultUser, Password: snowflaketest.DefaultPassword,
			Roles: []string{snowflaketest.DefaultRole}, Warehouse: snowflaketest.DefaultWarehouse, Parameters: parameters}}
	}
	setTo := func(value string) func(*gosnowflake.Config) {
		return func(c *gosnowflake.Config) { c.Params["quoted_identifiers_ignore_case"] = &value }
	}
	yes, no := map[string]string{"QUOTED_IDENTIFIERS_IGNORE_CASE": "TRUE"}, map[string]string{"Quoted_Identifiers_Ignore_Case": "false"}
	for name, test := range map[string]struct {
		config snowflaketest.Config
		login  []func(*gosnowflake.Config)
		want   string
	}{
		"default":                 {snowflaketest.Config{}, nil, "Id"},
		"account":                 {snowflaketest.Config{Parameters: yes}, nil, "ID"},
		"user":                    {snowflaketest.Config{Users: user(yes)}, nil, "ID"},
		"user before account":     {snowflaketest.Config{Parameters: yes, Users: user(no)}, nil, "Id"},
		"session before account":  {snowflaketest.Config{Parameters: yes}, []func(*gosnowflake.Config){setTo("false")}, "Id"},
		"session before the user": {snowflaketest.Config{Users: user(no)}, []func(*gosnowflake.Config){setTo("true")}, "ID"},
	} {
		t.Run(name, func(t *testing.T) {
			names, _, err := sqlRows(t, newServer(t, test.config), `select x."Id" from (select 1 as "Id") as x`, test.login...)
			if err != nil || !slices.Equal(names, []string{test.want}) {
				t.Errorf("%q, %v", names, err)
			}
		})
	}
}

func TestStrangeAnswers(t *testing.T) {
	s := newServer(t, snowflaketest.Config{}, `create database DB; create table DB.PUBLIC.T (X int); insert into DB.PUBLIC.T values (7); create schema DB.OTHER; create table DB.OTHER.T (X int)`)
	for query, want := range map[string]string{
		`select array_construct(1, null, 'x')`:                         `[[1,undefined,"x"]]`,
		`select array_construct(null)`:                                 `[[undefined]]`,
		`select array_construct(parse_json('null'), null)`:             `[[null,undefined]]`,
		`select X from DB..T`:                                          `[7]`,
		`select t.X from "DB".."T" as t`:                               `[7]`,
		`select count(*) from DB..T a join DB.PUBLIC.T b on a.X = b.X`: `[1]`,
		`select X from DB..T where X < 0`:                              `[]`,
		`select '{"a":1}'::vector`:                                     `error`,
		`select array_construct(1, 2, 3)::vector(int, 3) where 1 = 0`:  `[]`,
	} {
		_, rows, err := sqlRows(t, s, query)
		for i := range rows {
			rows[i] = strings.Join(strings.Fields(rows[i]), "")
		}
		if got := fmt.Sprint(rows); err != nil && want != "error" || err == nil && got != want {
			t.Errorf("%s: %s, %v", query, got, err)
		}
	}
}
