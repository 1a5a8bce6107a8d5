package pbx

import (
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

// line is one m-line of a test call: a socket on an even port for RTP, and one
// on the port above for RTCP (RFC 3550 §11).
type line struct {
	service *service
	conn    *net.UDPConn
	rtcp    *net.UDPConn
	closing sync.Once
	wg      sync.WaitGroup
	done    chan struct{}

	stream         atomic.Pointer[stream] // what was agreed on; nil before
	heard          atomic.Int64           // Unix nanoseconds of the last RTP, or of the last agreement
	received, sent atomic.Uint64          // packets
	ssrc           uint32
	source         atomic.Uint32 // SSRC of what came last
}

// stream is what offer and answer agreed on. Never changed, only replaced.
type stream struct {
	to, rtcp netip.AddrPort // zero: nowhere
	dir      offeranswer.Direction
	codec    offeranswer.Format
	payloads []uint8 // all that were agreed on, telephone-event included
}

// sends tells whether the peer wants to hear us, and where.
func (s *stream) sends() bool { return s.dir.Sends() && s.to.IsValid() }

// newLine opens the sockets on a free even port and the one above, and starts
// the readers, and the sender of a tone. close ends them.
func newLine(s *service, local netip.Addr) (*line, error) {
	conn, rtcp, err := listenPair(local)
	if err != nil {
		return nil, err
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	l := &line{service: s, conn: conn, rtcp: rtcp, done: make(chan struct{}), ssrc: binary.BigEndian.Uint32(id[:])}
	l.wg.Go(l.readLoop)
	l.wg.Go(l.reportLoop)
	if s.tone {
		l.wg.Go(l.play)
	}
	return l, nil
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

// close ends the goroutines and waits for them. Idempotent.
func (l *line) close() {
	l.closing.Do(func() {
		close(l.done)
		_ = l.conn.Close()
		_ = l.rtcp.Close()
	})
	l.wg.Wait()
}

func (l *line) port() uint16 { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port() }

// String sums up the line for the log.
func (l *line) String() string {
	codec := "none"
	if s := l.stream.Load(); s != nil {
		codec = s.codec.Codec
	}
	return fmt.Sprintf("%s received %d sent %d", codec, l.received.Load(), l.sent.Load())
}

func (l *line) silent(now time.Time) time.Duration {
	s := l.stream.Load()
	if s != nil && !s.dir.Receives() {
		return 0
	}
	return now.Sub(time.Unix(0, l.heard.Load()))
}

func (l *line) use(s *stream) {
	l.heard.Store(time.Now().UnixNano())
	l.stream.Store(s)
}

// readLoop receives until the socket is closed, and sends back what an echo
// hears. Packets are taken from any source, as simple phones do; they are only
// ever sent where the peer's description says.
func (l *line) readLoop() {
	buf := make([]byte, maxPacket)
	var withheld uint16 // packets not sent back: on hold
	for {
		n, _, err := l.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s := l.stream.Load()
		if err != nil || s == nil || n < rtpHeader || buf[0]>>6 != 2 || !slices.Contains(s.payloads, buf[1]&0x7f) || !s.dir.Receives() {
			continue
		}
		l.heard.Store(time.Now().UnixNano())
		l.received.Add(1)
		l.source.Store(binary.BigEndian.Uint32(buf[8:]))
		switch {
		case l.service.tone:
		case !s.sends():
			withheld++
		default:
			// An own SSRC: the peer's own would look like a loop to it
			// (RFC 3550 §8.2). And no gap in the sequence after a hold: it
			// would count as loss.
			binary.BigEndian.PutUint16(buf[2:], binary.BigEndian.Uint16(buf[2:])-withheld)
			binary.BigEndian.PutUint32(buf[8:], l.ssrc)
			l.send(s, buf[:n])
		}
	}
}

// reportLoop sends requests for keyframes back as it does pictures: who does not
// understand what he sees has sent it himself. All other RTCP is read and
// forgotten; that the port is ours keeps anybody else from getting it.
func (l *line) reportLoop() {
	buf := make([]byte, maxPacket)
	for {
		n, _, err := l.rtcp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		s := l.stream.Load()
		if err != nil || s == nil || l.service.tone || !s.rtcp.IsValid() || !asksKeyframe(buf[:n]) {
			continue
		}
		_, _ = l.rtcp.WriteToUDPAddrPort(l.pli(), s.rtcp)
	}
}

// asksKeyframe looks for a PLI or FIR in a compound packet (RFC 4585 §6.3.1,
// RFC 5104 §4.3.1).
func asksKeyframe(p []byte) bool {
	for len(p) >= 4 && p[0]>>6 == 2 {
		size := 4 * (1 + int(binary.BigEndian.Uint16(p[2:])))
		if format := p[0] & 0x1f; p[1] == 206 && (format == 1 || format == 4) {
			return true
		}
		if size > len(p) {
			return false
		}
		p = p[size:]
	}
	return false
}

// pli is an empty report and a PLI about what came last.
func (l *line) pli() []byte {
	p := []byte{0x80, 201, 0, 1}
	p = binary.BigEndian.AppendUint32(p, l.ssrc)
	p = append(p, 0x81, 206, 0, 2)
	p = binary.BigEndian.AppendUint32(p, l.ssrc)
	return binary.BigEndian.AppendUint32(p, l.source.Load())
}

// play sends the tone, 20 ms a packet by the clock, until Close.
func (l *line) play() {
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
	binary.BigEndian.PutUint32(packet[8:], l.ssrc)
	for {
		select {
		case <-l.done:
			return
		case now := <-tick.C:
			// A late tick is made up for, so that the stream keeps 50 packets a
			// second; after a long pause of the machine it goes on from now.
			due := uint64(now.Sub(began) / packetTime)
			for next = max(next, due-min(due, 5)); next < due; next++ {
				s := l.stream.Load()
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
				l.send(s, packet)
			}
		}
	}
}

func (l *line) send(s *stream, packet []byte) {
	if _, err := l.conn.WriteToUDPAddrPort(packet, s.to); err == nil {
		l.sent.Add(1)
	}
}
