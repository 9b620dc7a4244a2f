package sigmaclient

import (
	"encoding/hex"
	"math/big"
	"strings"
)

const (
	// inodePrefix precedes the id of a file where lineage names it as a source.
	inodePrefix = "inode-"

	// maxURLID is the length of the largest 128-bit number in base 62.
	maxURLID = 22
)

// canonicalID returns one spelling for all spellings of an id. Sigma spells a
// UUID in hexadecimal, in any case, or as the id in a URL: its 128-bit number in
// base 62 with the digits 0-9a-zA-Z and without padding. Both can follow
// "inode-". Any other text is its own canonical spelling.
//
// Two texts have the same canonical spelling only if they are equal or spell the
// same 128-bit number.
func canonicalID(id string) string {
	plain := strings.TrimPrefix(id, inodePrefix)
	if number, ok := parseUUID(plain); ok {
		return number
	}
	if number, ok := parseURLID(plain); ok {
		return number
	}
	return id
}

// parseUUID returns the digits of a UUID in lower case.
func parseUUID(id string) (digits string, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return "", false
	}
	number, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	return hex.EncodeToString(number), err == nil && len(number) == 16
}

// parseURLID returns the digits of the UUID whose id in URLs is given.
func parseURLID(id string) (digits string, ok bool) {
	if id == "" || len(id) > maxURLID || id[0] == '0' || strings.ContainsFunc(id, isNoBase62Digit) {
		return "", false
	}
	number, ok := new(big.Int).SetString(id, 62)
	if !ok || number.BitLen() > 128 {
		return "", false
	}
	return hex.EncodeToString(number.FillBytes(make([]byte, 16))), true
}

func isNoBase62Digit(r rune) bool {
	return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
}
