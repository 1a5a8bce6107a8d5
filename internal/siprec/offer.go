package siprec

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/netip"
	"strconv"
	"strings"

	"webrtc2sip/internal/offeranswer"
	"webrtc2sip/internal/sipstack"
)

const (
	sdpType = "application/sdp"
	profile = "RTP/AVP"
)

// describe makes our description for a server that is reached over a flow: the m-lines that there are, and new ones for
// who sends now for the first time.
func (s *Session) describe(f *sipstack.Flow) (*offeranswer.Description, error) {
	local := s.local(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extend()
	s.version++
	d := &offeranswer.Description{
		Origin:      offeranswer.Origin{SessionID: s.origin, Version: s.version},
		SessionName: "recording",
	}
	for _, l := range s.lines {
		if err := s.open(l, local); err != nil {
			return nil, fmt.Errorf("ports of m-line %s: %w", l.label, err)
		}
		d.Media = append(d.Media, l.section())
		d.Address = l.address
	}
	d.Origin.Address = d.Address
	return d, nil
}

// local is our address towards a server.
func (s *Session) local(f *sipstack.Flow) netip.Addr {
	a, public := f.Local().Addr().Unmap(), s.client.cfg.PublicAddress
	if public.IsValid() && !a.IsLoopback() && public.Is4() == a.Is4() {
		return public
	}
	return a
}

// extend makes lines for the sides that have begun to send; s.mu is held.
func (s *Session) extend() {
	for _, t := range s.taps {
		for _, side := range []offeranswer.Side{offeranswer.Caller, offeranswer.Callee} {
			if !t.sends[side] || t.lines[side].Load() != nil || len(s.lines) == maxLines || len(t.offered(side)) == 0 {
				continue
			}
			l := &line{tap: t, side: side, label: strconv.Itoa(len(s.lines) + 1), id: newID()}
			s.lines = append(s.lines, l)
			t.lines[side].Store(l)
		}
	}
}

// open gives a line its sockets, other ones than before if we have another address towards this server; s.mu is held.
func (s *Session) open(l *line, local netip.Addr) error {
	if l.pair != nil && l.local == local {
		return nil
	}
	pair, address, err := s.client.cfg.OpenPair(local)
	if err != nil {
		return err
	}
	if l.pair != nil {
		l.route.Store(nil)
		l.pair.Close()
	}
	l.pair, l.address, l.local = pair, address, local
	if l.tap.video {
		s.readers.Go(func() { s.listen(l, pair) })
	}
	return nil
}

// section is a line's m-line as we offer it; the session's mu is held.
func (l *line) section() offeranswer.Media {
	m := offeranswer.Media{
		Kind: "audio", Port: l.pair.Port(), Proto: profile, Address: l.address, Label: l.label,
		Direction: offeranswer.SendOnly, Formats: l.tap.offered(l.side),
	}
	if l.tap.video {
		m.Kind = "video"
	}
	if !l.tap.sends[l.side] {
		m.Direction = offeranswer.Inactive
	}
	return m
}

// snapshot is what the metadata tells now.
func (s *Session) snapshot() *snapshot {
	out := &snapshot{session: s.id, start: s.started, participants: [2]member{{s.parties[0], s.call.Caller}, {s.parties[1], s.call.Callee}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		out.streams = append(out.streams, track{id: l.id, label: l.label, side: l.side, sends: l.tap.sends[l.side]})
	}
	return out
}

// content is a body with its type.
type content struct {
	kind string
	text []byte
}

// offer makes the body of an INVITE: the description, and the metadata (RFC 7866 §9.1).
func (s *Session) offer(f *sipstack.Flow) (content, error) {
	select {
	case <-s.changed: // is in it
	default:
	}
	d, err := s.describe(f)
	if err != nil {
		return content{}, err
	}
	return join(d.Marshal(), s.snapshot().document()), nil
}

func join(description, metadata []byte) content {
	boundary := rand.Text()
	var b bytes.Buffer
	for _, part := range []struct {
		head string
		text []byte
	}{
		{"Content-Type: " + sdpType, description},
		{"Content-Type: " + metadataType + "\r\nContent-Disposition: " + disposition, metadata},
	} {
		b.WriteString("--" + boundary + "\r\n" + part.head + "\r\n\r\n")
		b.Write(part.text)
		b.WriteString("\r\n")
	}
	b.WriteString("--" + boundary + "--\r\n")
	return content{"multipart/mixed;boundary=" + boundary, b.Bytes()}
}

// descriptionOf finds the session description in a body, nil if there is none.
func descriptionOf(body []byte, kind string) []byte {
	for _, c := range contents(body, kind) {
		if c.kind == sdpType {
			return c.text
		}
	}
	return nil
}

// asksMetadata tells whether a body asks for the metadata.
func asksMetadata(body []byte, kind string) bool {
	for _, c := range contents(body, kind) {
		if c.kind == requestType {
			return true
		}
	}
	return false
}

// maxParts bounds those that are looked at; a server has two things to say at most.
const maxParts = 8

// contents takes a body apart, with the types in lower case and without parameters. One that is malformed has none.
func contents(body []byte, kind string) []content {
	media, params, err := mime.ParseMediaType(kind)
	if err != nil || len(body) == 0 {
		return nil
	}
	if !strings.HasPrefix(media, "multipart/") {
		return []content{{media, body}}
	}
	var out []content
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for len(out) < maxParts {
		part, err := reader.NextRawPart()
		if err != nil {
			break
		}
		text, err := io.ReadAll(part) // no more than the body
		media, _, kindErr := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil || kindErr != nil {
			break
		}
		out = append(out, content{media, text})
	}
	return out
}
