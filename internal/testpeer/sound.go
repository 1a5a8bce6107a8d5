package testpeer

import (
	"encoding/binary"
	"math"
)

// wave reads 16-bit PCM out of a WAV file that may still be growing: the lengths in its header are
// not believed. Of several channels the first is taken. Rate 0: there is no header yet.
func wave(file []byte) (pcm []int16, rate int) {
	if len(file) < 12 || string(file[:4]) != "RIFF" || string(file[8:12]) != "WAVE" {
		return nil, 0
	}
	channels := 0
	for rest := file[12:]; len(rest) >= 8; {
		name, size, body := string(rest[:4]), int(binary.LittleEndian.Uint32(rest[4:])), rest[8:]
		if name == "fmt " && len(body) >= 16 {
			channels = int(binary.LittleEndian.Uint16(body[2:]))
			rate = int(binary.LittleEndian.Uint32(body[4:]))
		}
		if name == "data" && channels > 0 {
			for step := 2 * channels; len(body) >= step; body = body[step:] {
				pcm = append(pcm, int16(binary.LittleEndian.Uint16(body)))
			}
			return pcm, rate
		}
		if size > len(body) {
			break
		}
		rest = body[size:]
	}
	return pcm, rate
}

// Tone tells which of the frequencies in Hz dominates the samples, and what part of their energy it
// carries (0 to 1). It is Goertzel's algorithm, one frequency at a time. Less than a tenth of a
// second, or silence, has none: 0, 0.
func Tone(pcm []int16, rate int, frequencies ...float64) (frequency, share float64) {
	if rate == 0 || len(pcm) < rate/10 {
		return 0, 0
	}
	total := 0.0
	for _, s := range pcm {
		total += float64(s) * float64(s)
	}
	if total/float64(len(pcm)) < 100*100 { // −50 dBFS: comfort noise at most
		return 0, 0
	}
	for _, f := range frequencies {
		if p := goertzel(pcm, rate, f) / (total * float64(len(pcm)) / 2); p > share {
			frequency, share = f, p
		}
	}
	return frequency, share
}

// goertzel returns the squared magnitude of the samples' spectrum at one frequency.
func goertzel(pcm []int16, rate int, frequency float64) float64 {
	c := 2 * math.Cos(2*math.Pi*frequency/float64(rate))
	var s1, s2 float64
	for _, x := range pcm {
		s1, s2 = float64(x)+c*s1-s2, s1
	}
	return s1*s1 + s2*s2 - c*s1*s2
}

// EncodeMuLaw turns a linear sample into PCMU (ITU-T G.711: bias 33 of 14 bits, eight segments of
// sixteen steps, all bits inverted on the line).
func EncodeMuLaw(s int16) byte {
	sign, x := byte(0), int(s)
	if x < 0 {
		sign, x = 0x80, -x
	}
	x = min(x, 32635) + 132
	segment := byte(7)
	for bit := 0x4000; x&bit == 0; bit >>= 1 {
		segment--
	}
	return ^(sign | segment<<4 | byte(x>>(segment+3))&0x0f)
}

// DecodeMuLaw is the inverse of EncodeMuLaw, in the middle of the step.
func DecodeMuLaw(b byte) int16 {
	b = ^b
	x := (int(b&0x0f)<<3+132)<<(b>>4&7) - 132
	if b&0x80 != 0 {
		return int16(-x)
	}
	return int16(x)
}
