package snowflake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// The structures of an encrypted private key: PKCS #8 (RFC 5958) around PBES2
// and PBKDF2 (RFC 8018). The standard library reads only plain keys.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

type pbes2 struct {
	KeyDerivation pkix.AlgorithmIdentifier
	Encryption    pkix.AlgorithmIdentifier
}

type pbkdf2Parameters struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

const (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"

	// maxIterations keeps a hostile key from holding a processor.
	maxIterations = 2_000_000
)

// hashes are the pseudorandom functions of PBKDF2, HMACs, by their hash.
var hashes = map[string]func() hash.Hash{
	"":                    sha1.New, // the default of RFC 8018
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.8":  sha256.New224,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
	"1.2.840.113549.2.12": sha512.New512_224,
	"1.2.840.113549.2.13": sha512.New512_256,
}

// ciphers are block ciphers in CBC mode.
var ciphers = map[string]struct {
	keyLength int
	newBlock  func([]byte) (cipher.Block, error)
}{
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher}, // in Snowflake's own instructions
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
}

// encryptionNames names what OpenSSL and other programs write and this package
// does not read. What is not named here is reported by its object identifier.
var encryptionNames = map[string]string{
	"1.2.840.113549.1.5.1":      "PBES1 with MD2 and DES",
	"1.2.840.113549.1.5.3":      "PBES1 with MD5 and DES",
	"1.2.840.113549.1.5.4":      "PBES1 with MD2 and RC2",
	"1.2.840.113549.1.5.6":      "PBES1 with MD5 and RC2",
	"1.2.840.113549.1.5.10":     "PBES1 with SHA-1 and DES",
	"1.2.840.113549.1.5.11":     "PBES1 with SHA-1 and RC2",
	"1.2.840.113549.1.12.1.1":   "PBES1 (PKCS #12) with SHA-1 and 128 bit RC4",
	"1.2.840.113549.1.12.1.2":   "PBES1 (PKCS #12) with SHA-1 and 40 bit RC4",
	"1.2.840.113549.1.12.1.3":   "PBES1 (PKCS #12) with SHA-1 and triple DES",
	"1.2.840.113549.1.12.1.4":   "PBES1 (PKCS #12) with SHA-1 and two-key triple DES",
	"1.2.840.113549.1.12.1.5":   "PBES1 (PKCS #12) with SHA-1 and 128 bit RC2",
	"1.2.840.113549.1.12.1.6":   "PBES1 (PKCS #12) with SHA-1 and 40 bit RC2",
	"1.2.840.113549.1.5.14":     "PBMAC1",
	"1.3.6.1.4.1.11591.4.11":    "key derivation with scrypt",
	"1.2.840.113549.2.6":        "PBKDF2 with HMAC-MD5",
	"2.16.840.1.101.3.4.2.13":   "PBKDF2 with HMAC-SHA3-224",
	"2.16.840.1.101.3.4.2.14":   "PBKDF2 with HMAC-SHA3-256",
	"2.16.840.1.101.3.4.2.15":   "PBKDF2 with HMAC-SHA3-384",
	"2.16.840.1.101.3.4.2.16":   "PBKDF2 with HMAC-SHA3-512",
	"1.3.14.3.2.7":              "the cipher DES-CBC",
	"1.2.840.113549.3.2":        "the cipher RC2-CBC",
	"1.2.840.113549.3.9":        "the cipher RC5-CBC",
	"2.16.840.1.101.3.4.1.3":    "the cipher AES-128-OFB",
	"2.16.840.1.101.3.4.1.4":    "the cipher AES-128-CFB",
	"2.16.840.1.101.3.4.1.6":    "the cipher AES-128-GCM",
	"2.16.840.1.101.3.4.1.23":   "the cipher AES-192-OFB",
	"2.16.840.1.101.3.4.1.24":   "the cipher AES-192-CFB",
	"2.16.840.1.101.3.4.1.26":   "the cipher AES-192-GCM",
	"2.16.840.1.101.3.4.1.43":   "the cipher AES-256-OFB",
	"2.16.840.1.101.3.4.1.44":   "the cipher AES-256-CFB",
	"2.16.840.1.101.3.4.1.46":   "the cipher AES-256-GCM",
	"1.2.392.200011.61.1.1.1.2": "the cipher Camellia-128-CBC",
	"1.2.392.200011.61.1.1.1.4": "the cipher Camellia-256-CBC",
}

func named(names map[string]string, oid string) string {
	if name := names[oid]; name != "" {
		return name
	}
	return "the algorithm " + oid
}

// unsupportedEncryptionError names which part of a key's encryption is not
// supported.
type unsupportedEncryptionError struct{ what string }

func (e *unsupportedEncryptionError) Error() string {
	return "snowflake: the key's encryption is not supported: " + e.what
}

// hint returns what else the conversion needs: OpenSSL 3 moved old ciphers to
// a provider that is not loaded by default.
func (e *unsupportedEncryptionError) hint() string {
	for _, old := range []string{"DES", "RC", "MD"} {
		if strings.Contains(e.what, old) && !strings.Contains(e.what, "triple DES") {
			return " (and -provider legacy -provider default, with OpenSSL 3)"
		}
	}
	return ""
}

func unsupported(oid asn1.ObjectIdentifier) error {
	return &unsupportedEncryptionError{named(encryptionNames, oid.String())}
}

var (
	errDamagedKey = errors.New("snowflake: the key's structure cannot be read")
	errPassphrase = errors.New("snowflake: the decrypted key is not padded as it should be")
)

// decryptPKCS8 returns the plain PKCS #8 form of an encrypted key. It fails
// with an *unsupportedEncryptionError, with errDamagedKey, or with errPassphrase,
// which most wrong passphrases lead to; the others give a form that is no key.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var derivation pbkdf2Parameters
	var iv []byte
	if err := decode(der, &key); err != nil {
		return nil, err
	}
	if key.Algorithm.Algorithm.String() != oidPBES2 {
		return nil, unsupported(key.Algorithm.Algorithm)
	}
	if err := decode(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, err
	}
	if scheme.KeyDerivation.Algorithm.String() != oidPBKDF2 {
		return nil, unsupported(scheme.KeyDerivation.Algorithm)
	}
	if err := decode(scheme.KeyDerivation.Parameters.FullBytes, &derivation); err != nil {
		return nil, err
	}
	newHash, known := hashes[derivation.PRF.Algorithm.String()]
	if !known {
		return nil, unsupported(derivation.PRF.Algorithm)
	}
	method, known := ciphers[scheme.Encryption.Algorithm.String()]
	if !known {
		return nil, unsupported(scheme.Encryption.Algorithm)
	}
	if derivation.Iterations > maxIterations {
		return nil, &unsupportedEncryptionError{fmt.Sprintf("PBKDF2 with %d iterations, more than %d", derivation.Iterations, maxIterations)}
	}
	if err := decode(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, err
	}
	if derivation.Iterations < 1 {
		return nil, errDamagedKey
	}
	secret, err := pbkdf2.Key(newHash, string(passphrase), derivation.Salt, derivation.Iterations, method.keyLength)
	if err != nil {
		return nil, err
	}
	block, err := method.newBlock(secret)
	if err != nil {
		return nil, err
	}
	return decryptCBC(block, iv, key.Data)
}

// decryptCBC decrypts data and removes its padding (RFC 8018, section 6.1.1).
func decryptCBC(block cipher.Block, iv, data []byte) ([]byte, error) {
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errDamagedKey
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size {
		return nil, errPassphrase
	}
	for _, b := range plain[len(plain)-padding:] {
		if int(b) != padding {
			return nil, errPassphrase
		}
	}
	return plain[:len(plain)-padding], nil
}

// decode reads one ASN.1 value that fills der.
func decode(der []byte, value any) error {
	if rest, err := asn1.Unmarshal(der, value); err != nil || len(rest) > 0 {
		return errDamagedKey
	}
	return nil
}
