package shapes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a shape.
const (
	maxDepth    = 32 // levels of objects and arrays
	maxKeys     = 80 // keys of an object that can be names of fields; an object with more is a map of names
	maxElements = 24 // distinct shapes of the elements of an array
)

// JSON returns the shape of a JSON text, as a value that encoding/json encodes:
//
//   - an object is an object of the shapes of its values. A key that does not look
//     like the name of a field is "{key}", and the values of all such keys are an array
//     like that of an array's elements
//   - an array is an array: the class of its length, then the distinct shapes of its
//     elements
//   - a string is "string LENGTH", with its form behind it where it has one: uuid, url,
//     e-mail, date, number. A SQL text is an object with the key "sql"
//   - a number is "integer" or "float", and the others are "boolean" and "null"
//
// The shape of another text is "not JSON" with the class of its length.
func JSON(text []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "not JSON, " + lengthClass(len(text))
	}
	if _, err := decoder.Token(); err != io.EOF {
		return "not JSON, " + lengthClass(len(text))
	}
	return shapeOf(value, 0)
}

func shapeOf(value any, depth int) any {
	if depth == maxDepth {
		return "deeper"
	}
	switch v := value.(type) {
	case map[string]any:
		return objectShape(v, depth)
	case []any:
		shapes := []any{countClass(len(v))}
		return append(shapes, distinct(v, depth)...)
	case string:
		return stringShape(v)
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "float"
		}
		return "integer"
	case bool:
		return "boolean"
	}
	return "null"
}

func objectShape(object map[string]any, depth int) any {
	shape := map[string]any{}
	var others []any
	for _, key := range sortedKeys(object) {
		if isFieldName(key) && len(object) <= maxKeys {
			shape[key] = shapeOf(object[key], depth+1)
		} else {
			others = append(others, object[key])
		}
	}
	if len(others) > 0 {
		shape["{key}"] = append([]any{countClass(len(others))}, distinct(others, depth)...)
	}
	return shape
}

// distinct returns the distinct shapes of values, in an order that does not depend on
// that of the values.
func distinct(values []any, depth int) []any {
	found := map[string]any{}
	for _, value := range values {
		shape := shapeOf(value, depth+1)
		text, err := json.Marshal(shape)
		if err != nil {
			panic(err) // a shape is made of strings, slices and maps
		}
		found[string(text)] = shape
		if len(found) == maxElements {
			break
		}
	}
	var shapes []any
	for _, text := range sortedKeys(found) {
		shapes = append(shapes, found[text])
	}
	return shapes
}

// isFieldName reports whether a key looks like the name of a field: it begins with a
// small letter, as no name of a column or of a table in a warehouse usually does, and
// has no run of digits that can be an id.
func isFieldName(key string) bool {
	return fieldName.MatchString(key) && !digitRun.MatchString(key) && !hexRun.MatchString(key)
}

var (
	fieldName = regexp.MustCompile(`^[a-z_][A-Za-z0-9_-]{0,40}$`)
	digitRun  = regexp.MustCompile(`[0-9]{4}`)
	hexRun    = regexp.MustCompile(`(?i)[0-9a-f]*[0-9][0-9a-f]{7,}|[0-9a-f]{7,}[0-9]`)
	uuid      = regexp.MustCompile(`(?i)^(inode-)?[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$`)
	link      = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)
	email     = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	number    = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
)

func stringShape(s string) any {
	if isSQL(s) {
		return map[string]any{"sql": SQL(s)}
	}
	shape := "string " + lengthClass(utf8.RuneCountInString(s))
	if form := form(s); form != "" {
		shape += ", " + form
	}
	return shape
}

func form(s string) string {
	switch {
	case s == "" || len(s) > 2000:
		return ""
	case uuid.MatchString(s):
		return "uuid"
	case number.MatchString(s):
		return "number"
	case link.MatchString(s):
		return "url"
	case email.MatchString(s):
		return "e-mail"
	}
	for _, layout := range []string{time.DateOnly, time.DateTime, time.RFC3339Nano} {
		if _, err := time.Parse(layout, s); err == nil {
			return "date"
		}
	}
	return ""
}

// lengthClass is a length in characters or bytes as a class.
func lengthClass(n int) string { return class(n, []int{0, 10, 40, 200, 1000, 10000, 100000}) }

// countClass is a number of elements as a class.
func countClass(n int) string { return "elements " + class(n, []int{0, 1, 10, 100, 1000}) }

func class(n int, bounds []int) string {
	low := 0
	for _, high := range bounds {
		if n <= high {
			if low == high {
				return fmt.Sprint(high)
			}
			return fmt.Sprintf("%d-%d", low, high)
		}
		low = high + 1
	}
	return fmt.Sprintf("%d+", low)
}
