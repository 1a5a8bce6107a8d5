package recording

import (
	"crypto/rand"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
)

const (
	// part is the ending of files that are being written.
	part = ".part"
	// maxNameID is how much of a call's id stands in file names.
	maxNameID = 40
)

// baseName is what the names of a recording's files begin with: when, something that nobody can guess, and of the
// call's id what can stand in a file name anywhere.
func baseName(now time.Time, id string) string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	safe := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return '_'
	}, id[:min(len(id), maxNameID)])
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random[:]) + "-" + safe
}

// ours matches the names that baseName makes, with their endings: nothing else in the folder is touched.
var ours = regexp.MustCompile(`^(\d{8}T\d{6}Z-[0-9a-f]{16}-[A-Za-z0-9_-]{0,40})(?:\.json|-\d{1,3}\.(?:wav|ogg|mkv|webm))(?:\.part)?$`)
