package config

import "log/slog"

// hidden is what is shown of a secret.
const hidden = "[secret]"

// A Secret is a password, key or token of the file. Every way of printing it shows "[secret]", or nothing when
// it is empty; string(s) is the value, for the one who needs it.
type Secret string

// String keeps the value out of formatted text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString keeps the value out of %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps the value out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the value out of JSON, which is how a JSON log writes a struct around it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
