package breaker

import (
	"crypto/rand"

	"webrtc2sip/breaker/legacy"
	"webrtc2sip/internal/offeranswer"
)

// keying is what protects a stream towards a phone by keys of the descriptions
// (RFC 4568): the lines that are in force, zero as long as there are none.
type keying struct{ ours, theirs offeranswer.Crypto }

// newKey makes a line with a fresh key.
func newKey(tag int, suite offeranswer.Suite) offeranswer.Crypto {
	c := offeranswer.Crypto{Tag: tag, Suite: suite, Key: make(offeranswer.MasterKey, suite.Size())}
	_, _ = rand.Read(c.Key) // never fails
	return c
}

// offer returns the lines of an offer: the one in force, since a new key of
// ours would be a new one for the phone as well, or else a fresh one for each
// suite. What a target was offered that did not answer is no secret to it.
func (k *keying) offer() []offeranswer.Crypto {
	if k.ours.Key != nil {
		return []offeranswer.Crypto{k.ours}
	}
	var lines []offeranswer.Crypto
	for i, suite := range offeranswer.Suites() {
		lines = append(lines, newKey(i+1, suite))
	}
	return lines
}

// answer returns our line for a phone's offer, of which we take the first that
// we can work with: the order is the offerer's (RFC 4568 §5.1.2). Our key stays
// as long as the phone's does, and is new when that is, or on new sockets, whose
// counters begin anew. An MKI is answered with the same one, since few know that
// each side has its own.
func (k *keying) answer(m *offeranswer.Media, sockets bool) offeranswer.Crypto {
	theirs := m.Crypto[0]
	ours := k.ours
	if !k.theirs.Equal(theirs) || ours.Suite != theirs.Suite || sockets {
		ours = newKey(theirs.Tag, theirs.Suite)
		ours.MKI = theirs.MKI
	}
	ours.Tag = theirs.Tag
	return ours
}

// offerKeys adds to our transport for an offer what protects a phone's media.
func (e *end) offerKeys(t *offeranswer.Transport, streams []*stream, security offeranswer.Security) {
	if e.web != nil {
		return
	}
	for i, s := range streams {
		ice := s.lines[e.side].ice
		t.Lines[i].Ufrag, t.Lines[i].Pwd = ice.Ufrag, ice.Pwd
	}
	t.Feedback = security.Feedback
	t.BestEffort = e.profile == offeranswer.RTP && e.agreed == nil && security.Mode == offeranswer.SecurityBestEffort
	if e.profile == offeranswer.SDES || t.BestEffort && security.SDES {
		for i, s := range streams {
			t.Lines[i].Crypto = s.lines[e.side].keys.offer()
		}
	}
	if e.profile == offeranswer.DTLS || t.BestEffort && security.DTLS {
		t.Fingerprint = e.fingerprint
	}
}

// answerKeys adds to our transport for an answer to a phone's offer in x what
// that asks for.
func (e *end) answerKeys(t *offeranswer.Transport, x *exchange) {
	t.Profile = x.Offer.Profile()
	for k, s := range x.streams {
		ice := s.lines[e.side].checks(x.Offer, &x.Offer.Media[x.Places[k].Offered])
		t.Lines[k].Ufrag, t.Lines[k].Pwd = ice.Ufrag, ice.Pwd
	}
	switch t.Profile {
	case offeranswer.SDES:
		for k, s := range x.streams {
			l := &s.lines[e.side]
			t.Lines[k].Crypto = []offeranswer.Crypto{l.keys.answer(&x.Offer.Media[x.Places[k].Offered], l.next != nil)}
		}
	case offeranswer.DTLS:
		t.Fingerprint = e.fingerprint
		m := &x.Offer.Media[x.Places[0].Offered]
		t.Setup = m.Setup.Answer()
		if m.Setup == offeranswer.ActPass {
			t.Setup = e.role(x.streams[0].lines[e.side].coming(), m)
		}
	}
}

// role is our answer to setup:actpass: the role of the association that there is
// (RFC 8842 §5.5), else that of the server, who chooses the SRTP profile.
func (e *end) role(phone *legacy.Endpoint, m *offeranswer.Media) offeranswer.Setup {
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return offeranswer.Passive // MakeOffer has refused it
	}
	if client, running := phone.Role(fingerprint); running && client {
		return offeranswer.Active
	}
	return offeranswer.Passive
}

// checks returns our side of ICE with a phone that offers it, zero for others.
// Another ufrag of the phone's is a restart, and has another one of ours
// (RFC 8839 §4.4.1.1.1).
func (l *line) checks(offer *offeranswer.Description, m *offeranswer.Media) legacy.ICE {
	switch {
	case !m.OffersICE(offer):
		return legacy.ICE{}
	case l.ice.Remote == m.ICE.Ufrag:
		return l.ice
	case l.fresh.Remote != m.ICE.Ufrag: // the same for each answer to an offer
		l.fresh = legacy.ICE{Ufrag: rand.Text()[:16], Pwd: rand.Text(), Remote: m.ICE.Ufrag}
	}
	return l.fresh
}

// agreeICE puts ICE with a phone into force, or out of it.
func (l *line) agreeICE(m, ours *offeranswer.Media) {
	l.ice, l.fresh = legacy.ICE{}, legacy.ICE{}
	if ours.ICE.Ufrag != "" && m.ICE.Ufrag != "" {
		l.ice = legacy.ICE{Ufrag: ours.ICE.Ufrag, Pwd: ours.ICE.Pwd, Remote: m.ICE.Ufrag}
	}
	l.phone.SetICE(l.ice)
}

// protect gives a line the protection that the phone's section m and our own
// have agreed on; offered tells that m is the offer of the two.
func (e *end) protect(l *line, m, ours *offeranswer.Media, offered bool) error {
	e.profile = m.Profile()
	var p legacy.Protection
	switch e.profile {
	case offeranswer.SDES:
		keys, err := agreedKeys(m, ours, offered)
		if err != nil {
			return err
		}
		l.keys = keys
		p.Keys = legacy.KeysOf(keys.ours, keys.theirs)
	case offeranswer.DTLS:
		var err error
		if p.Fingerprint, err = m.Fingerprint(); err != nil {
			return err
		}
		p.Mux = m.RTCPMux && ours.RTCPMux
		p.Client = ours.Setup == offeranswer.Active || !offered && m.Setup == offeranswer.Passive
		l.keys = keying{}
	default:
		l.keys = keying{}
	}
	l.agreeICE(m, ours)
	return l.phone.Protect(p)
}

// agreedKeys finds the two lines of an exchange.
func agreedKeys(m, ours *offeranswer.Media, offered bool) (k keying, err error) {
	if offered {
		k.theirs, k.ours, err = offeranswer.AnsweredCrypto(m, ours)
	} else {
		k.ours, k.theirs, err = offeranswer.AnsweredCrypto(ours, m)
	}
	return k, err
}
