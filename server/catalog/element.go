package catalog

import (
	"strings"

	"github.com/sigmasource/sigmasource/sigmaclient"
)

// interfaceElements are the types of elements that hold no data. Sigma's
// contract leaves the type an open string, so a type that is neither here nor a
// data element's is asked for its query before it is judged.
var interfaceElements = map[string]bool{
	"text": true, "image": true, "control": true, "line": true, "divider": true, "button": true,
	"embed": true, "container": true, "spacer": true, "plugin": true, "navigation": true,
}

// isDataElement reports whether Sigma's type of an element means a table or a
// chart.
func isDataElement(elementType string) bool {
	switch elementType {
	case "table", "visualization", "pivot-table", "input-table":
		return true
	}
	return strings.HasSuffix(elementType, "-chart")
}

// canBeControl reports whether an element may be a control. It is false only for types that are known to be others.
func canBeControl(elementType string) bool {
	switch elementType {
	case "text", "image", "line", "button", "embed", "container", "divider":
		return false
	}
	return !isDataElement(elementType)
}

// displayName is the element's name, or one that tells it from its neighbours.
func displayName(element sigmaclient.Element) string {
	if name := strings.TrimSpace(element.Name); name != "" {
		return name
	}
	if element.Type == "" {
		return "Untitled"
	}
	return "Untitled " + element.Type
}
