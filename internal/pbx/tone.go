package pbx

import (
	"math"
	"time"

	"webrtc2sip/coder/g711"
)

// The tone: 440 Hz at −12 dBm0 and 8 kHz. 200 samples are exactly 11 periods,
// so one table of 25 ms repeats without a click.
const (
	sampleRate    = 8000
	toneFrequency = 440
	toneLevel     = -12.0 // dBm0
	tonePeriod    = 200   // samples
	packetTime    = 20 * time.Millisecond
	packetSamples = 160
)

// A full-scale sine is +3.17 dBm0 in µ-law and +3.14 dBm0 in A-law
// (ITU-T G.711 §4).
var (
	toneMu = toneTable(3.17, g711.Mu)
	toneA  = toneTable(3.14, g711.A)
)

func toneTable(fullScale float64, law *g711.Law) (table [tonePeriod]byte) {
	amplitude := 32635 * math.Pow(10, (toneLevel-fullScale)/20)
	for i := range table {
		table[i] = law.Code(int16(math.Round(amplitude * math.Sin(2*math.Pi*toneFrequency*float64(i)/sampleRate))))
	}
	return table
}

// fillTone writes the tone as it is from sample number at on.
func fillTone(payload []byte, aLaw bool, at uint64) {
	table := &toneMu
	if aLaw {
		table = &toneA
	}
	for i := range payload {
		payload[i] = table[(at+uint64(i))%tonePeriod]
	}
}
