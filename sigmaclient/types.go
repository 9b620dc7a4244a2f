package sigmaclient

import (
	"time"
)

// Identity is whom the credentials belong to.
type Identity struct {
	UserID         string `json:"userId"`
	OrganizationID string `json:"organizationId"`
}

// Workbook is a workbook in Sigma.
//
// A field of this and every other type here is zero if Sigma does not send it or
// sends a value of another type than its contract says.
type Workbook struct {
	WorkbookID    string  `json:"workbookId"`
	WorkbookURLID string  `json:"workbookUrlId"`
	Name          string  `json:"name"`
	URL           string  `json:"url"`
	Path          string  `json:"path"` // of the folder, without the name
	LatestVersion float64 `json:"latestVersion"`
	OwnerID       string  `json:"ownerId"`
	CreatedAt     Time    `json:"createdAt"`
	UpdatedAt     Time    `json:"updatedAt"`
	IsArchived    bool    `json:"isArchived"`
	Tags          []Tag   `json:"tags"`
}

// HasRevision reports whether Sigma sent a version or a time of update. Without
// either, two answers cannot be compared: the workbook may have changed.
func (w Workbook) HasRevision() bool { return w.LatestVersion > 0 || !w.UpdatedAt.IsZero() }

// Tag is a version tag of a workbook, or of the organization.
type Tag struct {
	VersionTagID          string  `json:"versionTagId"`
	Name                  string  `json:"name" scalar:"true"`
	SourceWorkbookVersion float64 `json:"sourceWorkbookVersion"` // zero where the call names no workbook
	TaggedWorkbookID      string  `json:"taggedWorkbookId"`      // empty where the call names no workbook
}

// Page is a page of a workbook.
type Page struct {
	PageID string `json:"pageId"`
	Name   string `json:"name"`
	Hidden bool   `json:"hidden"`
}

// Element is something on a page of a workbook: a table, a chart, a text.
type Element struct {
	ElementID string `json:"elementId"` // unique within the workbook
	Name      string `json:"name"`      // may be empty, and need not be unique
	Type      string `json:"type"`      // an open set, such as "table" or "text"
	// Columns are the display names. Nil means that Sigma sent none, and not
	// that the element has none.
	Columns []string `json:"columns" member:"name,label"`
	// VisualizationType is the kind of chart. The API spells the field
	// "vizualizationType".
	VisualizationType string `json:"vizualizationType"`
	Error             string `json:"error" member:"message" otherwise:"error without a message"`
}

// Query is an element's SQL. All of SQL and Error may be empty: so Sigma
// answers for elements on retired datasets.
type Query struct {
	ElementID string `json:"elementId"`
	Name      string `json:"name"`
	SQL       string `json:"sql" exact:"true"` // the text holds the credentials' owner's address: see package sigmasql
	Error     string `json:"error" member:"message" otherwise:"error without a message"`
}

// Column is a column of an element.
type Column struct {
	ColumnID  string `json:"columnId"`
	ElementID string `json:"elementId"`          // empty where the call names the element
	Label     string `json:"label" alias:"name"` // the display name; the call for a whole workbook spells it "name"
	Formula   string `json:"formula"`
	// Type is one of an open set, such as "text" or "number"; "error" marks a
	// formula that Sigma cannot resolve. Empty means that Sigma does not tell.
	Type string `json:"type" member:"type"`
}

// LineageEntry is an element with what it reads from, or one of the things
// that elements read from.
type LineageEntry struct {
	Type string `json:"type"` // "element", "table", "dataset", "data-model", "customSQL", …

	// Of an element.
	ElementID     string   `json:"elementId"`
	SourceIDs     []string `json:"sourceIds"`
	DataSourceIDs []string `json:"dataSourceIds"` // ids of other entries

	// Of what elements read from.
	ConnectionID   string `json:"connectionId"` // empty where Sigma does not tell
	Name           string `json:"name"`
	InodeID        string `json:"inodeId"`
	DataModelID    string `json:"dataModelId"`
	CSVID          string `json:"csvId"`
	SemanticViewID string `json:"semanticViewId"`
	SQLDocumentID  string `json:"sqlDocumentId"`
	WorksheetID    string `json:"worksheetId"`
	CustomSQLID    string `json:"customSqlId"`
	Definition     string `json:"definition"` // of custom SQL
}

// ElementLineage is what an element is made from. Nodes are by their id; an
// edge may name a node that is not among them.
type ElementLineage struct {
	Nodes map[string]LineageNode `json:"dependencies"`
	Edges []LineageEdge          `json:"edges"`
}

// LineageNode is an element or one of the things that elements read from.
type LineageNode struct {
	NodeID    string `json:"nodeId"`
	Type      string `json:"type"` // an open set, such as "sheet" (an element), "table", "join", "data-model"
	Name      string `json:"name"`
	ElementID string `json:"elementId"` // of a "sheet"
}

// LineageEdge leads from a node to one that is made from it.
type LineageEdge struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Type   string `json:"type"` // "lookup", "source" or "dependency"
}

// Source is something that a workbook or data model reads from.
type Source struct {
	Type         string   `json:"type"`      // "table", "dataset", "data-model", "custom-sql"
	InodeID      string   `json:"inodeId"`   // of a workbook's table or dataset
	TableID      string   `json:"tableId"`   // of a data model's table
	DatasetID    string   `json:"datasetId"` // of a data model's dataset
	DataModelID  string   `json:"dataModelId"`
	ElementIDs   []string `json:"elementIds"`
	ConnectionID string   `json:"connectionId"`
	CustomSQLID  string   `json:"customSqlId"`
	Definition   string   `json:"definition"` // of custom SQL
}

// ConnectionPath is where a table lies in a warehouse.
type ConnectionPath struct {
	ConnectionID string   `json:"connectionId"`
	Path         []string `json:"path"` // database, schema and table, as far as the warehouse has them
}

// File is something in Sigma's folders.
type File struct {
	ID         string `json:"id"`
	URLID      string `json:"urlId"`
	Name       string `json:"name"`
	Type       string `json:"type"` // "workspace", "folder", "workbook", "data-model", "table", …
	ParentID   string `json:"parentId"`
	Permission string `json:"permission"` // of the credentials' owner: "view", "edit", …
	Path       string `json:"path"`
	Badge      string `json:"badge"` // such as "Endorsed"; may be empty
	IsArchived bool   `json:"isArchived"`
	OwnerID    string `json:"ownerId"`
	CreatedAt  Time   `json:"createdAt"`
	UpdatedAt  Time   `json:"updatedAt"`
}

// Workspace is a top folder that is shared.
type Workspace struct {
	WorkspaceID    string `json:"workspaceId"`
	WorkspaceURLID string `json:"workspaceUrlId"`
	Name           string `json:"name"`
	CreatedAt      Time   `json:"createdAt"`
	UpdatedAt      Time   `json:"updatedAt"`
}

// Control is a control of a workbook. Sigma sends no value.
type Control struct {
	Name      string `json:"name"`
	ValueType string `json:"valueType"` // an open set, such as "text-list"
}

// Bookmark is a saved view of a workbook.
type Bookmark struct {
	BookmarkID string `json:"bookmarkId"`
	Name       string `json:"name"`
	IsShared   bool   `json:"isShared"`
	IsDefault  bool   `json:"isDefault"`
}

// Connection is a warehouse connection in Sigma. Fields that a warehouse does
// not have are empty.
type Connection struct {
	ConnectionID string `json:"connectionId"`
	Name         string `json:"name"`
	Type         string `json:"type"` // casing varies: compare without regard to it
	Account      string `json:"account"`
	Host         string `json:"host"`
	Warehouse    string `json:"warehouse"`
	User         string `json:"user"`
	Role         string `json:"role"` // empty where the user's default role is used
	UseOAuth     bool   `json:"useOauth"`
	IsSample     bool   `json:"isSample"`
	// RoleSwitching is "disabled", "allRoles", or another word of an open set. Empty
	// where Sigma does not send it.
	RoleSwitching string `json:"roleSwitching" member:"mode,type" otherwise:"unknown"`
	// UserAttributes replace settings of the connection for each user.
	UserAttributes UserAttributes `json:"userAttributes"`
	// Writebacks and WritebackSchemas are the schemas in which Sigma keeps tables of
	// its own. Sigma has sent them under both names.
	Writebacks       []WritebackSchema `json:"writebacks"`
	WritebackSchemas []WritebackSchema `json:"writebackSchemas"`
}

// UserAttributes are the names of the user attributes that replace settings of a
// connection. A value of an unknown form is "unknown".
type UserAttributes struct {
	Role      string `json:"role" member:"name,attribute,id" otherwise:"unknown"`
	Warehouse string `json:"warehouse" member:"name,attribute,id" otherwise:"unknown"`
}

// WritebackSchema is a schema in which Sigma keeps tables of its own.
type WritebackSchema struct {
	Database string `json:"database"`
	Schema   string `json:"schema" scalar:"true"`
}

// DataModel is a data model in Sigma. Its elements are read as a workbook's.
type DataModel struct {
	DataModelID    string         `json:"dataModelId"`
	DataModelURLID string         `json:"dataModelUrlId"`
	Name           string         `json:"name"`
	URL            string         `json:"url"`
	Path           string         `json:"path"`
	LatestVersion  float64        `json:"latestVersion"`
	OwnerID        string         `json:"ownerId"`
	CreatedAt      Time           `json:"createdAt"`
	UpdatedAt      Time           `json:"updatedAt"`
	IsArchived     bool           `json:"isArchived"`
	Tags           []DataModelTag `json:"tags"`
}

// HasRevision reports whether Sigma sent a version or a time of update. Without
// either, two answers cannot be compared: the data model may have changed.
func (m DataModel) HasRevision() bool { return m.LatestVersion > 0 || !m.UpdatedAt.IsZero() }

// DataModelTag is a version tag of a data model. Sigma names its fields other
// than a workbook's.
type DataModelTag struct {
	VersionTagID string `json:"versionTagId"`
	TagName      string `json:"tagName" alias:"name" scalar:"true"`
}

// Time is a time in an answer. It is zero if the text is not in the format of
// RFC 3339.
type Time struct{ time.Time }

// UnmarshalJSON reads RFC 3339.
func (t *Time) UnmarshalJSON(data []byte) error {
	if err := t.Time.UnmarshalJSON(data); err != nil {
		t.Time = time.Time{}
	}
	return nil
}
