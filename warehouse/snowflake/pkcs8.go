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
	"hash"
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

var prfs = map[string]func() hash.Hash{
	"":                    sha1.New, // the default of RFC 8018
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

var ciphers = map[string]struct {
	keyLength int
	newBlock  func([]byte) (cipher.Block, error)
}{
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher}, // what Snowflake's guide has users do
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
}

var (
	errEncryption = errors.New("the key's encryption is not PBES2 with PBKDF2 and AES or triple DES")
	errDecryption = errors.New("the decrypted key is not padded as it should be")
)

// decryptPKCS8 returns the plain PKCS #8 form of an encrypted key.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var derivation pbkdf2Parameters
	var iv []byte
	if _, err := asn1.Unmarshal(der, &key); err != nil || key.Algorithm.Algorithm.String() != oidPBES2 {
		return nil, errEncryption
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil || scheme.KeyDerivation.Algorithm.String() != oidPBKDF2 {
		return nil, errEncryption
	}
	if _, err := asn1.Unmarshal(scheme.KeyDerivation.Parameters.FullBytes, &derivation); err != nil {
		return nil, errEncryption
	}
	if _, err := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, errEncryption
	}
	prf, known := prfs[derivation.PRF.Algorithm.String()]
	method, knownToo := ciphers[scheme.Encryption.Algorithm.String()]
	if !known || !knownToo || derivation.Iterations < 1 || derivation.Iterations > maxIterations {
		return nil, errEncryption
	}
	secret, err := pbkdf2.Key(prf, string(passphrase), derivation.Salt, derivation.Iterations, method.keyLength)
	if err != nil {
		return nil, err
	}
	block, err := method.newBlock(secret)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(key.Data) == 0 || len(key.Data)%size != 0 {
		return nil, errEncryption
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size {
		return nil, errDecryption
	}
	return plain[:len(plain)-padding], nil
}
