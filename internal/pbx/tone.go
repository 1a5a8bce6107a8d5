package pbx

import (
	"math"
	"math/bits"
	"time"
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
	toneMu = toneTable(3.17, encodeMu)
	toneA  = toneTable(3.14, encodeA)
)

func toneTable(fullScale float64, encode func(int16) byte) (table [tonePeriod]byte) {
	amplitude := 32635 * math.Pow(10, (toneLevel-fullScale)/20)
	for i := range table {
		table[i] = encode(int16(math.Round(amplitude * math.Sin(2*math.Pi*toneFrequency*float64(i)/sampleRate))))
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

// encodeMu codes a 16 bit sample in µ-law (ITU-T G.711 table 2): sign, three
// bits of segment, four of step, all inverted.
func encodeMu(sample int16) byte {
	const bias, clip = 132, 32635
	v, sign := int(sample), byte(0)
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, clip) + bias
	segment := bits.Len(uint(v)) - 8 // v ≥ 132: 0…7
	step := v >> (segment + 3) & 0x0f
	return ^(sign | byte(segment)<<4 | byte(step))
}

// encodeA codes a 16 bit sample in A-law (ITU-T G.711 table 1): sign (set for
// positive), segment, step, every other bit inverted.
func encodeA(sample int16) byte {
	v, sign := int(sample), byte(0x80)
	if v < 0 {
		v, sign = -v-1, 0
	}
	v >>= 4 // 12 bits of magnitude, less one that only rounds
	segment, step := 0, v
	if v >= 16 {
		segment = bits.Len(uint(v)) - 4
		step = v >> (segment - 1) & 0x0f
	}
	return (sign | byte(segment)<<4 | byte(step)) ^ 0x55
}
