package offeranswer

// NoPayload marks a payload type that is not negotiated.
const NoPayload = 0xff

// PayloadTypes translates payload types where the answerer numbers a codec in
// another way than the offerer: each party says under which number it wants to
// *receive* a codec (RFC 3264 §6.1). The tables are indexed by payload type
// and hold NoPayload for those that are not negotiated.
type PayloadTypes struct {
	// ToAnswerer maps what the offerer sends to what the answerer expects.
	ToAnswerer [128]uint8
	// FromAnswerer maps what the answerer sends to what the offerer expects.
	// The offered numbers and the answerer's own are both understood, since
	// answerers exist that send under the number they receive; where one
	// number means two codecs the offer's meaning holds.
	FromAnswerer [128]uint8
}

// PayloadMap returns the payload types of an exchange. sent is the audio
// section of the offer that the answerer got, answer the one it answered with.
// The offerer knows the numbers of sent only, since [MakeOffer] and
// [MakeAnswer] keep them.
func PayloadMap(sent, answer *Media) PayloadTypes {
	var p PayloadTypes
	for i := range p.ToAnswerer {
		p.ToAnswerer[i], p.FromAnswerer[i] = NoPayload, NoPayload
	}
	pairs := pairFormats(sent.Formats, answer.Formats)
	for _, f := range pairs {
		p.ToAnswerer[f.offered.PayloadType&127] = f.answered.PayloadType
		p.FromAnswerer[f.offered.PayloadType&127] = f.offered.PayloadType
	}
	for _, f := range pairs {
		if from := &p.FromAnswerer[f.answered.PayloadType&127]; *from == NoPayload {
			*from = f.offered.PayloadType
		}
	}
	return p
}
