package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A DTMFType says how digits go on to the other side of a call that the breaker carries.
type DTMFType int

const (
	// DTMFEvents turns digits of SIP INFO into telephone-events (RFC 4733) where the phone takes any, and
	// telephone-events into INFO where it takes none.
	DTMFEvents DTMFType = iota
	// DTMFRelay leaves INFO as it is. Webrtc2sip 2.7 named it "rfc2833".
	DTMFRelay
	// DTMFInfo turns telephone-events into INFO for every phone, and leaves INFO as it is.
	DTMFInfo
)

var dtmfTypes = []string{DTMFEvents: "rfc4733", DTMFRelay: "rfc2833", DTMFInfo: "info"}

// String is the type as the file spells it.
func (t DTMFType) String() string { return dtmfTypes[t] }

func (p *parser) dtmfType(value string) error {
	i := slices.Index(dtmfTypes, strings.ToLower(value))
	if i < 0 {
		return errors.New("no such type")
	}
	p.config.DTMF = DTMFType(i)
	return nil
}

// maxTail bounds what is kept of a stream of video, which costs memory for each.
const maxTail = 4096

func (p *parser) avpfTailLength(value string) error {
	parts, err := split(value, 2)
	if err != nil {
		return err
	}
	var kept [2]int
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil || n < 1 || n > maxTail {
			return fmt.Errorf("%q is no number 1 to %d", part, maxTail)
		}
		kept[i] = int(n)
	}
	if kept[0] > kept[1] {
		return errors.New("the least is more than the most")
	}
	p.config.HistoryPackets = kept
	return nil
}
