package trace

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Types of chunks of vendor 0 (HEP/EEP specification, "generic chunk types").
const (
	chunkFamily        = 1  // 2: IPv4, 10: IPv6
	chunkProtocol      = 2  // of IP
	chunkSource4       = 3  // address
	chunkDestination4  = 4  // address
	chunkSource6       = 5  // address
	chunkDestination6  = 6  // address
	chunkSourcePort    = 7  //
	chunkDestPort      = 8  //
	chunkSeconds       = 9  // since 1970
	chunkMicroseconds  = 10 //
	chunkKind          = 11 // of the payload
	chunkCaptureID     = 12 //
	chunkAuthKey       = 14 //
	chunkPayload       = 15 //
	chunkCorrelationID = 17 //
)

// What a payload is (chunk 11).
const (
	kindSIP  = 1
	kindRTCP = 5 // as JSON
)

// Protocols of IP (chunk 2).
const (
	protocolTCP = 6
	protocolUDP = 17
)

const (
	hepHeader   = 6 // "HEP3", length
	chunkHeader = 6 // vendor, type, length

	// maxPacket is the largest payload of UDP over IPv4; larger packets are cut.
	maxPacket = 65507
	// maxCallID is where a Call-ID is cut in the correlation id.
	maxCallID = 1024
)

// packet is what one HEP packet says.
type packet struct {
	kind     byte
	at       time.Time
	protocol byte // of IP
	from, to netip.AddrPort
	callID   string // "": look into the message
	payload  []byte
}

// encode appends the packet to b.
func (p packet) encode(b []byte, c *Collector) []byte {
	start := len(b)
	b = append(b, "HEP3\x00\x00"...)
	b = p.encodeAddresses(b)
	b = chunk(b, chunkSeconds, binary.BigEndian.AppendUint32(nil, uint32(p.at.Unix()))) // wraps in 2106, as the protocol does
	b = chunk(b, chunkMicroseconds, binary.BigEndian.AppendUint32(nil, uint32(p.at.Nanosecond()/1000)))
	b = chunk(b, chunkKind, []byte{p.kind})
	b = chunk(b, chunkCaptureID, binary.BigEndian.AppendUint32(nil, c.CaptureID))
	if c.AuthKey != "" {
		b = chunk(b, chunkAuthKey, []byte(c.AuthKey[:min(len(c.AuthKey), maxAuthKey)]))
	}
	if p.callID != "" {
		b = chunk(b, chunkCorrelationID, []byte(p.callID[:min(len(p.callID), maxCallID)]))
	}
	room := maxPacket - (len(b) - start) - chunkHeader
	b = chunk(b, chunkPayload, p.payload[:min(len(p.payload), room)])
	binary.BigEndian.PutUint16(b[start+4:], uint16(len(b)-start))
	return b
}

// encodeAddresses writes chunks 1 to 8. An address that nobody knows, as that
// of a flow within the process, is the unspecified one.
func (p packet) encodeAddresses(b []byte) []byte {
	from, to := p.from.Addr().Unmap(), p.to.Addr().Unmap()
	if from.Is6() || to.Is6() {
		source, destination := from.As16(), to.As16() // IPv4 as ::ffff:…
		b = chunk(b, chunkFamily, []byte{10})
		b = chunk(b, chunkProtocol, []byte{p.protocol})
		b = chunk(b, chunkSource6, source[:])
		b = chunk(b, chunkDestination6, destination[:])
	} else {
		source, destination := as4(from), as4(to)
		b = chunk(b, chunkFamily, []byte{2})
		b = chunk(b, chunkProtocol, []byte{p.protocol})
		b = chunk(b, chunkSource4, source[:])
		b = chunk(b, chunkDestination4, destination[:])
	}
	b = chunk(b, chunkSourcePort, binary.BigEndian.AppendUint16(nil, p.from.Port()))
	return chunk(b, chunkDestPort, binary.BigEndian.AppendUint16(nil, p.to.Port()))
}

func as4(a netip.Addr) [4]byte {
	if !a.Is4() {
		return [4]byte{}
	}
	return a.As4()
}

// chunk appends a chunk of vendor 0.
func chunk(b []byte, kind uint16, value []byte) []byte {
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(chunkHeader+len(value)))
	return append(b, value...)
}
