package offeranswer

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Marshal returns the text of the description with CRLF line ends, in the
// order of RFC 8866 §5.
func (d *Description) Marshal() []byte {
	w := make(writer, 0, 1024)
	w.line("v=0")
	name := d.Origin.Username
	if name == "" {
		name = "-"
	}
	w.line("o=", name, " ", strconv.FormatUint(d.Origin.SessionID, 10), " ",
		strconv.FormatUint(d.Origin.Version, 10), " ", connection(d.Origin.Address))
	if d.SessionName == "" {
		w.line("s=-") // an empty s= is not allowed, RFC 8866 §5.3
	} else {
		w.line("s=", d.SessionName)
	}
	if d.Address.IsValid() {
		w.line("c=", connection(d.Address))
	}
	w.bandwidth(d.Bandwidth)
	w.line("t=0 0")
	if len(d.Bundle) > 0 {
		w.line("a=group:BUNDLE ", strings.Join(d.Bundle, " "))
	}
	if d.ICELite {
		w.line("a=ice-lite")
	}
	for i := range d.Media {
		w.media(&d.Media[i], d.Address)
	}
	return w
}

// writer is the text under construction.
type writer []byte

func (w *writer) line(parts ...string) {
	for _, part := range parts {
		*w = append(*w, part...)
	}
	*w = append(*w, '\r', '\n')
}

// media writes one section; session is the address that holds without a c=
// line of its own.
func (w *writer) media(m *Media, session netip.Addr) {
	*w = append(*w, "m="+m.Kind+" "...)
	*w = strconv.AppendUint(*w, uint64(m.Port), 10)
	*w = append(*w, " "+m.Proto...)
	for _, f := range m.Formats {
		*w = append(*w, ' ')
		*w = strconv.AppendUint(*w, uint64(f.PayloadType), 10)
	}
	for _, token := range m.Tokens {
		*w = append(*w, " "+token...)
	}
	w.line()
	if m.Address != session {
		w.line("c=", connection(m.Address))
	}
	w.bandwidth(m.Bandwidth)
	w.rtcp(m)
	w.transport(m)
	if m.Mid != "" {
		w.line("a=mid:", m.Mid)
	}
	if m.Label != "" {
		w.line("a=label:", m.Label)
	}
	for _, e := range m.Extensions {
		w.line("a=extmap:", strconv.Itoa(int(e.ID)), " ", e.URI)
	}
	if m.overRTP() {
		w.line("a=", m.Direction.String())
	}
	for _, s := range m.Streams {
		w.line("a=msid:", strings.TrimRight(s.ID+" "+s.Track, " "))
	}
	w.flag(m.RTCPMux, "rtcp-mux")
	w.flag(m.RTCPReducedSize, "rtcp-rsize")
	w.flag(m.BundleOnly, "bundle-only")
	w.formats(m)
	w.sources(m)
	w.candidates(m)
}

func (w *writer) sources(m *Media) {
	for _, g := range m.SSRCGroups {
		*w = append(*w, "a=ssrc-group:"+g.Semantics...)
		for _, id := range g.IDs {
			*w = strconv.AppendUint(append(*w, ' '), uint64(id), 10)
		}
		w.line()
	}
	for _, s := range m.SSRCs {
		if s.CNAME != "" {
			w.line("a=ssrc:", strconv.FormatUint(uint64(s.ID), 10), " cname:", s.CNAME)
		}
	}
}

func (w *writer) formats(m *Media) {
	for _, f := range m.Formats {
		pt := strconv.Itoa(int(f.PayloadType))
		if f.Codec != "" {
			*w = append(*w, "a=rtpmap:"+pt+" "+f.Codec+"/"...)
			*w = strconv.AppendUint(*w, uint64(f.ClockRate), 10)
			if f.Channels > 1 {
				*w = append(*w, '/')
				*w = strconv.AppendUint(*w, uint64(f.Channels), 10)
			}
			w.line()
		}
		for _, feedback := range f.Feedback {
			w.line("a=rtcp-fb:", pt, " ", feedback)
		}
		if f.FMTP != "" {
			w.line("a=fmtp:", pt, " ", f.FMTP)
		}
	}
	w.milliseconds("ptime", m.Ptime)
	w.milliseconds("maxptime", m.MaxPtime)
}

func (w *writer) rtcp(m *Media) {
	switch {
	case m.RTCPPort == 0:
	case m.RTCPAddress.IsValid():
		w.line("a=rtcp:", strconv.Itoa(int(m.RTCPPort)), " ", connection(m.RTCPAddress))
	default:
		w.line("a=rtcp:", strconv.Itoa(int(m.RTCPPort)))
	}
}

// transport writes ICE and DTLS but for the candidates.
func (w *writer) transport(m *Media) {
	if m.ICE.Ufrag != "" {
		w.line("a=ice-ufrag:", m.ICE.Ufrag)
	}
	if m.ICE.Pwd != "" {
		w.line("a=ice-pwd:", m.ICE.Pwd)
	}
	if len(m.ICE.Options) > 0 {
		w.line("a=ice-options:", strings.Join(m.ICE.Options, " "))
	}
	for _, f := range m.Fingerprints {
		w.line("a=fingerprint:", f.Algorithm, " ", f.Sum)
	}
	if m.Setup != SetupUnset {
		w.line("a=setup:", m.Setup.String())
	}
	for _, c := range m.Crypto {
		w.line("a=crypto:", c.text())
	}
	if m.Configuration != "" {
		w.line("a=acfg:", m.Configuration)
	}
}

func (w *writer) candidates(m *Media) {
	for _, c := range m.ICE.Candidates {
		w.line("a=candidate:", c.String())
	}
	w.flag(m.ICE.EndOfCandidates, "end-of-candidates")
}

func (w *writer) flag(set bool, name string) {
	if set {
		w.line("a=", name)
	}
}

func (w *writer) milliseconds(name string, d time.Duration) {
	if d > 0 {
		w.line("a=", name, ":", strconv.FormatInt(d.Milliseconds(), 10))
	}
}

func (w *writer) bandwidth(lines []Bandwidth) {
	for _, b := range lines {
		w.line("b=", b.Type, ":", strconv.FormatUint(b.Value, 10))
	}
}

// connection returns the value of a c= line. An address that is none, such as
// that of a host name, becomes the one that nothing is sent to.
func connection(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "IN IP4 0.0.0.0"
	case addr.Is4():
		return "IN IP4 " + addr.String()
	}
	return "IN IP6 " + addr.String()
}
