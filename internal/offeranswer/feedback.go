package offeranswer

import (
	"slices"
	"strings"
)

// ownFeedback is what our endpoints do about video, whatever the party behind
// them does: RTCP ends at each side.
var ownFeedback = []string{"ccm fir", "nack pli"}

// feedsBack tells whether RTCP feedback may be used in the section: under AVPF
// and its secure forms (RFC 4585 §4).
func (m *Media) feedsBack() bool { return strings.HasSuffix(strings.ToUpper(m.Proto), "AVPF") }

// offerFeedback writes ours into an offer.
func (m *Media) offerFeedback() {
	if m.Kind != "video" || !m.feedsBack() {
		return
	}
	for i := range m.Formats {
		m.Formats[i].Feedback = ownFeedback
	}
}

// answerFeedback writes what is ours and was offered for the same format.
func (m *Media) answerFeedback(offered *Media) {
	if m.Kind != "video" || !m.feedsBack() {
		return
	}
	for i := range m.Formats {
		f := &m.Formats[i]
		theirs := offered.format(f.PayloadType).Feedback
		for _, own := range ownFeedback {
			if slices.Contains(theirs, own) {
				f.Feedback = append(f.Feedback, own)
			}
		}
	}
}
