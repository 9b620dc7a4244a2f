package snowflake

import (
	"bytes"
	"encoding/pem"
	"os"
	"regexp"
	"strings"
	"testing"
)

// fileTransfer is how gosnowflake v1.19.1 finds the statements that it carries
// out with local files (file_transfer_agent.go).
var fileTransfer = regexp.MustCompile(`(?i)^(?:/\*.*\*/\s*)*\s*(put|get)\s+`)

func FuzzOnlyQuery(f *testing.F) {
	for _, sql := range []string{
		"SELECT 1", "with a as (select 1) select * from a", "(select 1)", "-- a\nselect 1", "/* a */ select '*/ put x'", "PUT file://a @b",
		"/**/ get @a file://b", "// put\n\tput a b", "/* select", "", "selected", "SELECT", "\ufeffselect 1",
	} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		query, err := onlyQuery(sql)
		switch {
		case err != nil && query != "":
			t.Errorf("a query and an error: %q", query)
		case err != nil:
		case !strings.HasSuffix(sql, query):
			t.Errorf("%q is not the end of %q", query, sql)
		case fileTransfer.MatchString(query):
			t.Errorf("the driver would transfer files for %q", query)
		}
	})
}

func FuzzDecryptPKCS8(f *testing.F) {
	for _, name := range []string{"des3.pem", "aes128.pem", "aes256.pem", "keys/scrypt.pem", "keys/pbes1-sha1-3des.pem", "keys/prf-sha512-256.pem"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		block, _ := pem.Decode(text)
		f.Add(block.Bytes, []byte("passphrase"))
	}
	f.Fuzz(func(t *testing.T, der, passphrase []byte) {
		if len(der) > 8<<10 {
			return
		}
		before := bytes.Clone(der)
		plain, err := decryptPKCS8(der, passphrase)
		if err != nil && plain != nil || !bytes.Equal(before, der) {
			t.Errorf("%d bytes and %v", len(plain), err)
		}
	})
}
