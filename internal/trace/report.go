package trace

import (
	"encoding/json"
	"time"
)

// The report as HOMER's agents write it: the fields of RTCP packets under the
// names that its dashboards look for.
type (
	homerReport struct {
		SSRC    uint32       `json:"ssrc"`
		Type    int          `json:"type"` // 200: sender report, 201: receiver report (RFC 3550 §6.4)
		Count   int          `json:"report_count"`
		Sender  *homerSender `json:"sender_information,omitempty"`
		Blocks  []homerBlock `json:"report_blocks"`
		Metrics *homerXR     `json:"report_blocks_xr,omitempty"`
	}
	homerSender struct {
		NTPSeconds  uint32 `json:"ntp_timestamp_sec"`
		NTPFraction uint32 `json:"ntp_timestamp_usec"`
		RTPTime     uint32 `json:"rtp_timestamp"`
		Packets     uint32 `json:"packets"`
		Octets      uint32 `json:"octets"`
	}
	homerBlock struct {
		SSRC            uint32 `json:"source_ssrc"`
		FractionLost    uint8  `json:"fraction_lost"` // of 256
		Lost            int64  `json:"packets_lost"`
		HighestSequence uint32 `json:"highest_seq_no"`
		Jitter          uint32 `json:"ia_jitter"` // clock units
		LSR             uint32 `json:"lsr"`
		DLSR            uint32 `json:"dlsr"`
	}
	homerXR struct { // VoIP metrics (RFC 3611 §4.7)
		Type           int    `json:"type"`
		ID             uint32 `json:"id"`
		FractionLost   uint8  `json:"fraction_lost"`
		RoundTripDelay uint16 `json:"round_trip_delay"` // ms
	}
)

// ntpEpoch is 1900 in seconds before 1970 (RFC 5905 §6).
const ntpEpoch = 2_208_988_800

// json gives the payload of a packet of kindRTCP.
func (r Report) json() []byte {
	rate := r.ClockRate
	if rate == 0 {
		rate = 8000
	}
	h := homerReport{
		SSRC: r.OwnSSRC, Type: 201, Count: 1,
		Blocks: []homerBlock{{
			SSRC: r.SSRC, FractionLost: r.fractionLost(), Lost: min(max(r.Lost, -1<<23), 1<<23-1),
			HighestSequence: r.HighestSequence,
			Jitter:          uint32(max(r.Jitter, 0).Seconds() * float64(rate)),
		}},
	}
	if r.SentPackets > 0 {
		h.Type = 200
		h.Sender = &homerSender{
			NTPSeconds: uint32(r.At.Unix() + ntpEpoch), NTPFraction: uint32(uint64(r.At.Nanosecond()) << 32 / uint64(time.Second)),
			Packets: uint32(r.SentPackets), Octets: uint32(r.SentOctets),
		}
	}
	if r.RTT > 0 {
		h.Metrics = &homerXR{
			Type: 7, ID: r.SSRC, FractionLost: r.fractionLost(),
			RoundTripDelay: uint16(min(r.RTT.Milliseconds(), 1<<16-1)),
		}
	}
	out, _ := json.Marshal(h) // numbers only, so that there is nothing to fail
	return out
}

// fractionLost is the share of packets that were lost, of 256 (RFC 3550 §6.4.1),
// since the call began.
func (r Report) fractionLost() uint8 {
	if r.Lost <= 0 {
		return 0
	}
	return uint8(min(255, float64(r.Lost)*256/(float64(r.Lost)+float64(r.Packets))))
}
