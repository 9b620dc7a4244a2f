package shapes

import "strings"

// pathWords are the words of the paths that this service sends requests to: those of
// package sigmaclient and of Snowflake's driver. All other parts of a path are ids.
var pathWords = wordSet(`
	v1 v2
	auth token whoami workbooks dataModels elements columns query queries lineage sources pages controls tags bookmarks
	versionHistory export download materialization materialization-schedules materializationSchedules connections paths
	files workspaces members teams user-attributes userAttributes users source-query swap specs schemas spec
	session login-request token-request authenticator-request heartbeat query-request abort-request result monitoring`)

// roots are the first words of the known endpoints. Rows that Snowflake's driver
// downloads come from other paths.
var roots = wordSet("v2 session queries monitoring")

// endpoint returns the method and the path of an endpoint, with {} for each part that is
// not in pathWords. It reports false for a path of another service.
func endpoint(method, path string) (name string, known bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if !roots[parts[0]] {
		return "", false
	}
	for i, part := range parts {
		if !pathWords[part] {
			parts[i] = "{}"
		}
	}
	if len(parts) > maxParts {
		parts = append(parts[:maxParts], "{}")
	}
	switch method {
	case "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD":
	default:
		method = "OTHER"
	}
	return method + " /" + strings.Join(parts, "/"), true
}

// maxParts is the maximum number of parts of a path.
const maxParts = 12

// isRows reports whether a good answer of the endpoint consists of rows, whose keys
// are the names of columns.
func isRows(endpoint string) bool { return strings.HasSuffix(endpoint, "/download") }

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}
