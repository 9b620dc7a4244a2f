package snowflake

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// convertCommand writes a key in the form and encryption that this package
// reads. It asks for the old passphrase and for a new one.
const convertCommand = "openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in old.pem -out new.pem"

// privateKey returns the RSA key of the only private key block. It fails with a
// *warehouse.Error that tells what is wrong with the key and what to do. A wrong
// passphrase is reported only where the encryption itself is understood.
func (k *KeyPair) privateKey() (*rsa.PrivateKey, error) {
	block, err := privateKeyBlock(k.PEM)
	if err != nil {
		return nil, err
	}
	der, encrypted := block.Bytes, block.Type == "ENCRYPTED PRIVATE KEY"
	if encrypted {
		if k.Passphrase == "" {
			return nil, credentialsError("the private key is encrypted: a passphrase is required", nil)
		}
		if der, err = decryptPKCS8(der, []byte(k.Passphrase)); err != nil {
			return nil, decryptionError(err)
		}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, plainKeyError(der, encrypted)
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		return nil, notRSA("an elliptic curve (EC) key")
	case ed25519.PrivateKey:
		return nil, notRSA("an Ed25519 key")
	}
	return nil, notRSA("another kind of key")
}

// decryptionError tells a wrong passphrase from an encryption that is not
// supported and from a key that is damaged.
func decryptionError(err error) error {
	var unsupported *unsupportedEncryptionError
	switch {
	case errors.As(err, &unsupported):
		return credentialsError(fmt.Sprintf("the private key's encryption is not supported: %s; convert the key with %q%s",
			unsupported.what, convertCommand, unsupported.hint()), err)
	case errors.Is(err, errDamagedKey):
		return credentialsError("the private key is damaged: copy it again, from the BEGIN line to the END line", err)
	}
	return credentialsError("the private key cannot be decrypted: is the passphrase right?", err)
}

// plainKeyError explains why a key that is not or no longer encrypted cannot be
// read. What a wrong passphrase gives is mostly no PKCS #8 structure at all.
func plainKeyError(der []byte, wasEncrypted bool) error {
	var key struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
		Rest      asn1.RawValue `asn1:"optional"` // attributes
	}
	if _, err := asn1.Unmarshal(der, &key); err == nil {
		if kind := key.Algorithm.Algorithm.String(); kind != oidRSA {
			return notRSA(named(keyKinds, kind))
		}
		wasEncrypted = false // the structure shows that the passphrase is right
	}
	if wasEncrypted {
		return credentialsError("the private key cannot be decrypted: is the passphrase right?", nil)
	}
	return credentialsError("the private key is damaged: copy it again, from the BEGIN line to the END line", nil)
}

const oidRSA = "1.2.840.113549.1.1.1"

// keyKinds names algorithms of private keys that Go does not read.
var keyKinds = map[string]string{
	"1.2.840.113549.1.1.10": "an RSA-PSS key",
	"1.2.840.10040.4.1":     "a DSA key",
	"1.2.840.10045.2.1":     "an elliptic curve (EC) key",
	"1.3.101.110":           "an X25519 key",
	"1.3.101.113":           "an Ed448 key",
}

func notRSA(kind string) error {
	return credentialsError(fmt.Sprintf("the private key is %s, and Snowflake takes RSA keys only; make one with "+
		"%q and set its public half for the user", kind, "openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out key.pem"), nil)
}

// privateKeyBlock returns the one PKCS #8 block of a PEM text. Text around the
// blocks, certificates, public keys and parameters are ignored.
func privateKeyBlock(text string) (*pem.Block, error) {
	var keys []*pem.Block
	var others []string
	rest := []byte(strings.TrimPrefix(text, "\ufeff"))
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			keys = append(keys, block)
		} else {
			others = append(others, strings.ToLower(block.Type))
		}
	}
	switch {
	case len(keys) > 1:
		return nil, credentialsError(fmt.Sprintf("the text holds %d private keys; give the one whose public half is set for the user", len(keys)), nil)
	case len(keys) == 0 && len(others) > 0:
		return nil, credentialsError(fmt.Sprintf("the text holds no private key but a %.40s; give the private half of the key pair", others[0]), nil)
	case len(keys) == 0 && strings.Contains(text, "PRIVATE KEY-----") && strings.Contains(text, `\n`):
		return nil, credentialsError(`the private key has \n in place of its line breaks; write them as line breaks`, nil)
	case len(keys) == 0:
		return nil, credentialsError("the private key is not in PEM form: it begins with a line BEGIN ENCRYPTED PRIVATE KEY or BEGIN PRIVATE KEY", nil)
	}
	return keys[0], checkBlock(keys[0])
}

// checkBlock refuses private keys that are not in PKCS #8 form.
func checkBlock(block *pem.Block) error {
	switch kind := block.Type; {
	case kind == "PRIVATE KEY" || kind == "ENCRYPTED PRIVATE KEY":
		return nil
	case kind == "EC PRIVATE KEY":
		return notRSA("an elliptic curve (EC) key")
	case kind == "DSA PRIVATE KEY":
		return notRSA("a DSA key")
	case kind == "OPENSSH PRIVATE KEY":
		return credentialsError(`the private key is in OpenSSH's form; convert it with "ssh-keygen -p -m PKCS8 -f key"`, nil)
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		method, _, _ := strings.Cut(block.Headers["DEK-Info"], ",")
		return credentialsError(fmt.Sprintf("the private key is encrypted in the traditional form of OpenSSL (%.40s), which is not supported; convert it with %q", method, convertCommand), nil)
	}
	return credentialsError(fmt.Sprintf("the private key (%.40s) is not in PKCS #8 form; convert it with %q", block.Type, convertCommand), nil)
}
