package recording

import "webrtc2sip/coder/g711"

// companded decodes PCMU or PCMA.
type companded struct{ law *g711.Law }

func (c companded) Decode(payload []byte, pcm []int16) ([]int16, error) {
	for _, octet := range payload {
		pcm = append(pcm, c.law.Linear(octet))
	}
	return pcm, nil
}
