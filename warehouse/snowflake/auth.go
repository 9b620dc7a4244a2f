package snowflake

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

// KeyPair is the private half of a user's key pair.
type KeyPair struct {
	PEM        string // PKCS #8: "PRIVATE KEY" or "ENCRYPTED PRIVATE KEY"
	Passphrase string // of an encrypted key
}

// authenticate sets the driver's authenticator and its secret.
func (c Config) authenticate(driverConfig *gosnowflake.Config) error {
	given := 0
	for _, is := range []bool{c.KeyPair != nil, c.Password != "", c.AccessToken != "", c.OAuthToken != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return credentialsError("give exactly one of key pair, password, access token and OAuth token", nil)
	}
	if c.User == "" && c.OAuthToken == "" {
		return configurationError("user", "a user is required")
	}
	switch {
	case c.KeyPair != nil:
		key, err := c.KeyPair.privateKey()
		if err != nil {
			return err
		}
		driverConfig.Authenticator, driverConfig.PrivateKey = gosnowflake.AuthTypeJwt, key
	case c.Password != "":
		driverConfig.Authenticator, driverConfig.Password = gosnowflake.AuthTypeSnowflake, c.Password
	case c.AccessToken != "":
		driverConfig.Authenticator, driverConfig.Token = gosnowflake.AuthTypePat, c.AccessToken
	case c.OAuthToken != "":
		driverConfig.Authenticator, driverConfig.Token = gosnowflake.AuthTypeOAuth, c.OAuthToken
	}
	return nil
}

func (k *KeyPair) privateKey() (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(k.PEM))
	if block == nil {
		return nil, credentialsError("the private key is not in PEM form", nil)
	}
	der := block.Bytes
	switch block.Type {
	case "PRIVATE KEY":
	case "ENCRYPTED PRIVATE KEY":
		if k.Passphrase == "" {
			return nil, credentialsError("the private key is encrypted: a passphrase is required", nil)
		}
		var err error
		if der, err = decryptPKCS8(der, []byte(k.Passphrase)); err != nil {
			return nil, credentialsError("the private key cannot be decrypted: is the passphrase right?", err)
		}
	default:
		return nil, credentialsError("the private key is not in PKCS #8 form; convert it with openssl pkcs8 -topk8", nil)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, credentialsError("the private key cannot be read: is the passphrase right?", nil)
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return nil, credentialsError("the private key is not an RSA key, as Snowflake wants it", nil)
	}
	return rsaKey, nil
}

func credentialsError(message string, err error) error {
	return &warehouse.Error{Kind: warehouse.KindCredentials, Message: message, Err: err}
}
