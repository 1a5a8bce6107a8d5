package pbx

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"webrtc2sip/internal/offeranswer"
)

const (
	rtpHeader = 12   // octets of a fixed RTP header (RFC 3550 §5.1)
	maxPacket = 1500 // octets read; an RTP packet over Ethernet is smaller
)

// media is the RTP side of a test call: one socket, one audio stream, plain
// RTP/AVP on an even port as an old telephone has it. Its descriptions belong
// to the call's loop; the stream's state is shared with the reader and sender.
//
// The port above is bound and never read: it is ours by RFC 3550 §11, and
// nobody else shall get reports that are sent there.
type media struct {
	service *service
	conn    *net.UDPConn
	rtcp    *net.UDPConn
	local   netip.AddrPort
	closing sync.Once
	wg      sync.WaitGroup
	done    chan struct{}

	last    *offeranswer.Description // as sent
	session uint64

	stream         atomic.Pointer[stream] // what was agreed on; nil before
	heard          atomic.Int64           // Unix nanoseconds of the last RTP, or of the last agreement
	received, sent atomic.Uint64          // packets
	ssrc           uint32
}

// stream is what offer and answer agreed on. Never changed, only replaced.
type stream struct {
	to       netip.AddrPort // zero: nowhere
	dir      offeranswer.Direction
	codec    offeranswer.Format
	payloads []uint8 // all that were agreed on, telephone-event included
}

// sends tells whether the peer wants to hear us, and where.
func (s *stream) sends() bool { return s.dir.Sends() && s.to.IsValid() }

// newMedia opens the sockets on a free even port and the one above, and starts
// the reader, and the sender of a tone. Close ends both.
func newMedia(s *service, local netip.Addr) (*media, error) {
	conn, rtcp, err := listenPair(local)
	if err != nil {
		return nil, err
	}
	var id [12]byte
	_, _ = rand.Read(id[:])
	m := &media{
		service: s, conn: conn, rtcp: rtcp, done: make(chan struct{}),
		local:   netip.AddrPortFrom(local, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()),
		session: uint64(binary.BigEndian.Uint32(id[:])), ssrc: binary.BigEndian.Uint32(id[4:]),
	}
	m.wg.Go(m.readLoop)
	if s.tone {
		m.wg.Go(m.play)
	}
	return m, nil
}

func listenPair(local netip.Addr) (rtp, rtcp *net.UDPConn, err error) {
	for range 64 {
		rtp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
		if err != nil {
			return nil, nil, err
		}
		if port := rtp.LocalAddr().(*net.UDPAddr).AddrPort().Port(); port%2 == 0 {
			rtcp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, port+1)))
			if err == nil {
				return rtp, rtcp, nil
			}
		}
		_ = rtp.Close()
	}
	return nil, nil, errors.New("no free pair of ports")
}

// Close ends reader and sender and waits for them. Idempotent; a nil media has
// nothing to close.
func (m *media) Close() {
	if m == nil {
		return
	}
	m.closing.Do(func() {
		close(m.done)
		_ = m.conn.Close()
		_ = m.rtcp.Close()
	})
	m.wg.Wait()
}

// String sums up the stream for the log.
func (m *media) String() string {
	if m == nil {
		return "none"
	}
	codec := "none"
	if s := m.stream.Load(); s != nil {
		codec = s.codec.Codec
	}
	return fmt.Sprintf("%s received %d sent %d", codec, m.received.Load(), m.sent.Load())
}

// silent tells for how long nothing came that should have; 0 while on hold.
func (m *media) silent(now time.Time) time.Duration {
	if m == nil {
		return 0
	}
	s := m.stream.Load()
	if s != nil && !s.dir.Receives() {
		return 0
	}
	return now.Sub(time.Unix(0, m.heard.Load()))
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
		return fmt.Errorf("audio over RTP/AVP is spoken here alone: %w", offeranswer.ErrNotAcceptable)
	}
	s, formats, err := m.agree(&offer.Media[at])
	if err != nil {
		return err
	}
	d := m.blank()
	for i := range offer.Media {
		if i == at {
			d.Media = append(d.Media, m.section(&offer.Media[i], formats, s.dir))
		} else {
			d.Media = append(d.Media, refused(&offer.Media[i]))
		}
	}
	m.say(d)
	m.use(s)
	return nil
}

// offer makes an offer, which description then gives: all that the service
// speaks, or what is in use already.
func (m *media) offer() {
	formats := append(slices.Clone(m.service.codecs), dtmf)
	d := m.blank()
	d.Media = []offeranswer.Media{m.section(&offeranswer.Media{Kind: "audio", Proto: "RTP/AVP"}, formats, offeranswer.SendRecv)}
	m.say(d)
	m.heard.Store(time.Now().UnixNano())
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
		m.use(s)
	}
	return err
}

// agree chooses from a section that the peer sent: the first codec that the
// service speaks, and the telephone-event of its clock rate (RFC 4733 §2.1).
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
	s := &stream{to: peer.RTP(), codec: formats[0], dir: offeranswer.SendRecv.Limit(peer.Direction)}
	if !offeranswer.MaySend(s.to, m.local.Addr()) {
		s.to = netip.AddrPort{}
	}
	for _, f := range formats {
		s.payloads = append(s.payloads, f.PayloadType)
	}
	return s, formats, nil
}

func (m *media) use(s *stream) {
	m.heard.Store(time.Now().UnixNano())
	m.stream.Store(s)
}

func (m *media) blank() *offeranswer.Description {
	return &offeranswer.Description{
		Origin:      offeranswer.Origin{Username: "-", SessionID: m.session, Version: 1, Address: m.local.Addr()},
		SessionName: "-", Address: m.local.Addr(),
	}
}

// section writes our audio as the counterpart of like.
func (m *media) section(like *offeranswer.Media, formats []offeranswer.Format, dir offeranswer.Direction) offeranswer.Media {
	return offeranswer.Media{
		Kind: like.Kind, Proto: like.Proto, Port: m.local.Port(), Formats: formats, Direction: dir,
		Mid: like.Mid, Ptime: like.Ptime, Address: m.local.Addr(),
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

// readLoop receives until the socket is closed, and sends back what an echo
// hears. Packets are taken from any source, as simple phones do; they are only
// ever sent where the peer's description says.
func (m *media) readLoop() {
	buf := make([]byte, maxPacket)
	var withheld uint16 // packets not sent back: on hold
	for {
		n, _, err := m.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s := m.stream.Load()
		if err != nil || s == nil || n < rtpHeader || buf[0]>>6 != 2 || !slices.Contains(s.payloads, buf[1]&0x7f) || !s.dir.Receives() {
			continue
		}
		m.heard.Store(time.Now().UnixNano())
		m.received.Add(1)
		switch {
		case m.service.tone:
		case !s.sends():
			withheld++
		default:
			// An own SSRC: the peer's own would look like a loop to it
			// (RFC 3550 §8.2). And no gap in the sequence after a hold: it
			// would count as loss.
			binary.BigEndian.PutUint16(buf[2:], binary.BigEndian.Uint16(buf[2:])-withheld)
			binary.BigEndian.PutUint32(buf[8:], m.ssrc)
			m.send(s, buf[:n])
		}
	}
}

// play sends the tone, 20 ms a packet by the clock, until Close.
func (m *media) play() {
	var (
		tick      = time.NewTicker(packetTime)
		began     = time.Now()
		packet    = make([]byte, rtpHeader+packetSamples)
		next      uint64 // 20 ms since it began, sent or not
		sequence  uint16
		wasSilent = true
	)
	defer tick.Stop()
	packet[0] = 2 << 6
	binary.BigEndian.PutUint32(packet[8:], m.ssrc)
	for {
		select {
		case <-m.done:
			return
		case now := <-tick.C:
			// A late tick is made up for, so that the stream keeps 50 packets a
			// second; after a long pause of the machine it goes on from now.
			due := uint64(now.Sub(began) / packetTime)
			for next = max(next, due-min(due, 5)); next < due; next++ {
				s := m.stream.Load()
				if s == nil || !s.sends() {
					wasSilent = true
					continue
				}
				packet[1] = s.codec.PayloadType
				if wasSilent { // begin of a talkspurt (RFC 3551 §4.1)
					packet[1] |= 0x80
					wasSilent = false
				}
				sequence++
				binary.BigEndian.PutUint16(packet[2:], sequence)
				binary.BigEndian.PutUint32(packet[4:], uint32(next*packetSamples))
				fillTone(packet[rtpHeader:], strings.EqualFold(s.codec.Codec, "PCMA"), next*packetSamples)
				m.send(s, packet)
			}
		}
	}
}

func (m *media) send(s *stream, packet []byte) {
	if _, err := m.conn.WriteToUDPAddrPort(packet, s.to); err == nil {
		m.sent.Add(1)
	}
}
