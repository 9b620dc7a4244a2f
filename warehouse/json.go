package warehouse

import "unicode/utf8"

// maxJSONDepth is how deeply arrays and objects of a JSON value may be nested.
const maxJSONDepth = 10_000

// ValidJSON reports whether text is one JSON value by RFC 8259, in UTF-8 and
// with arrays and objects nested at most 10,000 deep. It agrees with
// [encoding/json.Valid] on valid UTF-8 and takes a fraction of its time: adapters
// call it for every value of a JSON column.
func ValidJSON(text []byte) bool {
	end, ok := jsonValue(text, jsonSpace(text, 0), 0)
	return ok && jsonSpace(text, end) == len(text) && utf8.Valid(text)
}

// jsonSpace returns the position of the first byte from i on that is not white
// space.
func jsonSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// jsonValue returns the end of the value that begins at i.
func jsonValue(text []byte, i, depth int) (end int, ok bool) {
	if i >= len(text) {
		return i, false
	}
	switch c := text[i]; {
	case c == '"':
		return jsonString(text, i)
	case c == '{' || c == '[':
		return jsonMembers(text, i, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		return jsonNumber(text, i)
	case c == 't':
		return jsonWord(text, i, "true")
	case c == 'f':
		return jsonWord(text, i, "false")
	}
	return jsonWord(text, i, "null")
}

func jsonWord(text []byte, i int, word string) (end int, ok bool) {
	end = i + len(word)
	return end, end <= len(text) && string(text[i:end]) == word
}

// jsonMembers reads an object or an array, from its opening bracket on.
func jsonMembers(text []byte, i, depth int) (end int, ok bool) {
	isObject := text[i] == '{'
	closing := byte(']')
	if isObject {
		closing = '}'
	}
	if depth > maxJSONDepth {
		return i, false
	}
	i = jsonSpace(text, i+1)
	if i < len(text) && text[i] == closing {
		return i + 1, true
	}
	for {
		if isObject {
			if i >= len(text) || text[i] != '"' {
				return i, false
			}
			if i, ok = jsonString(text, i); !ok {
				return i, false
			}
			if i = jsonSpace(text, i); i >= len(text) || text[i] != ':' {
				return i, false
			}
			i = jsonSpace(text, i+1)
		}
		if i, ok = jsonValue(text, i, depth); !ok {
			return i, false
		}
		switch i = jsonSpace(text, i); {
		case i >= len(text):
			return i, false
		case text[i] == closing:
			return i + 1, true
		case text[i] != ',':
			return i, false
		}
		i = jsonSpace(text, i+1)
	}
}

// jsonString reads a string, from its opening quote on.
func jsonString(text []byte, i int) (end int, ok bool) {
	for i++; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i >= len(text) {
				return i, false
			}
			switch text[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(text) || !isHex(text[i]) {
						return i, false
					}
				}
			default:
				return i, false
			}
		}
	}
	return i, false
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// jsonNumber reads a number, from its sign or first digit on.
func jsonNumber(text []byte, i int) (end int, ok bool) {
	if text[i] == '-' {
		i++
	}
	start := i
	if i = jsonDigits(text, i); i == start || text[start] == '0' && i > start+1 {
		return i, false
	}
	if i < len(text) && text[i] == '.' {
		start = i + 1
		if i = jsonDigits(text, start); i == start {
			return i, false
		}
	}
	if i < len(text) && text[i]|0x20 == 'e' {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		start = i
		if i = jsonDigits(text, start); i == start {
			return i, false
		}
	}
	return i, true
}

func jsonDigits(text []byte, i int) int {
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	return i
}
