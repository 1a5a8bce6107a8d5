package offeranswer

import "slices"

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
	// The numbers of the offer it got and its own are both understood, since
	// answerers exist that send under the number they receive; where one
	// number means two codecs the offer's meaning holds.
	FromAnswerer [128]uint8
}

// PayloadMap returns the payload types of one stream: of its section in the
// offer, in what [MakeOffer] made of that, and in the answer to it.
func PayloadMap(offered, sent, answer *Media) PayloadTypes {
	var p PayloadTypes
	for i := range p.ToAnswerer {
		p.ToAnswerer[i], p.FromAnswerer[i] = NoPayload, NoPayload
	}
	pairs := pairSections(offered, sent, answer)
	for _, f := range pairs {
		if to := &p.ToAnswerer[f.offered.PayloadType&127]; *to == NoPayload {
			*to = f.answered.PayloadType
		}
		p.FromAnswerer[f.sent.PayloadType&127] = f.offered.PayloadType
	}
	for _, f := range pairs {
		if from := &p.FromAnswerer[f.answered.PayloadType&127]; *from == NoPayload {
			*from = f.offered.PayloadType
		}
	}
	return p
}

// renumber makes payload types mean one thing in all sections of an offer to a
// browser, as they must in one BUNDLE group (RFC 9143 §9.1): phones count from
// 96 in each section, and browsers refuse such an offer as a whole.
func renumber(d *Description, places []Place) {
	var used [128]*Format
	settle := func(f *Format) {
		if other := used[f.PayloadType&127]; other != nil && !other.interchangeable(*f) {
			pt, ok := unusedPayloadType(&used, places, d)
			if !ok {
				return // more than a hundred formats; the browser will choose
			}
			f.PayloadType = pt
		}
		used[f.PayloadType&127] = f
	}
	for _, p := range places {
		formats := d.Media[p.Sent].Formats
		moved := make(map[uint8]uint8)
		for i := range formats {
			if f := &formats[i]; !f.IsRedundancy() {
				before := f.PayloadType
				settle(f)
				moved[before] = f.PayloadType
			}
		}
		for i := range formats { // what it holds has its number by now
			if f := &formats[i]; f.IsRedundancy() {
				f.renumbered(moved)
				settle(f)
			}
		}
	}
}

// interchangeable tells whether both formats may have one number in a group.
func (f Format) interchangeable(g Format) bool { return f.SameCodec(g) && f.FMTP == g.FMTP }

// unusedPayloadType returns a dynamic payload type that no section has: 96 to
// 127, then the 35 to 63 that browsers use when those are out (RFC 3551 §3,
// RFC 5761 §4).
func unusedPayloadType(used *[128]*Format, places []Place, d *Description) (uint8, bool) {
	free := func(pt uint8) bool {
		return used[pt] == nil && !slices.ContainsFunc(places, func(p Place) bool { return d.Media[p.Sent].format(pt) != nil })
	}
	for _, block := range [][2]uint8{{96, 127}, {35, 63}} {
		for pt := block[0]; pt <= block[1]; pt++ {
			if free(pt) {
				return pt, true
			}
		}
	}
	return 0, false
}
