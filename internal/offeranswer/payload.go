package offeranswer

// NoPayload marks a payload type that is not negotiated.
const NoPayload = 0xff

// PayloadTypes translates payload types where the answerer numbers a codec in
// another way than the offerer: each party says under which number it wants to
// *receive* a codec (RFC 3264 §6.1). The tables are indexed by payload type
// and hold NoPayload for those that no section negotiates.
type PayloadTypes struct {
	// ToAnswerer maps what the offerer sends to what the answerer expects.
	ToAnswerer [128]uint8
	// FromAnswerer maps what the answerer sends to what the offerer expects;
	// both the offered numbers and the answerer's own are understood.
	FromAnswerer [128]uint8
}

// PayloadMap returns the payload types of an exchange. sent is the audio
// section of the offer that the answerer got, answer the one it answered with.
// The offerer knows the numbers of sent only, since [MakeOffer] and
// [MakeAnswer] keep them.
func PayloadMap(sent, answer *Media) PayloadTypes {
	var p PayloadTypes
	return p
}
