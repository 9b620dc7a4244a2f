package sigmatest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// founded is the time of what has none of its own.
var founded = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func listConnections(a *ask) answer {
	return page(a, withMore, a.org.Connections, func(c Connection) object { return connectionObject(a, c) })
}

func getConnection(a *ask) answer {
	for _, c := range a.org.Connections {
		if c.ID == a.PathValue("connectionId") {
			return ok(connectionObject(a, c))
		}
	}
	return notFound()
}

func connectionObject(a *ask, c Connection) object {
	body := stamped(a, object{
		"organizationId": a.org.ID,
		"connectionId":   c.ID,
		"isSample":       false,
		"isAuditLog":     false,
		"lastActiveAt":   clock(founded),
		"name":           c.Name,
		"type":           c.Type,
		"useOauth":       c.OAuth,
		"timeout":        object{"default": 120},
		"roleSwitching":  c.RoleSwitching,
	})
	if c.RoleAttribute != "" {
		body["userAttributes"] = object{"role": c.RoleAttribute}
	}
	if len(c.WriteBacks) > 0 {
		schemas := []object{}
		for _, name := range c.WriteBacks {
			database, schema, _ := strings.Cut(name, ".")
			schemas = append(schemas, object{"database": database, "schema": schema})
		}
		body["writeAccess"], body["writebacks"] = true, schemas
	}
	// What a connection does not have comes as an empty text from some, and from
	// others not at all.
	for name, value := range map[string]string{"account": c.Account, "warehouse": c.Warehouse, "user": c.User, "role": c.Role} {
		if value != "" || strings.EqualFold(c.Type, "snowflake") {
			body[name] = value
		}
	}
	if c.Host != "" {
		body["host"] = c.Host
	}
	return withRaw(body, c.Raw)
}

// stamped adds who made a thing and when, where it is not told.
func stamped(a *ask, body object) object {
	for name, value := range map[string]string{
		"createdBy": a.org.Owner, "updatedBy": a.org.Owner,
		"createdAt": clock(founded), "updatedAt": clock(founded),
	} {
		if _, told := body[name]; !told {
			body[name] = value
		}
	}
	return body
}

// table is a table that some element reads from.
type table struct {
	id         string
	connection string
	path       []string
}

func (o *Organization) tables() []table {
	seen := map[string]bool{}
	var all []table
	add := func(elements []*Element) {
		for _, e := range elements {
			for _, name := range e.Tables {
				id := tableID(e.Connection, name)
				if !seen[id] {
					seen[id] = true
					all = append(all, table{id: id, connection: e.Connection, path: strings.Split(name, ".")})
				}
			}
		}
	}
	for i := range o.Workbooks {
		add(elementsOf(o.Workbooks[i].Pages))
	}
	for i := range o.DataModels {
		add(o.DataModels[i].elements())
	}
	return all
}

func listPaths(a *ask) answer {
	tables := a.tables()
	if id := a.URL.Query().Get("connectionId"); id != "" {
		tables = slices.DeleteFunc(slices.Clone(tables), func(t table) bool { return t.connection != id })
	}
	return page(a, withMore, tables, func(t table) object {
		return object{"connectionId": t.connection, "urlId": urlID(t.id), "path": t.path}
	})
}

func getPath(a *ask) answer {
	t, known := a.tableByID()[a.PathValue("inodeId")]
	if !known {
		return notFound()
	}
	return ok(object{"connectionId": t.connection, "path": t.path})
}

// workspaces are those that are named and those that documents lie in.
func (o *Organization) workspaces() []string {
	names := slices.Clone(o.Workspaces)
	add := func(path string) {
		if name, _, _ := strings.Cut(path, "/"); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for i := range o.Workbooks {
		add(o.Workbooks[i].Path)
	}
	for i := range o.DataModels {
		add(o.DataModels[i].Path)
	}
	return names
}

func listWorkspaces(a *ask) answer {
	names := a.org.workspaces()
	entry := func(name string) object {
		id := uuid("folder", name)
		return stamped(a, object{"workspaceId": id, "workspaceUrlId": urlID(id), "name": name})
	}
	newer := strings.HasPrefix(a.URL.Path, "/v2.1/")
	if a.options.BareWorkspaces && !newer {
		bare := []object{}
		for _, name := range names {
			bare = append(bare, entry(name))
		}
		return ok(bare)
	}
	style := plain
	if newer {
		style = withMore
	}
	return page(a, style, names, entry)
}

func listTags(a *ask) answer {
	var names []string
	for i := range a.org.Workbooks {
		for _, tag := range a.org.Workbooks[i].Tags {
			if !slices.Contains(names, tag) {
				names = append(names, tag)
			}
		}
	}
	return page(a, withMore, names, func(name string) object {
		return stamped(a, object{"versionTagId": uuid("tag", name), "name": name, "ownerId": a.org.Owner})
	})
}

// files are the folders and documents that a member may see, and the tables.
func (a *ask) files() []object {
	seen := map[string]bool{}
	var all []object
	file := func(id, kind, name, parent, owner string, more object) {
		body := object{
			"id": id, "urlId": urlID(id), "name": name, "type": kind,
			"parentId": uuid("folder", parent), "parentUrlId": urlID(uuid("folder", parent)), "path": parent,
			"permission": "view", "badge": nil, "isArchived": false, "ownerId": owner,
		}
		for name, value := range more {
			body[name] = value
		}
		all = append(all, stamped(a, body))
	}
	var folder func(path string)
	folder = func(path string) {
		if seen[path] {
			return
		}
		seen[path] = true
		kind, parent, name := "workspace", "", path
		if at := strings.LastIndexByte(path, '/'); at >= 0 {
			kind, parent, name = "folder", path[:at], path[at+1:]
			folder(parent)
		}
		file(uuid("folder", path), kind, name, parent, a.org.Owner, nil)
	}
	for _, name := range a.org.Workspaces {
		folder(name)
	}
	for i := range a.org.Workbooks {
		if w := &a.org.Workbooks[i]; w.visibleTo(a.client.Owner) {
			folder(w.Path)
			file(w.ID, "workbook", w.Name, w.Path, w.Owner, object{
				"createdAt": clock(w.CreatedAt), "updatedAt": clock(w.UpdatedAt), "isArchived": w.Archived,
			})
		}
	}
	for i := range a.org.DataModels {
		m := &a.org.DataModels[i]
		folder(m.Path)
		file(m.ID, "data-model", m.Name, m.Path, m.Owner, object{"createdAt": clock(m.CreatedAt), "updatedAt": clock(m.UpdatedAt)})
	}
	for _, t := range a.tables() {
		path := strings.Join(append([]string{"Connection Root"}, t.path[:len(t.path)-1]...), "/")
		file(t.id, "table", t.path[len(t.path)-1], path, a.org.Owner, object{"ownerId": nil})
	}
	return all
}

func listFiles(a *ask) answer {
	types := a.URL.Query()["typeFilters"]
	files := slices.DeleteFunc(a.files(), func(f object) bool {
		kind := f["type"].(string)
		if len(types) == 0 {
			return kind == "table"
		}
		return !slices.Contains(types, kind)
	})
	slices.SortStableFunc(files, func(x, y object) int { return cmp.Compare(x["path"].(string), y["path"].(string)) })
	return page(a, withMore, files, func(f object) object { return f })
}

func getFile(a *ask) answer {
	for _, f := range a.files() {
		if f["id"] == a.PathValue("inodeId") {
			return ok(f)
		}
	}
	return notFound()
}
