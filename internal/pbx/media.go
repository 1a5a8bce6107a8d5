package pbx

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"webrtc2sip/internal/offeranswer"
)

// media is the RTP side of a test call: plain RTP as an old telephone has it,
// one line of sound and, where an echo is offered pictures, one of those. Its
// descriptions belong to the call's loop; what a line has agreed on is shared
// with its reader and sender.
type media struct {
	service  *service
	address  netip.Addr
	sound    *line
	pictures *line // nil until they are offered

	last    *offeranswer.Description // as sent
	session uint64
}

// newMedia opens the sockets of the sound. Close ends all lines.
func newMedia(s *service, local netip.Addr) (*media, error) {
	sound, err := newLine(s, local)
	if err != nil {
		return nil, err
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	return &media{service: s, address: local, sound: sound, session: uint64(binary.BigEndian.Uint32(id[:]))}, nil
}

// Close ends all lines and waits for them. Idempotent; a nil media has nothing
// to close.
func (m *media) Close() {
	if m == nil {
		return
	}
	m.sound.close()
	if m.pictures != nil {
		m.pictures.close()
	}
}

// String sums up the lines for the log.
func (m *media) String() string {
	switch {
	case m == nil:
		return "none"
	case m.pictures == nil:
		return m.sound.String()
	}
	return m.sound.String() + ", " + m.pictures.String()
}

// silent tells for how long nothing came that should have; 0 while on hold.
func (m *media) silent(now time.Time) time.Duration {
	if m == nil {
		return 0
	}
	return m.sound.silent(now)
}

// chosen is a section of an offer that is served.
type chosen struct {
	line    *line
	stream  *stream
	formats []offeranswer.Format
}

// offered takes an offer and makes the answer, which description then gives.
// An offer that is refused changes nothing.
func (m *media) offered(text []byte) error {
	offer, err := offeranswer.Parse(text)
	if err != nil {
		return err
	}
	at, ok := offer.Audio()
	if !ok || offer.Media[at].Profile() != offeranswer.RTP {
		return fmt.Errorf("audio over RTP is spoken here alone: %w", offeranswer.ErrNotAcceptable)
	}
	s, formats, err := m.agree(&offer.Media[at])
	if err != nil {
		return err
	}
	served := map[int]chosen{at: {m.sound, s, formats}}
	if i := m.video(offer); i >= 0 {
		if c, ok := m.mirror(&offer.Media[i]); ok {
			served[i] = c
		}
	}
	d := m.blank()
	for i := range offer.Media {
		c, ok := served[i]
		if !ok {
			d.Media = append(d.Media, refused(&offer.Media[i]))
			continue
		}
		d.Media = append(d.Media, m.section(&offer.Media[i], c.line, c.formats, c.stream.dir))
		c.line.use(c.stream)
	}
	if m.pictures != nil && !slices.ContainsFunc(d.Media, func(s offeranswer.Media) bool { return s.Port == m.pictures.port() }) {
		m.pictures.use(&stream{dir: offeranswer.Inactive})
	}
	m.say(d)
	return nil
}

// video returns the index of the section that an echo sends back as well, -1 if
// there is none.
func (m *media) video(offer *offeranswer.Description) int {
	if m.service.tone {
		return -1
	}
	return slices.IndexFunc(offer.Media, func(s offeranswer.Media) bool {
		return s.Kind == "video" && s.Active() && s.Profile() == offeranswer.RTP
	})
}

// mirror serves a section of pictures, whatever encodes them: nobody looks at
// them here. ok is false if it has no codec, or there are no sockets for it.
func (m *media) mirror(peer *offeranswer.Media) (c chosen, ok bool) {
	at := slices.IndexFunc(peer.Formats, func(f offeranswer.Format) bool { return f.Codec != "" && f.CarriesMedia() })
	if at < 0 {
		return c, false
	}
	if m.pictures == nil {
		l, err := newLine(m.service, m.address)
		if err != nil {
			return c, false // the sound is the call
		}
		m.pictures = l
	}
	formats := []offeranswer.Format{peer.Formats[at]}
	return chosen{m.pictures, m.stream(peer, formats), formats}, true
}

// offer makes an offer, which description then gives: all that the service
// speaks.
func (m *media) offer() {
	formats := append(slices.Clone(m.service.codecs), dtmf)
	d := m.blank()
	d.Media = []offeranswer.Media{m.section(&offeranswer.Media{Kind: "audio", Proto: "RTP/AVP"}, m.sound, formats, offeranswer.SendRecv)}
	m.say(d)
	m.sound.heard.Store(time.Now().UnixNano())
}

// accept takes the answer to our offer.
func (m *media) accept(text []byte) error {
	answer, err := offeranswer.Parse(text)
	if err != nil {
		return err
	}
	at, ok := answer.Audio()
	if !ok || answer.Media[at].Profile() != offeranswer.RTP {
		return offeranswer.ErrNotAcceptable
	}
	s, _, err := m.agree(&answer.Media[at])
	if err == nil {
		m.sound.use(s)
	}
	return err
}

// agree chooses from a section of sound that the peer sent: the first codec that
// the service speaks, and the telephone-event of its clock rate (RFC 4733 §2.1).
func (m *media) agree(peer *offeranswer.Media) (*stream, []offeranswer.Format, error) {
	at := slices.IndexFunc(peer.Formats, m.service.speaks)
	if at < 0 {
		return nil, nil, offeranswer.ErrNoCommonCodec
	}
	formats := []offeranswer.Format{peer.Formats[at]}
	for _, f := range peer.Formats {
		if f.IsTelephoneEvent() && f.ClockRate == formats[0].ClockRate {
			formats = append(formats, f)
			break
		}
	}
	return m.stream(peer, formats), formats, nil
}

// stream is what a section of the peer's comes to under these formats.
func (m *media) stream(peer *offeranswer.Media, formats []offeranswer.Format) *stream {
	s := &stream{to: peer.RTP(), rtcp: peer.RTCP(), codec: formats[0], dir: offeranswer.SendRecv.Limit(peer.Direction)}
	if !offeranswer.MaySend(s.to, m.address) {
		s.to = netip.AddrPort{}
	}
	if !offeranswer.MaySend(s.rtcp, m.address) {
		s.rtcp = netip.AddrPort{}
	}
	for _, f := range formats {
		s.payloads = append(s.payloads, f.PayloadType)
	}
	return s
}

func (m *media) blank() *offeranswer.Description {
	return &offeranswer.Description{
		Origin:      offeranswer.Origin{Username: "-", SessionID: m.session, Version: 1, Address: m.address},
		SessionName: "-", Address: m.address,
	}
}

// section writes one of our lines as the counterpart of like.
func (m *media) section(like *offeranswer.Media, l *line, formats []offeranswer.Format, dir offeranswer.Direction) offeranswer.Media {
	return offeranswer.Media{
		Kind: like.Kind, Proto: like.Proto, Port: l.port(), Formats: formats, Direction: dir,
		Mid: like.Mid, Ptime: like.Ptime, Address: m.address,
	}
}

// refused answers a section that is not served, by port 0 (RFC 3264 §6).
func refused(like *offeranswer.Media) offeranswer.Media {
	return offeranswer.Media{Kind: like.Kind, Proto: like.Proto, Formats: like.Formats, Tokens: like.Tokens, Mid: like.Mid}
}

// say makes d the description to send. Its version grows if it differs from the
// one before and not else, so that a session refresh is known as one
// (RFC 3264 §8).
func (m *media) say(d *offeranswer.Description) {
	if m.last != nil {
		d.Origin.Version = m.last.Origin.Version
		if !bytes.Equal(d.Marshal(), m.last.Marshal()) {
			d.Origin.Version++
		}
	}
	m.last = d
}

// description is the one to send.
func (m *media) description() *offeranswer.Description { return m.last }
