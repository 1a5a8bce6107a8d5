package config

import "net/netip"

// HEP is a collector of SIP messages and reports that speaks HEP version 3, such as Homer.
type HEP struct {
	// Host is a host name in lower case or an address without brackets.
	Host string
	// Port is not 0.
	Port uint16
	// Transport is "udp" or "tcp".
	Transport string
	// CaptureID is the number that the collector knows this gateway by.
	CaptureID uint32
	// AuthKey is what the collector asks of senders, or empty.
	AuthKey Secret
}

// Admin is the listener of the administration's HTTP interface.
type Admin struct {
	// Address is the local address to bind; the zero Addr ("*" in the file) means every one.
	Address netip.Addr
	// Port is the local TCP port; 0 ("*" in the file) means any free one.
	Port uint16
	// Token is what clients have to bring. It is not empty unless Address is of loopback.
	Token Secret
	// Line is the line of the file that asks for it.
	Line int
}
