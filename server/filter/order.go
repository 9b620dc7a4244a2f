package filter

import (
	"fmt"
	"slices"
	"strings"

	"go.einride.tech/aip/ordering"
)

// Order is what a list is ordered by.
type Order struct {
	Field string // empty: as the list has it by itself
	Desc  bool   // the greatest first
}

// ParseOrder understands an order_by of at most one of the given fields. It fails
// with an *Error.
func ParseOrder(text string, fields ...string) (Order, error) {
	var parsed ordering.OrderBy
	err := parsed.UnmarshalString(text)
	switch {
	case strings.TrimSpace(text) == "":
		return Order{}, nil
	case err == nil && len(parsed.Fields) == 1 && slices.Contains(fields, parsed.Fields[0].Path):
		return Order{Field: parsed.Fields[0].Path, Desc: parsed.Fields[0].Desc}, nil
	case err == nil && len(parsed.Fields) > 1:
		return Order{}, &Error{Problem: "a list is ordered by one field; allowed are " + strings.Join(fields, ", ")}
	}
	return Order{}, &Error{Problem: fmt.Sprintf("write one of %s, with desc behind it for the greatest first", strings.Join(fields, ", "))}
}
