package snowflake_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	encoding "encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigmasource/sigmasource/warehouse"
	"github.com/sigmasource/sigmasource/warehouse/snowflake"
)

// publicKeyOf returns the public half of a plain private key.
func publicKeyOf(t *testing.T, text string) []*rsa.PublicKey {
	t.Helper()
	block, _ := encoding.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return []*rsa.PublicKey{&key.(*rsa.PrivateKey).PublicKey}
}

// cipherReplaced returns an encrypted key whose last object identifier byte, the
// one that names the cipher AES-256-CBC, is another.
func cipherReplaced(t *testing.T, last byte) string {
	t.Helper()
	block, _ := encoding.Decode([]byte(pem(t, "aes256.pem")))
	aes256CBC := []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a}
	if bytes.Count(block.Bytes, aes256CBC) != 1 {
		t.Fatal("the key names its cipher elsewhere")
	}
	block.Bytes = bytes.Replace(block.Bytes, aes256CBC, append(bytes.Clone(aes256CBC[:8]), last), 1)
	return string(encoding.EncodeToMemory(block))
}

func cut(t *testing.T, name string, n int) string {
	t.Helper()
	block, _ := encoding.Decode([]byte(pem(t, name)))
	block.Bytes = block.Bytes[:len(block.Bytes)-n]
	return string(encoding.EncodeToMemory(block))
}

const (
	wrongPassphrase = "is the passphrase right"
	convert         = "openssl pkcs8 -topk8"
)

func TestPrivateKeys(t *testing.T) {
	plain, aes := pem(t, "plain.pem"), pem(t, "aes256.pem")
	for name, test := range map[string]struct {
		pem        string
		passphrase string // of the test's own keys where it is empty
		wants      []string
	}{
		"plain":                    {pem: plain},
		"plain with a passphrase":  {pem: plain, passphrase: "not needed"},
		"AES-192":                  {pem: pem(t, "keys/aes192.pem")},
		"HMAC with SHA-224":        {pem: pem(t, "keys/prf-sha224.pem")},
		"HMAC with SHA-384":        {pem: pem(t, "keys/prf-sha384.pem")},
		"HMAC with SHA-512":        {pem: pem(t, "keys/prf-sha512.pem")},
		"HMAC with SHA-512/224":    {pem: pem(t, "keys/prf-sha512-224.pem")},
		"HMAC with SHA-512/256":    {pem: pem(t, "keys/prf-sha512-256.pem")},
		"CRLF":                     {pem: strings.ReplaceAll(aes, "\n", "\r\n")},
		"byte order mark":          {pem: "\ufeff" + aes},
		"text around":              {pem: "Bag Attributes\n    friendlyName: key\n" + aes + "\nend\n"},
		"with its certificate":     {pem: pem(t, "keys/certificate.pem") + aes},
		"with its public half":     {pem: aes + pem(t, "keys/public.pem")},
		"wrong passphrase":         {pem: aes, passphrase: "wrong", wants: []string{wrongPassphrase}},
		"wrong passphrase, 3DES":   {pem: pem(t, "des3.pem"), passphrase: "wrong", wants: []string{wrongPassphrase}},
		"wrong passphrase, EC":     {pem: pem(t, "keys/ec-encrypted.pem"), passphrase: "wrong", wants: []string{wrongPassphrase}},
		"scrypt":                   {pem: pem(t, "keys/scrypt.pem"), wants: []string{"scrypt", convert}},
		"PBES1 MD5 DES":            {pem: pem(t, "keys/pbes1-md5-des.pem"), wants: []string{"PBES1 with MD5 and DES", convert, "-provider legacy"}},
		"PBES1 SHA-1 3DES":         {pem: pem(t, "keys/pbes1-sha1-3des.pem"), wants: []string{"PBES1", "triple DES", convert}},
		"PBES1 SHA-1 RC2":          {pem: pem(t, "keys/pbes1-sha1-rc2.pem"), wants: []string{"40 bit RC2", convert, "-provider legacy"}},
		"HMAC with MD5":            {pem: pem(t, "keys/prf-md5.pem"), wants: []string{"HMAC-MD5", convert}},
		"RC2":                      {pem: pem(t, "keys/rc2.pem"), wants: []string{"RC2-CBC", convert}},
		"DES":                      {pem: pem(t, "keys/des.pem"), wants: []string{"DES-CBC", convert}},
		"CFB":                      {pem: pem(t, "keys/cfb.pem"), wants: []string{"AES-256-CFB", convert}},
		"Camellia":                 {pem: pem(t, "keys/camellia.pem"), wants: []string{"Camellia-256-CBC", convert}},
		"GCM":                      {pem: cipherReplaced(t, 0x2e), wants: []string{"AES-256-GCM", convert}},
		"a cipher without a name":  {pem: cipherReplaced(t, 0x7f), wants: []string{"2.16.840.1.101.3.4.1.127", convert}},
		"too many iterations":      {pem: pem(t, "keys/iterations.pem"), wants: []string{"3000000 iterations", convert}},
		"traditional, encrypted":   {pem: pem(t, "keys/traditional-aes256.pem"), wants: []string{"traditional", "AES-256-CBC", convert}},
		"traditional":              {pem: pem(t, "pkcs1.pem"), wants: []string{"not in PKCS #8", convert}},
		"EC":                       {pem: pem(t, "keys/ec.pem"), wants: []string{"elliptic curve", "RSA"}},
		"EC, encrypted":            {pem: pem(t, "keys/ec-encrypted.pem"), wants: []string{"elliptic curve", "RSA"}},
		"EC, traditional":          {pem: pem(t, "keys/ec-traditional.pem"), wants: []string{"elliptic curve", "RSA"}},
		"Ed25519":                  {pem: pem(t, "keys/ed25519.pem"), wants: []string{"Ed25519", "RSA"}},
		"RSA-PSS":                  {pem: pem(t, "keys/rsa-pss.pem"), wants: []string{"RSA-PSS"}},
		"RSA-PSS, encrypted":       {pem: pem(t, "keys/rsa-pss-encrypted.pem"), wants: []string{"RSA-PSS"}},
		"a public key":             {pem: pem(t, "keys/public.pem"), wants: []string{"public key", "private half"}},
		"a certificate":            {pem: pem(t, "keys/certificate.pem"), wants: []string{"certificate", "private half"}},
		"two keys":                 {pem: plain + aes, wants: []string{"2 private keys"}},
		"OpenSSH":                  {pem: string(encoding.EncodeToMemory(&encoding.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1")})), wants: []string{"ssh-keygen -p -m PKCS8"}},
		"escaped line breaks":      {pem: strings.ReplaceAll(aes, "\n", `\n`), wants: []string{"line breaks"}},
		"no END line":              {pem: aes[:len(aes)-40], wants: []string{"not in PEM form"}},
		"base64 without lines":     {pem: "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", wants: []string{"not in PEM form"}},
		"cut, encrypted":           {pem: cut(t, "aes256.pem", 64), wants: []string{"damaged"}},
		"cut, plain":               {pem: cut(t, "plain.pem", 64), wants: []string{"damaged"}},
		"a plain key as encrypted": {pem: strings.ReplaceAll(plain, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), wants: []string{"damaged"}},
		"an encrypted as plain":    {pem: strings.ReplaceAll(aes, "ENCRYPTED ", ""), wants: []string{"damaged"}},
	} {
		t.Run(name, func(t *testing.T) {
			passphrase := test.passphrase
			if passphrase == "" {
				passphrase = "passphrase"
			}
			wantKey(t, test.pem, passphrase, test.wants)
		})
	}
}

// wantKey checks that a key is taken where wants is empty, and otherwise refused
// with a message that holds each of wants, and that blames the passphrase only
// where that is wanted.
func wantKey(t *testing.T, text, passphrase string, wants []string) {
	t.Helper()
	w, err := snowflake.Open(snowflake.Config{Account: "org-account", User: "ANN", KeyPair: &snowflake.KeyPair{PEM: text, Passphrase: passphrase}})
	if len(wants) == 0 {
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		return
	}
	var refused *warehouse.Error
	if !errors.As(err, &refused) || refused.Kind != warehouse.KindCredentials {
		t.Fatalf("the key is refused with %v", err)
	}
	for _, want := range wants {
		if !strings.Contains(refused.Message, want) {
			t.Errorf("the message does not hold %q: %s", want, refused.Message)
		}
	}
	if blames := strings.Contains(refused.Message, wrongPassphrase); blames != (wants[0] == wrongPassphrase) {
		t.Errorf("the message blames the passphrase, or does not: %s", refused.Message)
	}
	if strings.Contains(err.Error(), passphrase) && passphrase != "passphrase" {
		t.Errorf("the message holds the passphrase: %v", err)
	}
}

// The command that the messages name makes a key that is taken.
func TestTheNamedCommandConvertsKeys(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skipf("openssl is not installed: %v", err)
	}
	for _, name := range []string{"keys/scrypt.pem", "keys/pbes1-sha1-3des.pem", "keys/prf-md5.pem", "keys/cfb.pem", "keys/camellia.pem", "keys/traditional-aes256.pem", "pkcs1.pem"} {
		t.Run(name, func(t *testing.T) {
			_, err := snowflake.Open(snowflake.Config{Account: "org-account", User: "ANN", KeyPair: &snowflake.KeyPair{PEM: pem(t, name), Passphrase: "passphrase"}})
			var refused *warehouse.Error
			if !errors.As(err, &refused) {
				t.Fatalf("the key is refused with %v", err)
			}
			_, command, _ := strings.Cut(refused.Message, `"openssl `)
			command, _, _ = strings.Cut(command, `"`)
			converted := filepath.Join(t.TempDir(), "new.pem")
			command = strings.NewReplacer("old.pem", filepath.Join("testdata", name), "new.pem", converted).Replace(command)
			arguments := append(strings.Fields(command), "-passin", "pass:passphrase", "-passout", "pass:passphrase")
			if out, err := exec.CommandContext(t.Context(), "openssl", arguments...).CombinedOutput(); err != nil {
				t.Fatalf("openssl %s: %v: %s", command, err, out)
			}
			text, err := os.ReadFile(converted)
			if err != nil {
				t.Fatal(err)
			}
			wantKey(t, string(text), "passphrase", nil)
		})
	}
}
