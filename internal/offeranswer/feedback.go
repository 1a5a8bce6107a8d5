package offeranswer

import (
	"slices"
	"strings"
)

// ownFeedback is what our endpoints do about video, whatever the party behind
// them does: RTCP ends at each side. Towards browsers they also tell how much
// gets through (draft-alvestrand-rmcat-remb,
// draft-holmer-rmcat-transport-wide-cc-extensions).
func (m *Media) ownFeedback() []string {
	if m.Profile() == WebRTC {
		return []string{"ccm fir", "nack", "nack pli", "goog-remb", "transport-cc"}
	}
	return []string{"ccm fir", "nack", "nack pli"}
}

// feedsBack tells whether RTCP feedback may be used in the section: under AVPF
// and its secure forms (RFC 4585 §4).
func (m *Media) feedsBack() bool { return strings.HasSuffix(strings.ToUpper(m.Proto), "AVPF") }

// offerFeedback writes ours into an offer.
func (m *Media) offerFeedback() {
	if m.Kind != "video" || !m.feedsBack() {
		return
	}
	own := m.ownFeedback()
	for i := range m.Formats {
		if f := &m.Formats[i]; !f.isRepair() {
			f.Feedback = own
		}
	}
}

// answerFeedback writes what is ours and was offered for the same format.
func (m *Media) answerFeedback(offered *Media) {
	if m.Kind != "video" || !m.feedsBack() {
		return
	}
	for i := range m.Formats {
		f := &m.Formats[i]
		if f.isRepair() {
			continue
		}
		theirs := offered.format(f.PayloadType).Feedback
		for _, own := range m.ownFeedback() {
			if slices.Contains(theirs, own) {
				f.Feedback = append(f.Feedback, own)
			}
		}
	}
}
