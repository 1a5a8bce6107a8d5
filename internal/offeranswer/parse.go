package offeranswer

// Limits on a description; above them [Parse] returns ErrMalformed.
const (
	// MaxSize of the text in octets.
	MaxSize = 32 << 10
	// MaxSections is the number of m= sections.
	MaxSections = 32
	// MaxCandidates is how many candidates of a description are used; more
	// are dropped without an error.
	MaxCandidates = 32
)

// Parse reads a session description. It accepts what phones get wrong without
// harm (line ends, order of lines, missing s= and t=, unknown lines) and refuses
// with ErrMalformed what is no SDP, breaks a limit above, or holds a port or
// payload type out of its range. text is not kept.
func Parse(text []byte) (*Description, error) {
	return nil, ErrMalformed
}
