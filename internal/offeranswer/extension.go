package offeranswer

import (
	"slices"
	"strconv"
	"strings"
)

// URIs of the RTP header extensions that the gateway knows.
const (
	// ExtensionMID carries the mid of a packet's section (RFC 9143 §15).
	ExtensionMID = "urn:ietf:params:rtp-hdrext:sdes:mid"
	// ExtensionOrientation tells how a camera is held (3GPP TS 26.114 §7.4.5).
	// It is the only one that passes from side to side: phones use it too.
	ExtensionOrientation = "urn:3gpp:video-orientation"
	// ExtensionTransportCC numbers the packets of a browser's transport, for the
	// feedback of the same name.
	ExtensionTransportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

// maxExtensionID is the largest that the one-octet form can hold; 15 is
// reserved (RFC 8285 §4.2).
const maxExtensionID = 14

// Extension is one a=extmap line (RFC 8285).
type Extension struct {
	ID  uint8 // 1 to 14
	URI string
}

// parseExtension reads "4 urn:…" or "4/sendonly urn:… attributes". Those for
// one direction alone, and IDs that need the two-octet form, are nothing that
// we answer.
func (m *Media) parseExtension(value string) {
	f := strings.Fields(value)
	if len(f) < 2 || len(m.Extensions) == maxPerSection {
		return
	}
	number, direction, _ := strings.Cut(f[0], "/")
	id, err := strconv.ParseUint(number, 10, 16)
	if err != nil || id < 1 || id > maxExtensionID || direction != "" && direction != "sendrecv" {
		return
	}
	m.Extensions = append(m.Extensions, Extension{uint8(id), f[1]})
}

// ExtensionID returns the number of an extension in this section, 0 if it was
// not negotiated.
func (m *Media) ExtensionID(uri string) uint8 {
	for _, e := range m.Extensions {
		if e.URI == uri {
			return e.ID
		}
	}
	return 0
}

// acceptMid answers the extension by which packets of a group are told apart.
func (m *Media) acceptMid(offered *Media) {
	if id := offered.ExtensionID(ExtensionMID); id != 0 {
		m.Extensions = append(m.Extensions, Extension{id, ExtensionMID})
	}
}

// answerExtensions accepts what the offerer and the other side both have, under
// the offerer's number.
func (m *Media) answerExtensions(offered, other *Media) {
	id := offered.ExtensionID(ExtensionOrientation)
	if id != 0 && other.ExtensionID(ExtensionOrientation) != 0 {
		m.Extensions = append(m.Extensions, Extension{id, ExtensionOrientation})
	}
	if id = offered.ExtensionID(ExtensionTransportCC); id != 0 && m.HasFeedback("transport-cc") {
		m.Extensions = append(m.Extensions, Extension{id, ExtensionTransportCC})
	}
}

// offerExtensions writes into d, an offer, what the sections of from have and
// passes, and for a browser with several sections the mid.
func (t *Transport) offerExtensions(from, d *Description, places []Place) {
	numbers := t.extensionNumbers()
	for _, p := range places {
		m := &d.Media[p.Sent]
		if t.Profile == WebRTC && len(places) > 1 {
			m.Extensions = append(m.Extensions, numbers.of(ExtensionMID))
		}
		if from.Media[p.Offered].ExtensionID(ExtensionOrientation) != 0 {
			m.Extensions = append(m.Extensions, numbers.of(ExtensionOrientation))
		}
		if m.HasFeedback("transport-cc") {
			m.Extensions = append(m.Extensions, numbers.of(ExtensionTransportCC))
		}
	}
}

// extensionNumbers are those in use with a side. A number keeps its meaning
// for the whole session (RFC 8285 §5) and in all sections of a BUNDLE group
// (RFC 9143 §9.1).
type extensionNumbers []Extension

func (t *Transport) extensionNumbers() extensionNumbers {
	var n extensionNumbers
	if t.Previous != nil {
		for i := range t.Previous.Media {
			n = append(n, t.Previous.Media[i].Extensions...)
		}
	}
	return n
}

func (n *extensionNumbers) of(uri string) Extension {
	for _, e := range *n {
		if e.URI == uri {
			return e
		}
	}
	e := Extension{1, uri}
	for slices.ContainsFunc(*n, func(used Extension) bool { return used.ID == e.ID }) {
		e.ID++
	}
	*n = append(*n, e)
	return e
}
