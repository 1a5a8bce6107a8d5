//go:build amd64 || arm64

package opus

import (
	"errors"
	"fmt"
	"math"
)

// selfTest codes a tone and looks for it in what comes back: a library that loads may still be another one than its
// name says.
func (l *Library) selfTest() error {
	const rate, frame, frames = 16000, 320, 10
	e, err := l.NewEncoder(Config{Rate: rate, Complexity: 1})
	if err != nil {
		return err
	}
	defer e.Close()
	d, err := l.NewDecoder(rate)
	if err != nil {
		return err
	}
	defer d.Close()
	pcm, back, packet := make([]int16, frame), make([]int16, frame), make([]byte, MaxPacket)
	for k := range frames {
		for i := range pcm {
			pcm[i] = int16(10000 * math.Sin(2*math.Pi*500*float64(k*frame+i)/rate))
		}
		n, err := e.Encode(packet, pcm)
		if err != nil {
			return err
		}
		if n, err = d.Decode(back, packet[:n]); err != nil {
			return err
		} else if n != frame {
			return fmt.Errorf("%d samples came back of %d", n, frame)
		}
	}
	var sine, cosine, energy float64
	for i, s := range back {
		v, phase := float64(s), 2*math.Pi*500*float64(i)/rate
		sine, cosine, energy = sine+v*math.Sin(phase), cosine+v*math.Cos(phase), energy+v*v
	}
	if tone := 2 * (sine*sine + cosine*cosine) / frame; tone < 0.9*energy || energy < frame*5000*5000 {
		return errors.New("a tone does not come back")
	}
	return nil
}
