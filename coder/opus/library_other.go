//go:build !linux || !(amd64 || arm64)

package opus

// Library, Encoder and Decoder cannot be had on this system.
type (
	Library struct{}
	Encoder struct{}
	Decoder struct{}
)

// Open returns ErrMissing.
func Open() (*Library, error) { return nil, ErrMissing }

// Version returns nothing.
func (*Library) Version() string { return "" }

// NewEncoder returns ErrMissing.
func (*Library) NewEncoder(Config) (*Encoder, error) { return nil, ErrMissing }

// NewDecoder returns ErrMissing.
func (*Library) NewDecoder(int) (*Decoder, error) { return nil, ErrMissing }

// SetLoss returns ErrMissing.
func (*Encoder) SetLoss(int) error { return ErrMissing }

// Encode returns ErrMissing.
func (*Encoder) Encode([]byte, []int16) (int, error) { return 0, ErrMissing }

// Close does nothing.
func (*Encoder) Close() {}

// Decode returns ErrMissing.
func (*Decoder) Decode([]int16, []byte) (int, error) { return 0, ErrMissing }

// Recover returns ErrMissing.
func (*Decoder) Recover([]int16, []byte) (int, error) { return 0, ErrMissing }

// Conceal returns ErrMissing.
func (*Decoder) Conceal([]int16) (int, error) { return 0, ErrMissing }

// Close does nothing.
func (*Decoder) Close() {}
