package auth

import (
	"fmt"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
)

// Role is what a principal may do in a workspace. A greater role may do all that
// a lesser one may.
type Role int

const (
	// Viewer reads the catalog and previews.
	Viewer Role = iota + 1
	// Operator scans, checks, and reads models as a whole.
	Operator
	// Admin creates, changes and deletes connections.
	Admin
)

var roleNames = map[Role]string{Viewer: "viewer", Operator: "operator", Admin: "admin"}

// String returns the name as the configuration spells it.
func (r Role) String() string { return roleNames[r] }

// ParseRole knows `viewer`, `operator` and `admin`.
func ParseRole(name string) (Role, error) {
	for role, known := range roleNames {
		if name == known {
			return role, nil
		}
	}
	return 0, fmt.Errorf("role %q: want viewer, operator or admin", name)
}

// MarshalText spells the role for JSON.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Role) UnmarshalText(text []byte) error {
	role, err := ParseRole(string(text))
	*r = role
	return err
}

// parseGrant reads `WORKSPACE=ROLE`.
func parseGrant(text string) (workspace string, role Role, err error) {
	workspace, name, ok := strings.Cut(text, "=")
	if !ok {
		return "", 0, fmt.Errorf("%q: want WORKSPACE=ROLE", text)
	}
	if err := checkWorkspace(workspace); err != nil {
		return "", 0, err
	}
	role, err = ParseRole(name)
	return workspace, role, err
}

// ParseGrants reads roles as the command line writes them, `WORKSPACE=ROLE`
// each.
func ParseGrants(grants []string) (Roles, error) {
	roles := Roles{}
	for _, grant := range grants {
		workspace, role, err := parseGrant(grant)
		if err != nil {
			return nil, err
		}
		if _, twice := roles[workspace]; twice {
			return nil, fmt.Errorf("workspace %q is named twice", workspace)
		}
		roles[workspace] = role
	}
	return roles, nil
}

// needed is the role that each method of the contract needs. A method that is
// missing here is refused to everybody, and fails a test.
var needed = map[string]Role{
	pb.SigmaConnections_CreateConnection_FullMethodName: Admin,
	pb.SigmaConnections_UpdateConnection_FullMethodName: Admin,
	pb.SigmaConnections_DeleteConnection_FullMethodName: Admin,
	pb.SigmaConnections_CheckConnection_FullMethodName:  Operator,
	pb.SigmaConnections_GetConnection_FullMethodName:    Viewer,
	pb.SigmaConnections_ListConnections_FullMethodName:  Viewer,

	pb.ModelCatalog_StartScan_FullMethodName:     Operator,
	pb.ModelCatalog_CancelScan_FullMethodName:    Operator,
	pb.ModelCatalog_GetScan_FullMethodName:       Viewer,
	pb.ModelCatalog_ListScans_FullMethodName:     Viewer,
	pb.ModelCatalog_WatchScan_FullMethodName:     Viewer,
	pb.ModelCatalog_ListChanges_FullMethodName:   Viewer,
	pb.ModelCatalog_WatchChanges_FullMethodName:  Viewer,
	pb.ModelCatalog_ListWorkbooks_FullMethodName: Viewer,
	pb.ModelCatalog_ListModels_FullMethodName:    Viewer,
	pb.ModelCatalog_GetModel_FullMethodName:      Viewer,

	pb.ModelQuery_PreviewModel_FullMethodName: Viewer,
	pb.ModelQuery_CheckModel_FullMethodName:   Operator,

	pb.ModelQuery_CreateReadSession_FullMethodName: Operator,
	pb.ModelQuery_GetReadSession_FullMethodName:    Operator,
	pb.ModelQuery_DeleteReadSession_FullMethodName: Operator,
	pb.ModelQuery_ReadRows_FullMethodName:          Operator,
}
