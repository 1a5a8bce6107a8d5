package offeranswer

// MakeOffer makes the offer to give to the other side out of an offer that one
// side sent; t is our endpoint of the other side. Only the section of
// [Description.Audio] is carried, with the formats of it that the gateway
// knows, under their payload types. Errors: ErrNotAcceptable (no audio, no way
// to reach the offerer, no fingerprint), ErrNoCommonCodec.
func MakeOffer(offer *Description, t Transport) (*Description, error) {
	return nil, ErrNotAcceptable
}

// MakeAnswer makes the answer to give to the offerer. offer is what the
// offerer sent, sent what [MakeOffer] made of it for the other side, answer
// what the other side said to that; t is our endpoint of the offerer's side.
// The result has the sections of offer in their number and order; all but the
// audio section are refused. It may be called again with another answer to the
// same offer (forks, early media). Errors: ErrNoOffer (offer or sent is nil),
// ErrNotAcceptable (the answerer refused the audio section, or answered in
// another profile), ErrNoCommonCodec.
func MakeAnswer(offer, sent, answer *Description, t Transport) (*Description, error) {
	return nil, ErrNotAcceptable
}
