package model

import (
	"cmp"
	"slices"
	"strings"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/sigmaclient"
)

// DescribeWarehouse returns what Sigma shows of a warehouse connection of its own.
func DescribeWarehouse(c sigmaclient.Connection) *pb.SigmaWarehouse {
	w := &pb.SigmaWarehouse{
		ConnectionId: c.ConnectionID, DisplayName: c.Name, Type: c.Type, Account: cmp.Or(c.Account, c.Host),
		Role: c.Role, RolePerViewer: rolePerViewer(c),
	}
	for _, schema := range slices.Concat(c.Writebacks, c.WritebackSchemas) {
		isKnown := slices.ContainsFunc(w.WriteBackSchemas, func(known *pb.SigmaSchema) bool {
			return known.GetDatabase() == schema.Database && known.GetSchema() == schema.Schema
		})
		if !isKnown && schema.Schema != "" {
			w.WriteBackSchemas = append(w.WriteBackSchemas, &pb.SigmaSchema{Database: schema.Database, Schema: schema.Schema})
		}
	}
	return w
}

// rolePerViewer returns why each viewer has a role of their own, or nothing. A form of the setting that is not known counts
// as such a reason.
func rolePerViewer(c sigmaclient.Connection) string {
	switch {
	case c.UseOAuth:
		return "oauth"
	case c.UserAttributes.Role != "":
		return "user_attribute"
	case c.RoleSwitching != "" && !strings.EqualFold(c.RoleSwitching, "disabled"):
		return "role_switching"
	}
	return ""
}

// SetWarehouse sets what the warehouse connection of Sigma's tells about the element: Role and WriteBackSchemas. It may be nil.
func (e *Element) SetWarehouse(w *pb.SigmaWarehouse) {
	e.Role = SigmaRole{Name: w.GetRole(), PerViewer: w.GetRolePerViewer()}
	e.WriteBackSchemas = nil
	for _, schema := range w.GetWriteBackSchemas() {
		e.WriteBackSchemas = append(e.WriteBackSchemas, []string{schema.GetDatabase(), schema.GetSchema()})
	}
}
