package snowflake_test

import (
	"crypto/rsa"
	"crypto/x509"
	encoding "encoding/pem"
	"testing"
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
