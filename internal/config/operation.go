package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

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

func (p *parser) hep(value string) (err error) {
	parts := strings.SplitN(value, ";", 5) // the key may have semicolons
	if len(parts) < 4 {
		return fmt.Errorf("has %d parts instead of 4 or 5", len(parts))
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	h := &HEP{Transport: strings.ToLower(parts[2])}
	if h.Host, err = host(parts[0]); err != nil {
		return err
	}
	n, err := number(parts[1])
	if err != nil {
		return err
	}
	h.Port = uint16(n)
	if h.Transport != "udp" && h.Transport != "tcp" {
		return errors.New("no such transport")
	}
	id, err := strconv.ParseUint(parts[3], 10, 32)
	if err != nil {
		return errors.New("no capture-id")
	}
	h.CaptureID = uint32(id)
	if len(parts) == 5 {
		h.AuthKey = Secret(parts[4])
	}
	p.config.HEP = h
	return nil
}

// minToken is what guessing over a network is hopeless against: 16 random characters.
const minToken = 16

func (p *parser) admin(value string) (err error) {
	parts := strings.SplitN(value, ";", 3)
	if len(parts) < 2 {
		return fmt.Errorf("has %d parts instead of 2 or 3", len(parts))
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	a := &Admin{Line: p.at.line}
	if parts[0] != "*" {
		if a.Address, err = address(parts[0]); err != nil {
			return err
		}
	}
	if a.Port, err = port(parts[1]); err != nil {
		return err
	}
	if len(parts) == 3 {
		if len(parts[2]) < minToken || !printable(parts[2]) {
			return errors.New("the token is shorter, or has other characters")
		}
		a.Token = Secret(parts[2])
	}
	if a.Token == "" && !a.Address.IsLoopback() {
		return errors.New("other machines can reach this address, so that a token is needed")
	}
	p.config.Admin = a
	return nil
}

func (p *parser) callMaxDuration(value string) (err error) {
	p.config.CallMaxDuration, err = seconds(value, time.Minute, 7*24*time.Hour)
	return err
}

func (p *parser) sessionIdle(value string) (err error) {
	p.config.SessionIdle, err = seconds(value, time.Minute, 7*24*time.Hour)
	return err
}

func (p *parser) mediaTimeout(value string) (err error) {
	p.config.MediaTimeout, err = seconds(value, 10*time.Second, 24*time.Hour)
	return err
}

func (p *parser) redirect(value string) (err error) {
	p.config.FollowRedirects, err = either(value, "follow", "pass")
	return err
}

func (p *parser) drainTime(value string) (err error) {
	p.config.DrainTime, err = seconds(value, time.Second, 24*time.Hour)
	return err
}
