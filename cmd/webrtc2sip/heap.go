package main

import (
	"os"
	"runtime/debug"
)

// slack is what the process may hold in garbage on top of what it holds anyway. A gateway that relays signalling needs
// only a few MB, by which the collector would measure its intervals: it would run many times a second, and take more
// time than the parser.
const slack = 6 << 20

// ballast is never read or written, so that it has addresses but no memory. The collector counts it among what lives,
// and lets as much garbage come together before it begins.
var ballast []byte

// easeCollector makes the collector run less often. An operator who has set GOGC has decided himself, and below a tight
// GOMEMLIMIT the memory is needed for other things.
func easeCollector() {
	if os.Getenv("GOGC") == "" && debug.SetMemoryLimit(-1) >= 8*slack {
		ballast = make([]byte, slack)
	}
}
