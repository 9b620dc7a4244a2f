package sigmaclient

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that prints, logs and encodes as "[redacted]".
type Secret string

const redacted = "[redacted]"

// Format prints the same for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue shows nothing to package slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText shows nothing to encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
