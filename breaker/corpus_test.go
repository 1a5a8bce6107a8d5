package breaker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"

	"webrtc2sip/internal/offeranswer"
)

// broken is a packet that is none, or one that nobody should send.
type broken struct {
	name   string
	packet []byte
}

// mediaCorpus are malformed and hostile packets of the four protocols that share
// a media port (RFC 7983).
func mediaCorpus() []broken {
	var all []broken
	for _, part := range [][]broken{brokenRTP(), brokenRTCP(), brokenSTUN(), brokenDTLS()} {
		all = append(all, part...)
	}
	return all
}

// octets joins values of one to eight octets, in network order.
func octets(values ...any) (p []byte) {
	for _, v := range values {
		switch v := v.(type) {
		case int:
			p = append(p, byte(v))
		case uint16:
			p = binary.BigEndian.AppendUint16(p, v)
		case uint32:
			p = binary.BigEndian.AppendUint32(p, v)
		case []byte:
			p = append(p, v...)
		case string:
			p = append(p, v...)
		}
	}
	return p
}

// brokenRTP is about RFC 3550 §5.1 and RFC 8285 §4: every length that may point
// outside.
func brokenRTP() (all []broken) {
	add := func(name string, p []byte) { all = append(all, broken{name: "RTP, " + name, packet: p}) }
	head := func(first int, payloadType int) []byte {
		return octets(first, payloadType, uint16(7), uint32(160), uint32(0xbad))
	}
	for n := 1; n < rtpHeaderLen; n++ {
		add(fmt.Sprintf("%d octets", n), head(0x80, 0)[:n])
	}
	for version := range 4 {
		if version != 2 {
			add(fmt.Sprintf("version %d", version), append(head(version<<6, 0), make([]byte, 160)...))
		}
	}
	for n := 1; n < 16; n++ {
		add(fmt.Sprintf("%d CSRCs, room for one less", n), append(head(0x80|n, 0), make([]byte, 4*(n-1))...))
	}
	for n := range 4 {
		add(fmt.Sprintf("extension of %d octets", n), append(head(0x90, 0), make([]byte, n)...))
	}
	for _, words := range []uint16{1, 2, 0x7fff, 0xffff} {
		add(fmt.Sprintf("extension of %d words that are not there", words), append(head(0x90, 0), octets(uint16(oneOctetForm), words)...))
	}
	for _, padding := range []int{0, 2, 100, 255} {
		add(fmt.Sprintf("padding of %d in one octet", padding), append(head(0xa0, 0), byte(padding)))
	}
	add("padding over the CSRCs", append(head(0xa1, 0), 0, 0, 0, 5))
	add("padding over the extension", append(head(0xb0, 0), 0xbe, 0xde, 0, 1, 0, 0, 0, 9))
	add("everything at once, and nothing behind it", head(0xbf, 0))
	add("a type that nobody agreed on", append(head(0x80, 77), "attacker"...))
	for name, p := range map[string][]byte{
		"another source":        append(head(0x80, 0), "attacker"...),
		"no payload":            head(0x80, 0),
		"extension without end": append(head(0x90, 0), octets(uint16(oneOctetForm), uint16(1), 0x1f, 0, 0, 0, "x")...),
	} {
		all = append(all, broken{name: "RTP, " + name, packet: p})
	}
	return all
}

// brokenRTCP is about RFC 3550 §6, RFC 4585 §6, RFC 5104, RFC 3611 and the
// drafts for REMB and transport-cc.
func brokenRTCP() (all []broken) {
	add := func(name string, p []byte) { all = append(all, broken{name: "RTCP, " + name, packet: p}) }
	block := func(count, kind int, words uint16, rest ...any) []byte {
		return append(octets(0x80|count, kind, words), octets(rest...)...)
	}
	source := uint32(0xbad)
	for n := 2; n < 8; n++ {
		add(fmt.Sprintf("%d octets", n), block(0, rtcpReceiverReport, 1, source)[:n])
	}
	for _, words := range []uint16{0, 2, 0x3fff, 0xffff} {
		add(fmt.Sprintf("%d words said of two", words), block(0, rtcpReceiverReport, words, source))
	}
	for _, count := range []int{1, 2, 31} {
		add(fmt.Sprintf("SR of %d blocks that are not there", count), block(count, rtcpSenderReport, 6, source, make([]byte, 20)))
		add(fmt.Sprintf("RR of %d blocks that are not there", count), block(count, rtcpReceiverReport, 1, source))
	}
	add("SR cut short", block(0, rtcpSenderReport, 2, source, source))
	add("RR with half a block", block(1, rtcpReceiverReport, 4, source, make([]byte, 12)))
	add("SDES of 31 chunks", block(31, 202, 1, source))
	add("SDES item longer than its chunk", block(1, 202, 2, source, 1, 255, "ab"))
	add("SDES item without an end", block(1, 202, 2, source, 1, 2, "ab"))
	add("BYE of 31 sources", block(31, 203, 1, source))
	add("BYE", block(1, 203, 1, source))
	add("BYE with too long a reason", block(1, 203, 2, source, 255, "abc"))
	add("APP without a name", block(0, 204, 1, source))
	add("NACK without a list", block(1, 205, 2, source, source))
	add("NACK of half an entry", block(1, 205, 2, source, source, uint16(1)))
	add("NACK of everything", block(1, 205, 34, source, source, make([]byte, 32), bytesOf(0xff, 96)))
	add("transport-cc with chunks that are not there", block(15, 205, 4, source, source, uint16(1), uint16(0xffff), uint32(0)))
	add("transport-cc of 65535 packets in one run", block(15, 205, 5, source, source, uint16(1), uint16(0xffff), uint32(0), uint16(0x7fff), uint16(0)))
	add("PLI without a target", block(1, rtcpPayloadFeedback, 1, source))
	add("FIR of half an entry", block(4, rtcpPayloadFeedback, 3, source, uint32(0), source))
	add("REMB of 255 sources", block(15, rtcpPayloadFeedback, 4, source, uint32(0), "REMB", 255, 0xff, 0xff, 0xff))
	add("REMB of the largest rate", block(15, rtcpPayloadFeedback, 5, source, uint32(0), "REMB", 1, 0xff, 0xff, 0xff, source))
	add("XR with a block longer than it", block(0, 207, 2, source, 4, 0, uint16(0xffff)))
	for _, kind := range []int{192, 194, 199, 208, 223} {
		add(fmt.Sprintf("type %d", kind), block(0, kind, 1, source))
	}
	add("padding longer than it", octets(0xa0, rtcpReceiverReport, uint16(1), 0, 0, 0, 255))
	return all
}

func bytesOf(b byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = b
	}
	return p
}

// brokenSTUN is about RFC 8489 §5, §14 and RFC 8445 §7.
func brokenSTUN() (all []broken) {
	add := func(name string, p []byte) { all = append(all, broken{name: "STUN, " + name, packet: p}) }
	const cookie = uint32(0x2112a442)
	id := make([]byte, 12)
	message := func(kind uint16, attributes ...byte) []byte {
		return octets(kind, uint16(len(attributes)), cookie, id, attributes)
	}
	attribute := func(kind, size uint16, value ...byte) []byte { return octets(kind, size, value) }
	for _, n := range []int{1, 2, 4, 8, 12, 19} {
		add(fmt.Sprintf("%d octets", n), message(1)[:n])
	}
	add("no cookie", octets(uint16(1), uint16(0), uint32(0), id))
	for _, size := range []uint16{1, 3, 4, 0xfffc, 0xffff} {
		add(fmt.Sprintf("%d octets said of none", size), octets(uint16(1), size, cookie, id))
	}
	for _, size := range []uint16{1, 5, 0x7fff, 0xffff} {
		add(fmt.Sprintf("attribute of %d octets in four", size), message(1, attribute(0x0006, size, 0, 0, 0, 0)...))
	}
	for kind, name := range map[uint16]string{
		0x0001: "MAPPED-ADDRESS", 0x0006: "USERNAME", 0x0008: "MESSAGE-INTEGRITY", 0x001c: "MESSAGE-INTEGRITY-SHA256",
		0x0020: "XOR-MAPPED-ADDRESS", 0x0024: "PRIORITY", 0x0025: "USE-CANDIDATE", 0x8028: "FINGERPRINT",
		0x802a: "ICE-CONTROLLING", 0x8029: "ICE-CONTROLLED", 0x7ffe: "one that must be understood",
	} {
		add("empty "+name, message(1, attribute(kind, 0)...))
		add(name+" alone", message(1, attribute(kind, 4, 1, 9, 0, 0)...))
	}
	add("USERNAME of 600 octets", message(1, attribute(0x0006, 600, make([]byte, 600)...)...))
	add("a hundred attributes", message(1, func() (p []byte) {
		for range 100 {
			p = append(p, attribute(0x8022, 0)...)
		}
		return p
	}()...))
	for _, kind := range []uint16{0x0011, 0x0101, 0x0111, 0x0003, 0x3fff} {
		add(fmt.Sprintf("type %04x that nobody asked for", kind), message(kind, attribute(0x0020, 8, 0, 7, 0, 0, 0, 0, 0, 0)...))
	}
	return all
}

// brokenDTLS is about RFC 6347 §4, and the race for a session by a ClientHello
// with the null cipher suite.
func brokenDTLS() (all []broken) {
	add := func(name string, p []byte) { all = append(all, broken{name: "DTLS, " + name, packet: p}) }
	record := func(kind int, epoch, size uint16, body ...byte) []byte {
		return octets(kind, 0xfe, 0xfd, epoch, uint16(0), uint32(9), size, body)
	}
	for _, n := range []int{1, 3, 12} {
		add(fmt.Sprintf("%d octets", n), record(22, 0, 0)[:n])
	}
	for _, size := range []uint16{1, 0x4000, 0xffff} {
		add(fmt.Sprintf("record of %d octets that are not there", size), record(22, 0, size))
	}
	fragment := func(whole, at, size int) []byte {
		return octets(1, 0, 0, whole, uint16(0), 0, 0, at, 0, 0, size)
	}
	add("fragment behind its message", record(22, 0, 12, fragment(4, 200, 4)...))
	add("fragment longer than its message", record(22, 0, 12, fragment(4, 0, 255)...))
	add("message of 16 MB", record(22, 0, 12, octets(1, 0xff, 0xff, 0xff, uint16(0), 0, 0, 0, 0, 0, 0)...))
	add("ClientHello with the null suite", clientHello)
	add("fatal alert", record(21, 0, 2, 2, 40))
	add("close", record(21, 0, 2, 1, 0))
	add("ChangeCipherSpec", record(20, 0, 1, 1))
	add("sealed record of nobody", record(23, 1, 32, make([]byte, 32)...))
	add("sealed alert of nobody", record(21, 1, 32, make([]byte, 32)...))
	for _, kind := range []int{24, 25, 63} {
		add(fmt.Sprintf("content type %d", kind), record(kind, 0, 4, 1, 0xff, 0xff, 0))
	}
	add("another version", octets(22, 3, 1, uint16(0), uint16(0), uint32(0), uint16(4), uint32(0)))
	return all
}

// say sends one packet and tells whether it arrives at the other side.
func (s *setup) say(from offeranswer.Side, payload string) bool {
	s.parties[from].send(s.packet(from, payload))
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		select {
		case p := <-s.parties[from.Other()].heard():
			if string(p.Payload) == payload {
				return true
			}
			s.expectOurs(p)
		case <-late.C:
			return false
		}
	}
}

func (s *setup) expectOurs(p *rtp.Packet) {
	s.t.Helper()
	if string(p.Payload) == "attacker" {
		s.t.Error("the attacker is heard")
	}
}

// TestMediaCorpus sends every packet to every media port of ten calls, from an
// address of nobody and from that of the party itself, and speaks in between.
func TestMediaCorpus(t *testing.T) {
	const calls = 10
	cases := mediaCorpus()
	if len(cases) < 147 {
		t.Errorf("%d cases, want at least 147", len(cases))
	}
	b := start(t, Config{})
	attacker := listen(t, loopback)
	defer attacker.Close()
	var all []*setup
	var web, plain []netip.AddrPort
	for i := range calls {
		s := newSetup(t, b, newBrowser(t), newPhone(t))
		s.id = fmt.Sprint("call ", i)
		toPhone, toBrowser := s.exchange(offeranswer.Caller)
		s.parties[offeranswer.Caller].connect(toBrowser)
		s.parties[offeranswer.Callee].connect(toPhone)
		s.bothFlow()
		all = append(all, s)
		web, plain = append(web, audioOf(t, toBrowser).ICE.Candidates[0].Address), append(plain, audioOf(t, toPhone).RTP())
	}
	random := rand.New(rand.NewPCG(1, 2))
	said, lost := 0, 0
	for _, c := range cases {
		for i, s := range all {
			p := c.packet
			if i > 0 { // with something behind it, or in it
				p = append(append([]byte(nil), p...), bytesOf(byte(random.Uint32()), random.IntN(8)*i)...)
			}
			fire(t, attacker, p, web[i], plain[i], above(plain[i]))
			fire(t, s.parties[0].(*browser).socket, p, web[i])
			phone := s.parties[1].(*phone)
			fire(t, phone.ctrl, p, above(plain[i]))
			if _, isMedia := parseRTP(p); !isMedia || p[1]&0x7f == 77 || isReport(p) {
				fire(t, phone.rtp, p, plain[i])
			}
		}
		for i, s := range all {
			for side := range offeranswer.Side(2) {
				said++
				if !s.say(side, fmt.Sprintf("%s %d of the %s", c.name, i, side)) {
					lost++
					t.Logf("%s: what the %s of call %d says is lost", c.name, side, i)
				}
			}
		}
	}
	if lost*1000 > said {
		t.Errorf("%d of %d packets were lost, want less than one in a thousand", lost, said)
	}
	t.Logf("%d cases, %d packets of voice, %d lost", len(cases), said, lost)
	for _, s := range all {
		b.Delete(s.id)
	}
	all[0].settle()
	all[0].settle()
	if stats := b.Stats(); stats.Calls != 0 || stats.Ports != 0 {
		t.Errorf("%d calls and %d pairs of ports are left", stats.Calls, stats.Ports)
	}
	if err := attacker.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, from, err := attacker.ReadFromUDPAddrPort(make([]byte, 1500)); err == nil {
		t.Errorf("the attacker got %d octets from %s", n, from)
	}
}

func isReport(p []byte) bool { return p[1] >= 192 && p[1] <= 223 }

func above(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

func fire(t *testing.T, from net.PacketConn, p []byte, to ...netip.AddrPort) {
	t.Helper()
	for _, a := range to {
		if _, err := from.WriteTo(p, net.UDPAddrFromAddrPort(a)); err != nil {
			t.Fatal(err)
		}
	}
}
