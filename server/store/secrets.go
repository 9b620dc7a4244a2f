package store

import (
	"fmt"
	"io"
)

// Secrets are the secrets of one connection. Printed, logged or encoded they show
// only that they are there. Keep a pointer to them in other structs: package fmt
// does not ask the methods of a value in an unexported field.
type Secrets struct {
	SigmaClientSecret      string
	SnowflakePrivateKeyPEM string
	SnowflakePassphrase    string // of the private key
	SnowflakePassword      string
	// SnowflakeToken is a programmatic access token or an OAuth token; the
	// connection's authentication_method tells which.
	SnowflakeToken string
}

const redacted = "[redacted]"

// Format prints the same for every verb and flag. A String method would leave
// %d to print the fields.
func (Secrets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText shows nothing of the secrets to encoders such as encoding/json and
// the handlers of log/slog.
func (Secrets) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// sealedSecrets is how Secrets are encoded before they are sealed.
type sealedSecrets struct {
	SigmaClientSecret      string `json:"sigma_client_secret,omitempty"`
	SnowflakePrivateKeyPEM string `json:"snowflake_private_key_pem,omitempty"`
	SnowflakePassphrase    string `json:"snowflake_passphrase,omitempty"`
	SnowflakePassword      string `json:"snowflake_password,omitempty"`
	SnowflakeToken         string `json:"snowflake_token,omitempty"`
}
