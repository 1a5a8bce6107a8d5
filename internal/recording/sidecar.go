package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// reserve is how long a sidecar is from its beginning: where the disk is full in the end, there is room for what
	// happened.
	reserve = 16 << 10
	// maxEvents and maxFiles bound what a sidecar tells.
	maxEvents = 16
	maxFiles  = 100
)

// States of a recording in its sidecar.
const (
	stateRecording   = "recording"
	stateComplete    = "complete"
	stateInterrupted = "interrupted" // the program ended before the recording did
)

// sidecar is the JSON document beside the files of a recording. Times are RFC 3339, in UTC.
type sidecar struct {
	CallID    string `json:"call_id"`
	SIPCallID string `json:"sip_call_id,omitempty"`
	Caller    string `json:"caller,omitempty"`
	Callee    string `json:"callee,omitempty"`
	Trunk     string `json:"trunk,omitempty"`
	Rule      string `json:"rule,omitempty"`

	State    string     `json:"state"`
	Started  time.Time  `json:"started"`
	Answered *time.Time `json:"answered,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Reason   string     `json:"reason,omitempty"`

	Files   []fileEntry   `json:"files"`
	Streams []streamEntry `json:"streams"`
	Events  []event       `json:"events,omitempty"`
}

// fileEntry is one file: what it is and where it lies on the recording's time line.
type fileEntry struct {
	Name     string `json:"name"`
	Format   string `json:"format"`
	Stream   int    `json:"stream"`
	Offset   int64  `json:"offset_ms"` // of its beginning, after Started
	Duration int64  `json:"duration_ms"`
	Octets   int64  `json:"octets"`
}

// streamEntry is what one side has sent in one stream.
type streamEntry struct {
	Stream int      `json:"stream"`
	Kind   string   `json:"kind"`
	Side   string   `json:"side"`
	Codecs []string `json:"codecs"`
	counts
	// Dropped packets of both sides found the queue full, or the disk.
	Dropped uint64 `json:"dropped"`
}

type event struct {
	At    time.Time `json:"at"`
	Event string    `json:"event"`
}

// write puts a sidecar over whatever the file holds, filled up with spaces to what was reserved for it.
func (s *sidecar) write(f diskFile, fill bool) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	size := int64(len(text))
	for fill && len(text) < reserve {
		text = append(text, ' ')
	}
	if _, err := f.WriteAt(text, 0); err != nil {
		return fmt.Errorf("sidecar: %w", err)
	}
	if fill {
		return nil
	}
	return f.Truncate(size)
}

// readSidecar reads what write has written.
func readSidecar(f diskFile) (*sidecar, error) {
	var s sidecar
	err := json.NewDecoder(io.NewSectionReader(f, 0, 1<<20)).Decode(&s)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("sidecar: %w", err)
	}
	return &s, err
}
