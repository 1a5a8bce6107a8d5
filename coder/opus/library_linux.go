//go:build amd64 || arm64

package opus

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// soname is what distributions call version 1 of the library; its interface has only grown since 1.0.
const soname = "libopus.so.0"

// Library is libopus in memory. It is safe for concurrent use.
type Library struct {
	version string

	createEncoder, destroyEncoder, encode, controlEncoder uintptr
	createDecoder, destroyDecoder, decode                 uintptr
}

// Open loads the library and tries it. It stays loaded for the life of the process. The error is ErrMissing, or
// tells what is wrong with the one that is there.
func Open() (*Library, error) {
	handle, err := purego.Dlopen(soname, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	l := new(Library)
	var version uintptr
	for name, f := range map[string]*uintptr{
		"opus_get_version_string": &version,
		"opus_encoder_create":     &l.createEncoder, "opus_encoder_destroy": &l.destroyEncoder,
		"opus_encode": &l.encode, "opus_encoder_ctl": &l.controlEncoder,
		"opus_decoder_create": &l.createDecoder, "opus_decoder_destroy": &l.destroyDecoder, "opus_decode": &l.decode,
	} {
		if *f, err = purego.Dlsym(handle, name); err != nil {
			return nil, fmt.Errorf("%s: %w", soname, err)
		}
	}
	var text func() string
	purego.RegisterFunc(&text, version)
	l.version = text()
	if err := l.selfTest(); err != nil {
		return nil, fmt.Errorf("%s, %s: self test: %w", soname, l.version, err)
	}
	return l, nil
}

// Version is what the library calls itself, such as "libopus 1.3.1".
func (l *Library) Version() string { return l.version }

// Requests of opus_encoder_ctl, and values of them (opus_defines.h).
const (
	setBitrate    = 4002
	setComplexity = 4010
	setFEC        = 4012
	setLoss       = 4014
	setDTX        = 4016
	setSignal     = 4024

	applicationVoIP = 2048
	signalVoice     = 3001
)

// An Encoder makes packets of one stream.
type Encoder struct {
	library *Library
	state   uintptr // in C
	call    call
}

// NewEncoder makes an encoder. Close it.
func (l *Library) NewEncoder(c Config) (*Encoder, error) {
	code := new(int32)
	state, _, _ := purego.SyscallN(l.createEncoder, uintptr(c.Rate), 1, applicationVoIP, uintptr(unsafe.Pointer(code)))
	if *code != 0 || state == 0 {
		return nil, fmt.Errorf("encoder of %d Hz: %w", c.Rate, problem(*code))
	}
	e := &Encoder{library: l, state: state}
	settings := [][2]int{{setComplexity, c.Complexity}, {setFEC, one(c.FEC)}, {setLoss, c.Loss}, {setDTX, one(c.DTX)}, {setSignal, signalVoice}}
	if c.Bitrate != 0 {
		settings = append(settings, [2]int{setBitrate, c.Bitrate})
	}
	for _, s := range settings {
		if err := e.control(s[0], s[1]); err != nil {
			e.Close()
			return nil, fmt.Errorf("encoder of %d Hz: setting %d to %d: %w", c.Rate, s[0], s[1], err)
		}
	}
	return e, nil
}

func one(set bool) int {
	if set {
		return 1
	}
	return 0
}

// control is opus_encoder_ctl, which takes any number of arguments: on Linux such functions are called like others.
func (e *Encoder) control(request, value int) error {
	result, _, _ := purego.SyscallN(e.library.controlEncoder, e.state, uintptr(request), uintptr(value))
	return problem(int32(result))
}

// SetLoss tells the encoder what the far side loses now, in percent of its packets (0 to 100).
func (e *Encoder) SetLoss(percent int) error { return e.control(setLoss, percent) }

// Encode codes one frame, of 2.5, 5, 10, 20, 40 or 60 ms, into payload, which has room for MaxPacket octets, and
// returns how many it has taken. With DTX a packet of at most two octets need not be sent.
func (e *Encoder) Encode(payload []byte, pcm []int16) (int, error) {
	if len(payload) == 0 || len(pcm) == 0 {
		return 0, problem(badArgument)
	}
	return e.call.run(e.library.encode, [6]uintptr{
		e.state, e.call.pinned(&pcm[0]), uintptr(len(pcm)), e.call.pinnedOctets(&payload[0]), uintptr(min(len(payload), MaxPacket)),
	})
}

// Close gives the memory back. No other method may be called behind it but Close.
func (e *Encoder) Close() {
	if e.state != 0 {
		purego.SyscallN(e.library.destroyEncoder, e.state)
		e.state = 0
	}
}

// A Decoder makes sound of the packets of one stream.
type Decoder struct {
	library *Library
	state   uintptr // in C
	call    call
}

// NewDecoder makes a decoder of mono sound at a rate in Hz, one of those of [Config]. Close it.
func (l *Library) NewDecoder(rate int) (*Decoder, error) {
	code := new(int32)
	state, _, _ := purego.SyscallN(l.createDecoder, uintptr(rate), 1, uintptr(unsafe.Pointer(code)))
	if *code != 0 || state == 0 {
		return nil, fmt.Errorf("decoder of %d Hz: %w", rate, problem(*code))
	}
	return &Decoder{library: l, state: state}, nil
}

// Decode makes sound of a packet and returns how many samples that are. pcm has room for [MaxFrame], or for what
// [Samples] has said; a packet that needs more is an error, and so is one that is none.
func (d *Decoder) Decode(pcm []int16, payload []byte) (int, error) {
	if len(payload) == 0 {
		return 0, problem(invalidPacket) // nil would ask for concealment
	}
	return d.run(pcm, payload, 0)
}

// Recover makes what was lost out of the packet behind it: as many samples as pcm has, a multiple of 2.5 ms. A packet without a
// repetition of it gives the same as Conceal.
func (d *Decoder) Recover(pcm []int16, next []byte) (int, error) {
	if len(next) == 0 {
		return 0, problem(invalidPacket)
	}
	return d.run(pcm, next, 1)
}

// Conceal makes up for what was lost: as many samples as pcm has, a multiple of 2.5 ms.
func (d *Decoder) Conceal(pcm []int16) (int, error) {
	if len(pcm) == 0 {
		return 0, problem(badArgument)
	}
	return d.call.run(d.library.decode, [6]uintptr{d.state, 0, 0, d.call.pinned(&pcm[0]), uintptr(len(pcm))})
}

func (d *Decoder) run(pcm []int16, payload []byte, fec uintptr) (int, error) {
	if len(pcm) == 0 {
		return 0, problem(badArgument)
	}
	return d.call.run(d.library.decode, [6]uintptr{
		d.state, d.call.pinnedOctets(&payload[0]), uintptr(len(payload)), d.call.pinned(&pcm[0]), uintptr(len(pcm)), fec,
	})
}

// Close gives the memory back. No other method may be called behind it but Close.
func (d *Decoder) Close() {
	if d.state != 0 {
		purego.SyscallN(d.library.destroyDecoder, d.state)
		d.state = 0
	}
}

// call passes arguments to C without allocating: a list of them that is written at the call would be on the heap.
// What they point to stays where it is until run returns.
type call struct {
	pinner    runtime.Pinner
	arguments [6]uintptr
}

func (c *call) pinned(pcm *int16) uintptr {
	c.pinner.Pin(pcm)
	return uintptr(unsafe.Pointer(pcm))
}

func (c *call) pinnedOctets(payload *byte) uintptr {
	c.pinner.Pin(payload)
	return uintptr(unsafe.Pointer(payload))
}

// run calls a function that returns a number, or an error below zero.
func (c *call) run(f uintptr, arguments [6]uintptr) (int, error) {
	c.arguments = arguments
	result, _, _ := purego.SyscallN(f, c.arguments[:]...)
	c.pinner.Unpin()
	if n := int32(result); n >= 0 {
		return int(n), nil
	}
	return 0, problem(int32(result))
}

// Error codes of opus_defines.h.
const (
	badArgument   = -1
	invalidPacket = -4
)

var problems = map[int32]error{
	badArgument:   errors.New("bad argument"),
	-2:            errors.New("buffer too small"),
	-3:            errors.New("internal error"),
	invalidPacket: errors.New("invalid packet"),
	-5:            errors.New("not implemented"),
	-6:            errors.New("invalid state"),
	-7:            errors.New("out of memory"),
}

// problem returns the error of a code, nil for none.
func problem(code int32) error {
	if code >= 0 {
		return nil
	}
	if err := problems[code]; err != nil {
		return err
	}
	return fmt.Errorf("error %d", code)
}
