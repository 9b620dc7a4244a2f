package snowflaketest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// timestampTZStruct stands for TIMESTAMP_TZ: the instant, and the offset of
// its zone in minutes. DuckDB's own TIMESTAMPTZ keeps no offset.
const timestampTZStruct = `STRUCT("$instant" TIMESTAMPTZ, "$offset" INTEGER)`

// macros are Snowflake's functions whose meaning depends on their argument's
// type. DuckDB picks a macro by typed parameters where one type alone fits; of
// a typeof it keeps the one branch that applies. They live in memory.main, which is on every session's search path.
const macros = `
CREATE MACRO memory.main.SF_TO_VARCHAR(x) AS CASE typeof(x)
	WHEN 'TIMESTAMP WITH TIME ZONE' THEN strftime(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMPTZ), '%Y-%m-%d %H:%M:%S.%g %z00')
	WHEN 'TIMESTAMP' THEN strftime(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')
	WHEN 'BLOB' THEN CASE getvariable('BINARY_OUTPUT_FORMAT') WHEN 'BASE64' THEN base64(TRY_CAST(CAST(x AS VARCHAR) AS BLOB))
		ELSE hex(TRY_CAST(CAST(x AS VARCHAR) AS BLOB)) END
	WHEN 'JSON' THEN TRY_CAST(CAST(x AS VARCHAR) AS JSON)->>'$'
	ELSE CAST(x AS VARCHAR) END;
CREATE MACRO memory.main.SF_TO_BINARY
	(x BLOB) AS x,
	(x VARCHAR) AS CASE getvariable('BINARY_INPUT_FORMAT') WHEN 'BASE64' THEN from_base64(x)
		WHEN 'UTF-8' THEN encode(x) WHEN 'UTF8' THEN encode(x) ELSE unhex(x) END;
CREATE MACRO memory.main.SF_DATE_TRUNC
	(p, x DATE) AS CAST(date_trunc(p, x) AS DATE),
	(p, x TIMESTAMP) AS date_trunc(p, x),
	(p, x TIMESTAMPTZ) AS date_trunc(p, x),
	(p, x VARCHAR) AS date_trunc(p, CAST(x AS TIMESTAMP));
CREATE MACRO memory.main.SF_WEEK_BEGIN(x) AS
	CAST(date_trunc('week', CAST(x AS DATE) - coalesce(CAST(getvariable('WEEK_SHIFT') AS INTEGER), 0)) AS DATE) + coalesce(CAST(getvariable('WEEK_SHIFT') AS INTEGER), 0);
CREATE MACRO memory.main.SF_WEEK_TRUNC
	(x DATE) AS SF_WEEK_BEGIN(x),
	(x TIMESTAMP) AS CAST(SF_WEEK_BEGIN(x) AS TIMESTAMP),
	(x TIMESTAMPTZ) AS CAST(CAST(SF_WEEK_BEGIN(x) AS TIMESTAMP) AS TIMESTAMPTZ),
	(x VARCHAR) AS CAST(SF_WEEK_BEGIN(CAST(x AS TIMESTAMP)) AS TIMESTAMP);
CREATE MACRO memory.main.SF_YEAR_OF_WEEK(x) AS
	CASE WHEN getvariable('WEEK_OF_YEAR_POLICY') = '1' THEN year(CAST(x AS DATE)) ELSE year(SF_WEEK_BEGIN(x) + 3) END;
CREATE MACRO memory.main.SF_WEEK_NUMBER(x) AS
	CASE WHEN getvariable('WEEK_OF_YEAR_POLICY') = '1' THEN (SF_WEEK_BEGIN(x) - SF_WEEK_BEGIN(date_trunc('year', CAST(x AS DATE)))) // 7 + 1
	ELSE (dayofyear(SF_WEEK_BEGIN(x) + 3) - 1) // 7 + 1 END;
CREATE MACRO memory.main.SF_DAY_OF_WEEK(x) AS
	CASE WHEN getvariable('WEEK_START') = '0' THEN dayofweek(CAST(x AS DATE))
	ELSE (dayofweek(CAST(x AS DATE)) - CAST(getvariable('WEEK_START') AS INTEGER) + 7) % 7 + 1 END;
CREATE MACRO memory.main.SF_ADD_DAYS
	(x DATE, n) AS x + CAST(n AS INTEGER),
	(x TIMESTAMP, n) AS x + to_days(n),
	(x TIMESTAMPTZ, n) AS x + to_days(n),
	(x VARCHAR, n) AS CAST(x AS TIMESTAMP) + to_days(n);
CREATE MACRO memory.main.SF_ADD_MONTHS
	(x DATE, n) AS CAST(x + to_months(n) AS DATE),
	(x TIMESTAMP, n) AS x + to_months(n),
	(x TIMESTAMPTZ, n) AS x + to_months(n),
	(x VARCHAR, n) AS CAST(x AS TIMESTAMP) + to_months(n);
CREATE MACRO memory.main.SF_ZONE_MINUTES(x) AS
	date_diff('minute', x AT TIME ZONE 'UTC', CAST(x AS TIMESTAMP));
CREATE MACRO memory.main.SF_TEXT_ZONE_MINUTES(x) AS
	CASE WHEN regexp_matches(x, '[0-9]Z$') THEN 0
	WHEN regexp_matches(x, '[+-][0-9]{2}:[0-9]{2}$') THEN
		CAST(x[-6] || '1' AS INTEGER) * (60 * CAST(x[-5:-4] AS INTEGER) + CAST(x[-2:] AS INTEGER))
	ELSE SF_ZONE_MINUTES(CAST(x AS TIMESTAMPTZ)) END;
CREATE MACRO memory.main.SF_NORMAL_ZONE(x) AS
	regexp_replace(x, '([0-9]) *([+-])([0-9]{2}):?([0-9]{2})$', '\1\2\3:\4');
CREATE MACRO memory.main.SF_TO_TIMESTAMP_TZ
	(x VARCHAR) AS CASE WHEN x IS NOT NULL THEN {'$instant': CAST(SF_NORMAL_ZONE(x) AS TIMESTAMPTZ),
		'$offset': CAST(SF_TEXT_ZONE_MINUTES(SF_NORMAL_ZONE(x)) AS INTEGER)} END,
	(x TIMESTAMPTZ) AS CASE WHEN x IS NOT NULL THEN
		{'$instant': x, '$offset': CAST(SF_ZONE_MINUTES(x) AS INTEGER)} END;
CREATE MACRO memory.main.SF_TO_LTZ
	(x DATE) AS CAST(x AS TIMESTAMPTZ),
	(x TIMESTAMP) AS CAST(x AS TIMESTAMPTZ),
	(x TIMESTAMPTZ) AS x,
	(x VARCHAR) AS CAST(SF_NORMAL_ZONE(x) AS TIMESTAMPTZ),
	(x STRUCT("$instant" TIMESTAMPTZ, "$offset" INTEGER)) AS x."$instant";
`

// openDuckDB opens a database in memory. What does not fit there goes into a
// directory; left to itself DuckDB takes the one that the process runs in.
func openDuckDB(spill string) (*sql.DB, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	if _, err := db.Exec(`SET GLOBAL temp_directory = ` + quoteText(spill) + `; SET GLOBAL default_null_order = 'nulls_last_on_asc_first_on_desc'; ` + macros); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// prepareConn gives a connection what the session's settings mean in DuckDB.
func prepareConn(ctx context.Context, conn *sql.Conn, state sessionState) error {
	path := "memory.main"
	if state.names.schema != "" {
		path = quoteIdentifier(state.names.database) + "." + quoteIdentifier(state.names.schema) + "," + path
	}
	_, err := conn.ExecContext(ctx, "SET TimeZone = "+quoteText(state.params["TIMEZONE"])+
		"; SET search_path = "+quoteText(path)+
		"; SET VARIABLE WEEK_START = "+quoteText(state.params["WEEK_START"])+
		"; SET VARIABLE WEEK_SHIFT = "+strconv.Itoa(weekShift(state.params["WEEK_START"]))+
		"; SET VARIABLE WEEK_OF_YEAR_POLICY = "+quoteText(state.params["WEEK_OF_YEAR_POLICY"])+
		"; SET VARIABLE BINARY_INPUT_FORMAT = "+quoteText(strings.ToUpper(state.params["BINARY_INPUT_FORMAT"]))+
		"; SET VARIABLE BINARY_OUTPUT_FORMAT = "+quoteText(strings.ToUpper(state.params["BINARY_OUTPUT_FORMAT"])))
	return err
}

// weekShift is how many days after Monday weeks begin, by WEEK_START: 0 and 1 are
// Monday, 7 is Sunday.
func weekShift(weekStart string) int {
	day, err := strconv.Atoi(weekStart)
	if err != nil || day < 1 || day > 7 {
		return 0
	}
	return day - 1
}

// describe compiles a query and returns its columns.
func describe(ctx context.Context, conn *sql.Conn, query string, state sessionState) (columns []column, err error) {
	rows, err := conn.QueryContext(ctx, "DESCRIBE "+query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name, typ string
		var rest [4]any
		if err := rows.Scan(&name, &typ, &rest[0], &rest[1], &rest[2], &rest[3]); err != nil {
			return nil, err
		}
		col, err := columnOf(name, typ, state.params)
		if err != nil {
			return nil, err
		}
		columns = append(columns, col)
	}
	return columns, rows.Err()
}

// projection wraps a query so that every column comes in the form in which its
// encoder takes it, exactly: instants as numbers, semi-structured values as
// JSON text.
func projection(query string, columns []column) string {
	names := make([]string, len(columns))
	values := make([]string, len(columns))
	for i, col := range columns {
		names[i] = fmt.Sprintf("c%d", i)
		values[i] = strings.ReplaceAll(col.projection, "?", names[i])
	}
	return "SELECT " + strings.Join(values, ", ") + " FROM (" + query + ") AS t(" + strings.Join(names, ", ") + ")"
}

// checkEvery is after how many rows a reader looks whether it is still wanted.
const checkEvery = 2048

// eachRow runs a query and calls f with each row. The slice is used again for
// the next row.
func eachRow(ctx context.Context, conn *sql.Conn, query string, f func(row []driver.Value) error) error {
	return conn.Raw(func(c any) (err error) {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, query, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		row := make([]driver.Value, len(rows.Columns()))
		for n := 0; ; n++ {
			if n%checkEvery == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch err := rows.Next(row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			if err := f(row); err != nil {
				return err
			}
		}
	})
}
