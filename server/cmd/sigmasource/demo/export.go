package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

// AddExports gives Sigma the rows of the company's tables, so that a table of the organization can be exported and compared
// with the warehouse. Sigma refuses the export of other elements, because this Sigma runs no SQL.
func AddExports(ctx context.Context, sigma *sigmatest.Server, db *sql.DB) error {
	exports := map[string][][]string{} // by the id of the first column
	for _, t := range []table{orders, customers, subscriptions, products, events, tickets, privateNotes} {
		rows, err := t.export(ctx, db)
		if err != nil {
			return fmt.Errorf("read %s for Sigma's export: %w", t.name, err)
		}
		exports[t.sigmaColumns()[0].ID] = rows
	}
	sigma.Change(func(o *sigmatest.Organization) {
		for _, workbook := range o.Workbooks {
			for _, page := range workbook.Pages {
				for i := range page.Elements {
					e := &page.Elements[i]
					if len(e.Columns) == 0 {
						continue
					}
					rows := exports[e.Columns[0].ID]
					e.Exported, e.NoExport = rows, rows == nil || len(rows[0]) != len(e.Columns)
				}
			}
		}
	})
	return nil
}

// export returns the table's rows as Sigma exports them: texts, with times in UTC and nulls as empty texts.
func (t table) export(ctx context.Context, db *sql.DB) (exported [][]string, err error) {
	var selected []string
	cells := make([]any, len(t.columns))
	for i, c := range t.columns {
		if c.sigmaType() == "datetime" {
			selected, cells[i] = append(selected, c.name), &sql.NullTime{}
		} else {
			selected, cells[i] = append(selected, c.name+"::varchar"), &sql.NullString{}
		}
	}
	rows, err := db.QueryContext(ctx, "select "+strings.Join(selected, ", ")+" from "+t.name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := rows.Scan(cells...); err != nil {
			return nil, err
		}
		texts := make([]string, len(cells))
		for i, cell := range cells {
			switch cell := cell.(type) {
			case *sql.NullString:
				texts[i] = cell.String
			case *sql.NullTime:
				if cell.Valid {
					texts[i] = cell.Time.UTC().Format(time.DateTime)
				}
			}
		}
		exported = append(exported, texts)
	}
	return exported, rows.Err()
}
