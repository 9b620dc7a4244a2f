package snowflake

import (
	"github.com/snowflakedb/gosnowflake"

	"github.com/sigmasource/sigmasource/warehouse"
)

// KeyPair is the private half of a user's key pair.
type KeyPair struct {
	PEM        string // PKCS #8, one block "PRIVATE KEY" or "ENCRYPTED PRIVATE KEY"; other text and blocks are ignored
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

func credentialsError(message string, err error) error {
	return &warehouse.Error{Kind: warehouse.KindCredentials, Message: message, Err: err}
}
