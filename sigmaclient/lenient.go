package sigmaclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// maxExactNumber is the largest magnitude that a float64 holds as an exact
// integer. A larger number in a response is no usable count or version.
const maxExactNumber = 1 << 53

var errNotAnObject = errors.New("the value is not a JSON object")

// decodeObject decodes a JSON object into the struct that into points to. It
// fails only if data is not a JSON object, or a field that is marked as exact has
// another type. Any other field whose value has another type
// than the struct expects keeps its zero value; the other fields are decoded
// all the same. Conversions without loss of meaning are made: a string that
// spells a number or a boolean, a number where text is expected, and a single
// value where a list is expected.
//
// Apart from json, a field may have these tags:
//
//   - alias names another JSON key that is read if the first gives nothing.
//   - member lists, separated by commas, the keys that hold the text if the
//     value is an object.
//   - otherwise is the text for a value that is there and holds no text.
//   - scalar marks the field that receives the text if the struct itself is
//     sent as plain text.
//   - exact marks a field that takes a string or null and nothing else.
func decodeObject(data []byte, into any) error {
	object, err := fieldsOf(data)
	if err != nil {
		return err
	}
	if field := setStruct(reflect.ValueOf(into).Elem(), object); field != "" {
		return fmt.Errorf("the field %s is not a string", field)
	}
	return nil
}

func fieldsOf(data []byte) (map[string]json.RawMessage, error) {
	if first(data) != '{' {
		return nil, errNotAnObject
	}
	var object map[string]json.RawMessage
	err := json.Unmarshal(data, &object)
	return object, err
}

// first returns the first byte of a JSON value, or 0.
func first(raw []byte) byte {
	if raw = bytes.TrimLeft(raw, " \t\r\n"); len(raw) > 0 {
		return raw[0]
	}
	return 0
}

// setStruct returns the name of an exact field that has another type, or nothing.
func setStruct(v reflect.Value, object map[string]json.RawMessage) (inexact string) {
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if raw := object[tag.Get("json")]; tag.Get("exact") != "" && raw != nil && first(raw) != '"' && first(raw) != 'n' {
			inexact = tag.Get("json")
			continue
		}
		setValue(v.Field(i), object[tag.Get("json")], tag)
		if alias := tag.Get("alias"); alias != "" && v.Field(i).IsZero() {
			setValue(v.Field(i), object[alias], tag)
		}
	}
	return inexact
}

func setValue(v reflect.Value, raw json.RawMessage, tag reflect.StructTag) {
	if raw == nil {
		return
	}
	if own, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if own.UnmarshalJSON(raw) != nil {
			v.SetZero()
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text(raw, tag))
	case reflect.Bool:
		isTrue, err := strconv.ParseBool(literal(raw))
		v.SetBool(err == nil && isTrue)
	case reflect.Float64:
		if n, err := strconv.ParseFloat(literal(raw), 64); err == nil && math.Abs(n) <= maxExactNumber {
			v.SetFloat(n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setValue(v.Elem(), raw, tag)
	case reflect.Struct:
		if object, err := fieldsOf(raw); err == nil {
			setStruct(v, object)
		} else {
			setScalar(v, raw)
		}
	case reflect.Slice:
		setSlice(v, raw, tag)
	case reflect.Map:
		setMap(v, raw, tag)
	}
}

// setScalar puts plain text into the field of a struct that is marked for it.
func setScalar(v reflect.Value, raw json.RawMessage) {
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("scalar") != "" {
			setValue(v.Field(i), raw, tag)
		}
	}
}

// setSlice leaves out the items that give nothing.
func setSlice(v reflect.Value, raw json.RawMessage, tag reflect.StructTag) {
	items := []json.RawMessage{raw}
	if first(raw) == '[' {
		items = nil
		if json.Unmarshal(raw, &items) != nil {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, len(items)))
	}
	for _, raw := range items {
		item := reflect.New(v.Type().Elem()).Elem()
		setValue(item, raw, tag)
		if !item.IsZero() {
			v.Set(reflect.Append(v, item))
		}
	}
}

func setMap(v reflect.Value, raw json.RawMessage, tag reflect.StructTag) {
	object, err := fieldsOf(raw)
	if err != nil {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(object)))
	for key, raw := range object {
		item := reflect.New(v.Type().Elem()).Elem()
		setValue(item, raw, tag)
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

// text returns a value as text: a string, a number as it is written, or the
// text in one of an object's members.
func text(raw json.RawMessage, tag reflect.StructTag) string {
	switch first(raw) {
	case '{':
		object, err := fieldsOf(raw)
		if members := tag.Get("member"); err == nil && members != "" {
			for member := range strings.SplitSeq(members, ",") {
				if found := text(object[member], ""); found != "" {
					return found
				}
			}
		}
		return tag.Get("otherwise")
	case '[', 't':
		return tag.Get("otherwise")
	case 'f', 'n':
		return ""
	}
	return literal(raw)
}

// literal returns the content of a JSON string, and any other value as it is
// written.
func literal(raw json.RawMessage) string {
	if first(raw) == '"' {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return ""
		}
		return s
	}
	return string(bytes.TrimSpace(raw))
}
