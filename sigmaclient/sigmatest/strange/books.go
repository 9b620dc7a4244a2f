package strange

import (
	"encoding/json"
	"fmt"

	"github.com/sigmasource/sigmasource/sigmaclient/sigmatest"
)

func books() []book {
	var all []book
	for _, of := range []func() []book{messages, constants, helpers, limits, words, sideCalls, sources, fields, states, sessions} {
		all = append(all, of()...)
	}
	return all
}

// due is a column whose value is a string constant.
func due(formula string) sigmatest.Column {
	return sigmatest.Column{ID: "due0000001", Label: "Due", Formula: formula}
}

// constant is an element whose column Due has a constant, below two renames.
func constant(value, formula string) model {
	return on(`select ID "Id", V_4 "Due" from (select ID, V_3 V_4 from (select ID, '`+value+`' V_3 from SHOP.SALES.T T{n}) Q1) Q2{n}`,
		" limit 1000", Rows, idColumn, due(formula))
}

// messages are the texts that Sigma's compiler leaves in the place of a value.
func messages() []book {
	var all []book
	for _, message := range []string{
		"Sum expected 1 argument(s), got 2", "Argument 2 invalid for function DateDiff", "Unknown function Foo",
		`Unknown column "[X]"`, "Unknown column [a1B2c3D4e5]", `Unknown column "X"`, "Column [a1B2c3D4e5] does not exist",
		"Reference to errored column: [a1B2c3D4e5]", "Column has a recursive formula.", "Incomplete formula.", "Circular column reference to [X]",
	} {
		all = append(all, strange("Message: "+message, constant(message, "Foo([T/Gone])").refused(Broken, "MODEL_BROKEN").finds(ColumnBroken)))
	}
	typed := on(`select ID "Id", V_3 "Due" from (select ID, null::text V_3 from SHOP.SALES.T T{n}) Q1{n}`, " limit 1000", Rows, idColumn,
		sigmatest.Column{ID: "due0000001", Label: "Due", Formula: "[T/Gone]", Type: "error"})
	return append(all, strange("Column of the type error", typed.refused(Broken, "MODEL_BROKEN").finds(ColumnBroken)))
}

// constants are texts that the author of an element wants.
func constants() []book {
	written := "select ID, 'Incomplete formula.' NOTE from SHOP.SALES.T limit 1000"
	custom := on(`select ID "Id", NOTE "Note" from (`+written+`) Q1{n}`, " limit 1000", 1000, idColumn,
		sigmatest.Column{ID: "note000001", Label: "Note", Formula: "[Custom SQL/Note]"})
	custom.element.CustomSQL = written
	return []book{
		strange("Author's constant that reads like a message", constant("Incomplete formula.", `"Incomplete formula."`).lacks(ColumnBroken, ColumnConstant).always("Due", "Incomplete formula.")),
		strange("Author's constant that names a function", constant("Unknown function Foo", `"Unknown function " & "Foo"`).lacks(ColumnBroken, ColumnConstant).always("Due", "Unknown function Foo")),
		strange("Author's constant with quotes", constant(`It''s "[X]"`, `"It's \"[X]\""`).lacks(ColumnBroken, ColumnConstant).always("Due", `It's "[X]"`)),
		strange("Constant of the context", constant("ann", "CurrentUserFullName()").lacks(ColumnBroken).always("Due", "ann")),
		strange("Constant of a control", constant("open", "[Status]").lacks(ColumnBroken).always("Due", "open")),
		strange("Constant that no formula explains", constant("A new kind of failure", "Foo([T/Name])").finds(ColumnConstant).lacks(ColumnBroken).always("Due", "A new kind of failure")),
		strange("Message in custom SQL", custom.lacks(ColumnBroken, LimitAmbiguous).finds(AuthorLimit).always("Note", "Incomplete formula.")),
	}
}

// helpers are outputs that are no columns of the element.
func helpers() []book {
	withOutput := func(label string, columns ...sigmatest.Column) model {
		return on(`select ID "Id", NAME "Name", AMOUNT "`+label+`" from (select ID, NAME, AMOUNT from SHOP.SALES.T T{n}) Q1 order by AMOUNT desc nulls last{n}`,
			" limit 1000", Rows, append([]sigmatest.Column{idColumn, nameColumn}, columns...)...)
	}
	helper := func(label string) book {
		return strange("Helper column "+label, withOutput(label).delivers("Id", "Name").lacks(ColumnUnlisted))
	}
	inode := sigmatest.Column{ID: "inode-1OthJJINXdZJdJoNgpV0qi/X", Label: "X", Formula: "[T/X]"}
	sorted := on(`select ID "Id", NAME "X", AMOUNT "sort-inode-1OthJJINXdZJdJoNgpV0qi/X-0" from (select * from SHOP.SALES.T T{n}) Q1{n}`, " limit 1000", Rows, idColumn, inode)
	twice := on(`select ID "Id", NAME "Name", AMOUNT "Name (1)" from (select * from SHOP.SALES.T T{n}) Q1{n}`, " limit 1000", Rows, idColumn, nameColumn,
		sigmatest.Column{ID: "name000002", Label: "Name", Formula: "[T/Amount]", Type: "number"})
	return []book{
		helper("sort-id00000001-0"), helper("sort-id00000001-12"), helper("sort-name000001"), helper("id00000001-min"), helper("name000001-max"), helper("__cond_1"),
		strange("Helper column of a table's column", sorted.delivers("Id", "X").lacks(ColumnUnlisted)),
		strange("User's column price-min", withOutput("price-min", sigmatest.Column{ID: "price00001", Label: "price-min", Formula: "[T/Amount]", Type: "number"}).lacks(ColumnUnlisted)),
		strange("User's column that spells a helper", withOutput("sort-id00000001-0", sigmatest.Column{ID: "price00001", Label: "sort-id00000001-0", Formula: "[T/Amount]", Type: "number"}).lacks(ColumnUnlisted)),
		strange("Output that is not listed", withOutput("Extra").delivers("Id", "Name", "Extra").finds(ColumnUnlisted)),
		strange("Output with the form of a helper and no column's id", withOutput("sort-zzzzzzzzzz-0").delivers("Id", "Name", "sort-zzzzzzzzzz-0").finds(ColumnUnlisted)),
		strange("Listed column that the SQL lacks", plain().edit(func(e *sigmatest.Element) {
			e.Columns = append(e.Columns, sigmatest.Column{ID: "hidden0001", Label: "Hidden", Formula: "[T/Hidden]"})
		}).finds(ColumnNotInSQL)),
		strange("Two columns of one label", twice.delivers("Id", "Name", "Name (1)").lacks(ColumnUnlisted)),
	}
}

// ambiguous sets what is true where a limit can be Sigma's or the author's. A
// default read has the rows of one of the two.
func (m model) ambiguous(kept, lifted, standard int) model {
	m.expect.Rows, m.expect.RowsKept, m.expect.RowsLifted = standard, kept, lifted
	if standard == kept {
		m.expect.Full = m.element.SQL
	}
	return m.finds(LimitAmbiguous)
}

func limits() []book {
	outer := func(limit, text string, rows int) model { return on(text, " limit "+limit, rows, idColumn) }
	const (
		inside = `select ID "Id" from (select ID from SHOP.SALES.%[1]s %[1]s{n}) Q1{n}`
		alone  = `select ID "Id" from (select ID from SHOP.SALES.T T) Q1{n}`
	)
	nested := func(limit, table string, rows int) model {
		return outer(limit, fmt.Sprintf(inside, table), rows).lacks(LimitAmbiguous).finds(PreviewLimitLifted)
	}
	custom := func(text string, rows int) model {
		m := outer("1000", `select ID "Id" from (`+text+`) Q1{n}`, rows).lacks(LimitAmbiguous)
		m.element.CustomSQL = text
		return m
	}
	ranked := on(`select ID "Id" from (select ID, rank() over (order by AMOUNT desc) RANK_5 from SHOP.SALES.T T{n}) Q1 where RANK_5 <= 15{n}`, " limit 100001", 15, idColumn)
	return []book{
		strange("Limit 1000 inside and outside", nested("1000", "T", Rows)),
		strange("Limit 1001 inside and outside", nested("1001", "T", Rows)),
		strange("Limit 201 inside and outside", nested("201", "T", Rows)),
		strange("Limit 97001 inside and outside", nested("97001", "LARGE", LargeRows)),
		strange("Limit 1000000 inside and outside", nested("1000000", "VAST", VastRows)),
		strange("Limit 1000 outside alone", outer("1000", alone, Rows).lacks(LimitAmbiguous)),
		strange("Limit 1001 outside alone", outer("1001", alone, Rows).ambiguous(1001, Rows, Rows)),
		strange("Limit 701 outside alone", outer("701", alone, Rows).ambiguous(701, Rows, Rows)),
		strange("Limit 500 outside alone", outer("500", alone, Rows).ambiguous(500, Rows, 500)),
		strange("Limit 999 outside alone", outer("999", alone, Rows).ambiguous(999, Rows, 999)),
		strange("Top 15 as a rank", ranked),
		strange("Custom SQL with a limit of 700", custom("select ID from SHOP.SALES.T order by ID limit 700", 700).finds(AuthorLimit)),
		strange("Custom SQL with Sigma's limit", custom("select ID from SHOP.SALES.T limit 1000", 1000).finds(AuthorLimit)),
		strange("Custom SQL with limits at two depths", custom("select ID from (select ID from SHOP.SALES.T limit 1001) X limit 900", 900).finds(AuthorLimit)),
		strange("Custom SQL without a limit", custom("select ID from SHOP.SALES.T where ID > 100", 1100)),
	}
}

// words are keywords that are none where they stand.
func words() []book {
	alias := func(table, alias string) model {
		return on(`select ID "Id" from (select ID from SHOP.SALES.`+table+` `+alias+`{n}) Q1{n}`, " limit 1000", Rows, idColumn)
	}
	written := on(`select ID "Id", NAME "Name" from (select * from SHOP.SALES.T T{n}) Q1{n}`, " limit 1000", Rows, idColumn, nameColumn)
	text, err := json.Marshal(written.element.SQL + ` -- Sigma Σ {"sourceUrl":"https://app.sigmacomputing.com/strange","kind":"adhoc","request-id":"r","email":"owner@example.com"}`)
	if err != nil {
		panic("strange: " + err.Error())
	}
	return []book{
		strange("group by all", on(`select NAME "Name", count(1) "Count" from SHOP.SALES.T group by all{n}`, " limit 1000", Rows, nameColumn,
			sigmatest.Column{ID: "count00001", Label: "Count", Formula: "Count()", Type: "number"})),
		strange("order by all", on(`select ID "Id" from SHOP.SALES.T order by all{n}`, " limit 1000", Rows, idColumn)),
		strange("Alias OVER", alias(`"OVER"`, "OVER")),
		strange("Alias ESCAPE", alias("ESCAPE", "ESCAPE")),
		strange("Alias LAST", alias("T", "LAST")),
		strange("Column named LIMIT", on(`select "LIMIT" "Id" from (select ID "LIMIT" from SHOP.SALES.T T{n}) Q1{n}`, " limit 1000", Rows, idColumn)),
		strange("Literal that spells a limit", on(`select ID "Id" from SHOP.SALES.T where NAME <> 'x limit 5'{n}`, " limit 1000", Rows, idColumn)),
		strange("Schema left out", on(`select ID "Id" from (select * from SHOP..P P{n}) Q1{n}`, " limit 1000", Rows, idColumn)),
		strange("Comment on the line of the text", written.edit(func(e *sigmatest.Element) { e.RawQuery = sigmatest.Raw("sql", string(text)) })),
	}
}

// sideCalls are workbooks of which Sigma refuses one call, always.
func sideCalls() []book {
	var all []book
	for _, row := range []struct {
		call       sigmatest.Call
		failure    sigmatest.Failure
		connection string
	}{
		{sigmatest.CallLineage, sigmatest.Failure{Status: 400, Code: "invalid_request", Message: "No lineage graph"}, ""},
		{sigmatest.CallLineage, sigmatest.Failure{Status: 403, Code: "forbidden", Message: "No"}, ""},
		{sigmatest.CallLineage, sigmatest.Failure{Status: 500, Code: "internal_error", Message: "No"}, ""},
		{sigmatest.CallColumns, sigmatest.Failure{Status: 403, Code: "forbidden", Message: "No"}, Warehouse},
		{sigmatest.CallColumns, sigmatest.Failure{Status: 404, Code: "not_found", Message: "No"}, Warehouse},
		{sigmatest.CallColumns, sigmatest.Failure{Status: 409, Code: "inode_archived", Message: "No"}, Warehouse},
	} {
		m := plain().finds(CallRefused).connected(row.connection)
		all = append(all, strange(fmt.Sprintf("Call %s answers %d", row.call, row.failure.Status), m).with(func(w *sigmatest.Workbook) {
			w.Failures = map[sigmatest.Call]sigmatest.Failure{row.call: row.failure}
		}))
	}
	fail := func(name string, call sigmatest.Call, status int, code string) book {
		return strange(name, plain()).with(func(w *sigmatest.Workbook) {
			w.Failures = map[sigmatest.Call]sigmatest.Failure{call: {Status: status, Code: code, Message: "No"}}
		})
	}
	return append(all,
		fail("Call queries answers 400", sigmatest.CallQueries, 400, "unable_to_produce_query"),
		fail("Call queries answers 500", sigmatest.CallQueries, 500, "internal_error"),
		fail("Call sources answers 403", sigmatest.CallSources, 403, "forbidden"),
		fail("Call pages answers 403", sigmatest.CallPages, 403, "forbidden"),
		fail("Call controls answers 404", sigmatest.CallControls, 404, "not_found"),
		strange("Columns that only the element lists", plain().edit(func(e *sigmatest.Element) { e.ColumnsUnsent = true })),
	)
}

// sessions are elements whose rows, values or columns depend on more than the tables.
func sessions() []book {
	control := func(name string, raw ...string) sigmatest.Element {
		return sigmatest.Element{Name: name, Type: "control", Value: "West", RawQuery: sigmatest.Raw(raw...)}
	}
	controlled := func(name string, e sigmatest.Element) book {
		return strange(name, plain().finds(ControlsPresent), model{element: e, expect: Expectation{State: Absent}})
	}
	grouped := on(`select Q3.ID "Id", Q3.GRP "Group", Q6.COUNT_9 "Count" from (select ID, GRP from SHOP.SALES.T T{n}) Q3 `+
		`left join (select count(ID) COUNT_9, GRP GRP_2 from SHOP.SALES.T group by GRP) Q6 on Q3.GRP is not distinct from Q6.GRP_2{n}`, " limit 1000", Rows,
		idColumn, sigmatest.Column{ID: "group00001", Label: "Group", Formula: "[T/Grp]"}, sigmatest.Column{ID: "count00001", Label: "Count", Formula: "Count([Id])"})
	lookup := on(`select Q1.ID "Id", case when Q2.COUNT_7 > 1 then '*' else Q2.MIN_6 end "Name" from (select * from SHOP.SALES.T T{n}) Q1 `+
		`left join (select GRP, count(1) COUNT_7, min(NAME) MIN_6 from SHOP.SALES.T group by GRP) Q2 on Q1.GRP = Q2.GRP{n}`, " limit 1000", Rows,
		idColumn, sigmatest.Column{ID: "name000001", Label: "Name", Formula: "Lookup([T/Name], [Grp], [T/Grp])"})
	reads := func(table string) model {
		m := on(`select ID "Id", NAME "Name" from (select * from SHOP.PUBLIC.`+table+` T{n}) Q1{n}`, " limit 1000", Rows, idColumn, nameColumn)
		return m.edit(func(e *sigmatest.Element) { e.Tables = []string{"SHOP.PUBLIC." + table} })
	}
	governed := func(e *sigmatest.Element) { e.Connection = Governed }
	return []book{
		controlled("Control with a saved value", control("Region")), controlled("Control whose name is null", control("Region", "name", "null")),
		controlled("Control whose name is a number", control("Region", "name", "7")), controlled("Control without a type", control("Region", "valueType", "")),
		controlled("Control that only the elements list", control("Region", "name", "{}")),
		strange("Column that is hidden", plain().edit(func(e *sigmatest.Element) { e.Columns[1].Hidden = true }).lacks(ColumnNotInSQL)),
		strange("Group that is joined back", grouped.finds(GrainRepeated)), strange("Lookup with several matches", lookup.finds(LookupAmbiguous).always("Name", "*")),
		strange("Connection of unknown forms", plain().edit(governed).finds(RolePerViewer).connected(Governed)),
		strange("Materialized table", reads("T_MAT_9F3").edit(governed).finds(MaterializedSource).lacks(InputTable).connected(Governed)), strange("Input table", reads("SIGDS_1F").edit(governed).finds(InputTable).lacks(MaterializedSource).connected(Governed)),
	}
}

func dataModels() []sigmatest.DataModel {
	table := func(name, connection string) sigmatest.Element {
		return sigmatest.Element{Name: name, Connection: connection, Columns: []sigmatest.Column{idColumn, nameColumn}, Tables: []string{"SHOP.SALES.T"},
			SQL: `select ID "Id", NAME "Name" from (select * from SHOP.SALES.T T limit 1000) Q1 limit 1000`}
	}
	on := func(name, model, element string) sigmatest.Element {
		e := table(name, "")
		e.Tables, e.DataModel, e.DataModelElement = nil, model, element
		return e
	}
	return []sigmatest.DataModel{
		{Name: "Ground", Path: "Strange", Elements: []sigmatest.Element{table("Here", Warehouse), table("There", Elsewhere)}},
		{Name: "First floor", Path: "Strange", Elements: []sigmatest.Element{on("Here", "Ground", "Here"), on("There", "Ground", "There")}},
		{Name: "Second floor", Path: "Strange", Elements: []sigmatest.Element{on("Here", "First floor", "Here"), on("There", "First floor", "There")}},
		{Name: "Closed", Path: "Strange", Elements: []sigmatest.Element{table("Here", Warehouse)},
			Failures: map[sigmatest.Call]sigmatest.Failure{sigmatest.CallLineage: {Status: 403, Code: "forbidden", Message: "No"}}},
		{Name: "Round", Path: "Strange", Elements: []sigmatest.Element{on("Here", "Round", "Here")}},
	}
}

// sources are elements whose connection takes several steps to find.
func sources() []book {
	from := func(name, connection string, change func(*sigmatest.Element)) book {
		m := plain().edit(func(e *sigmatest.Element) { e.Tables = nil; change(e) })
		return strange(name, m.connected(connection))
	}
	elsewhere := func(name string, change func(*sigmatest.Element)) book {
		m := plain().edit(func(e *sigmatest.Element) { e.Tables = nil; change(e) })
		m.expect = Expectation{State: Ready, Refusal: "WAREHOUSE_MISMATCH", Connection: Elsewhere}
		return strange(name, m)
	}
	of := func(kind sigmatest.SourceKind) func(*sigmatest.Element) {
		return func(e *sigmatest.Element) { e.Source = sigmatest.Source{Kind: kind} }
	}
	onModel := func(model, element string) func(*sigmatest.Element) {
		return func(e *sigmatest.Element) { e.DataModel, e.DataModelElement, e.Connection = model, element, Warehouse }
	}
	text := func(label, connection string) func(*sigmatest.Element) {
		return func(e *sigmatest.Element) {
			e.Name, e.CustomSQL, e.CustomSQLName, e.Connection = label, "select * from SHOP.SALES.T", "Custom SQL", connection
		}
	}
	customSQL := func(label, connection string) model {
		m := on(`select ID "Id" from (select * from SHOP.SALES.T) Q1{n}`, " limit 1000", Rows, idColumn)
		return m.edit(text(label, connection)).connected("")
	}
	all := []book{
		from("CSV upload", Warehouse, of(sigmatest.CSVUpload)), from("Semantic view", Warehouse, of(sigmatest.SemanticView)),
		from("SQL document", Warehouse, of(sigmatest.SQLDocument)), from("Worksheet", Warehouse, of(sigmatest.Worksheet)),
		from("Dataset without a connection", "", func(e *sigmatest.Element) { e.Source = sigmatest.Source{Kind: sigmatest.Dataset, Untold: true} }),
		from("Data model", Warehouse, onModel("Ground", "Here")), from("Data model on a data model", Warehouse, onModel("Second floor", "Here")),
		from("Data model on itself", "", onModel("Round", "Here")), from("Data model whose lineage is refused", "", onModel("Closed", "Here")),
		from("Data model of two connections, element unknown", "", onModel("Ground", "")),
		elsewhere("Table of another warehouse", func(e *sigmatest.Element) { e.Tables, e.Connection = []string{"SHOP.SALES.T"}, Elsewhere }),
		elsewhere("Data model of another warehouse", onModel("Ground", "There")), elsewhere("Data models over another warehouse", onModel("Second floor", "There")),
		strange("Two texts of one name on two connections", customSQL("Here", Warehouse), customSQL("There", Elsewhere)),
		strange("Element on elements", plain().named("Base"), plain().named("Middle").edit(onElements("Base")), plain().named("Top").edit(onElements("Middle"))),
		strange("Element on elements of two connections", plain().named("Here"), plain().named("Both").edit(onElements("Here", "There")).connected(""),
			plain().named("There").edit(func(e *sigmatest.Element) { e.Connection = Elsewhere })),
	}
	last := &all[len(all)-1].expectations[2]
	*last = Expectation{Element: last.Element, Workbook: last.Workbook, State: Ready, Refusal: "WAREHOUSE_MISMATCH", Connection: Elsewhere}
	for _, row := range []struct {
		references sigmatest.References
		name       string
	}{
		{sigmatest.PlainIDs, "Sources by plain ids"}, {sigmatest.PrefixedIDs, "Sources by prefixed ids"},
		{sigmatest.UpperCaseIDs, "Sources by upper-case ids"}, {sigmatest.OnlySourceIDs, "Sources in sourceIds alone"},
	} {
		all = append(all, strange(row.name, plain().named("Base"), plain().named("Top").edit(onElements("Base"))).with(func(w *sigmatest.Workbook) { w.References = row.references }))
	}
	return all
}

func onElements(elements ...string) func(*sigmatest.Element) {
	return func(e *sigmatest.Element) { e.Tables, e.Elements = nil, elements }
}

// fields are values of other types than the contract says.
func fields() []book {
	odd := func(name string, keysAndValues ...string) book {
		return strange(name, plain()).with(func(w *sigmatest.Workbook) { w.Raw = sigmatest.Raw(keysAndValues...) })
	}
	element := func(name string, keysAndValues ...string) book {
		return strange(name, plain().edit(func(e *sigmatest.Element) { e.Raw = sigmatest.Raw(keysAndValues...) }))
	}
	column := func(name string, keysAndValues ...string) book {
		return strange(name, plain().edit(func(e *sigmatest.Element) { e.Columns[1].Raw = sigmatest.Raw(keysAndValues...) }))
	}
	refused := func(name, err string) book {
		m := plain().edit(func(e *sigmatest.Element) { e.RawQuery = sigmatest.Raw("sql", "", "error", err) })
		return strange(name, m.refused(Broken, "MODEL_BROKEN"))
	}
	return []book{
		odd("latestVersion as text", "latestVersion", `"7"`), odd("latestVersion and updatedAt missing", "latestVersion", "", "updatedAt", ""),
		odd("latestVersion and updatedAt unreadable", "latestVersion", `{}`, "updatedAt", `"lately"`), odd("isArchived as text", "isArchived", `"false"`),
		odd("tags as text", "tags", `["Prod"]`), odd("tags as an object", "tags", `{"name":"Prod"}`), odd("createdAt not a time", "createdAt", `"long ago"`),
		odd("path and url missing", "path", "", "url", "null"),
		element("columns as objects", "columns", `[{"name":"Id"},{"name":"Name"}]`), element("error null", "error", "null"), element("error false", "error", "false"),
		element("vizualizationType as an object", "vizualizationType", `{"kind":"table"}`),
		column("formula as a number", "formula", "7"), column("column type as text", "type", `"text"`), column("column type missing", "type", ""),
		column("column type as a list", "type", `["text"]`),
		refused("error as an object", `{"message":"Dependency on missing element"}`), refused("error as a list", `["Cycle"]`), refused("error without a message", `{"code":7}`),
		odd("workbookId as an object", "workbookId", `{}`).gone(),
		strange("elementId as an object", plain(), plain().named("Lost").edit(func(e *sigmatest.Element) { e.Raw = sigmatest.Raw("elementId", `{}`) }).absent()),
		strange("Elements that are counted and not sent", plain(), plain().named("Second"), plain().named("Unsent").edit(func(e *sigmatest.Element) { e.Unsent = true }).absent()),
		strange("Workbook that is counted and not sent", plain().absent()).with(func(w *sigmatest.Workbook) { w.Unsent = true }),
	}
}

// absent says that the element is no model.
func (m model) absent() model {
	m.expect = Expectation{State: Absent}
	return m
}

// gone says that none of the elements is a model.
func (b book) gone() book {
	for i := range b.expectations {
		b.expectations[i] = Expectation{Element: b.expectations[i].Element, State: Absent}
	}
	return b
}

// states are elements that cannot be read, and kinds of elements.
func states() []book {
	var all []book
	for _, failure := range sigmatest.Failures() {
		if failure.Status >= 500 {
			continue // can pass
		}
		m := plain().edit(func(e *sigmatest.Element) { e.Failure = failure }).refused(AnyRefused, "")
		switch failure.Code {
		case "unable_to_produce_query", "warehouse_query_failed_user_error":
			m = m.refused(Broken, "MODEL_BROKEN")
		case "inode_archived":
			m = m.refused(Archived, "MODEL_ARCHIVED")
		case "forbidden":
			m = m.refused(Forbidden, "SIGMA_FORBIDDEN")
		}
		all = append(all, strange(fmt.Sprint("Query answers ", failure.Status, " ", failure.Code), m))
	}
	other := func(e sigmatest.Element) model { return model{element: e, expect: Expectation{State: Absent}} }
	return append(all,
		strange("Dependency on a missing element", plain().edit(func(e *sigmatest.Element) { e.Refusal = sigmatest.WithError }).refused(Broken, "MODEL_BROKEN")),
		strange("Retired dataset", plain().edit(func(e *sigmatest.Element) { e.Refusal = sigmatest.WithNothing }).refused(WithoutSQL, "MODEL_WITHOUT_SQL")),
		strange("Unknown type of element", plain().edit(func(e *sigmatest.Element) { e.Type = "hologram" })),
		strange("Chart without a kind", plain().edit(func(e *sigmatest.Element) { e.Type = "visualization" })),
		strange("Elements that hold no data", plain(), other(sigmatest.Element{Name: "Text", Type: "text"}), other(sigmatest.Element{Name: "Country", Type: "control"})),
		strange("Query that is not in the list of all", plain().edit(func(e *sigmatest.Element) { e.Unlisted = true })),
		strange("Query that is listed twice", plain().edit(func(e *sigmatest.Element) { e.Twice = true })),
		strange("Name in many scripts 数据 données ข้อมูล", plain().edit(func(e *sigmatest.Element) { e.Name = "数据 'quoted' \"twice\"\n" })),
	)
}
