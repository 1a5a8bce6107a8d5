package offeranswer

import "strings"

const profileLevelID = "profile-level-id" // of H.264, RFC 6184 §8.1

// configurations are the format parameters in which two formats of one codec
// must agree to be the same, with the value that stands for a missing one: the
// rest of fmtp each party states for itself.
var configurations = map[string][]struct{ name, missing string }{
	"H264": {{"packetization-mode", "0"}},                                  // RFC 6184 §8.2.2
	"VP9":  {{"profile-id", "0"}},                                          // RFC 9628 §7.2
	"AV1":  {{"profile", "0"}, {"tier", "0"}},                              // AV1 RTP §7.2.3
	"H265": {{"profile-id", "1"}, {"tier-flag", "0"}, {"tx-mode", "SRST"}}, // RFC 7798 §7.1
	"iLBC": {{"mode", "30"}},                                               // RFC 3952 §5
	"AMR":  {{"octet-align", "0"}}, "AMR-WB": {{"octet-align", "0"}},       // RFC 4867 §8.1
}

// sameConfiguration tells whether packets of g are good for who asked for f.
func (f Format) sameConfiguration(g Format) bool {
	if !f.SameCodec(g) {
		return false
	}
	for codec, parameters := range configurations {
		if !strings.EqualFold(codec, f.Codec) {
			continue
		}
		for _, p := range parameters {
			if !strings.EqualFold(f.parameter(p.name, p.missing), g.parameter(p.name, p.missing)) {
				return false
			}
		}
	}
	return !strings.EqualFold(f.Codec, "H264") || f.h264Profile() == g.h264Profile()
}

// similar tells whether packets of g are as good as certain for who asked for f:
// H.264 of phones says Baseline and is Constrained Baseline.
func (f Format) similar(g Format) bool {
	return f.SameCodec(g) && strings.EqualFold(f.Codec, "H264") && f.isBaseline() && g.isBaseline()
}

func (f Format) isBaseline() bool {
	profile := f.h264Profile()
	return profile == "42" || profile == "constrained baseline"
}

// answered returns f, a format that was offered, as an answer accepts it: with
// the parameters that the answerer states for itself, but in the configuration
// that was offered, since browsers refuse another one under that number.
func (f Format) answered(by Format) Format {
	accepted := f
	accepted.FMTP, accepted.Feedback = by.FMTP, nil
	if f.IsRedundancy() {
		accepted.FMTP = f.FMTP // the offerer's numbers of what the answerer has accepted under its own
	}
	if f.sameConfiguration(accepted) {
		return accepted
	}
	for codec, parameters := range configurations {
		if !strings.EqualFold(codec, f.Codec) {
			continue
		}
		for _, p := range parameters {
			accepted.setParameter(p.name, f.parameter(p.name, p.missing))
		}
	}
	if id := f.parameter(profileLevelID, ""); len(id) == 6 {
		if theirs := by.parameter(profileLevelID, ""); len(theirs) == 6 {
			id = id[:4] + theirs[4:] // the level is for each to state
		}
		accepted.setParameter(profileLevelID, id)
	}
	return accepted
}

// setParameter puts "name=value" into fmtp.
func (f *Format) setParameter(name, value string) {
	var kept []string
	for p := range strings.SplitSeq(f.FMTP, ";") {
		p = strings.TrimSpace(p)
		if key, _, _ := strings.Cut(p, "="); p != "" && !strings.EqualFold(key, name) {
			kept = append(kept, p)
		}
	}
	f.FMTP = strings.Join(append(kept, name+"="+value), ";")
}

// parameter returns the value of "name=value" in fmtp.
func (f Format) parameter(name, missing string) string {
	for p := range strings.SplitSeq(f.FMTP, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return missing
}

// h264Profile returns what tells the profiles of H.264 apart in
// profile-level-id: profile_idc, and of the flags behind it those that make
// Constrained Baseline out of Baseline and Constrained High out of High
// (RFC 6184 §8.1, table 5). Without one it is Baseline.
func (f Format) h264Profile() string {
	id := strings.ToLower(f.parameter(profileLevelID, "420010"))
	if len(id) != 6 {
		return id
	}
	high := strings.IndexByte("0123456789abcdef", id[2])
	switch {
	case high < 0:
		return id
	case id[:2] == "42" && high&4 != 0, id[:2] == "4d" && high&8 != 0:
		return "constrained baseline"
	case id[:2] == "64" && strings.IndexByte("cdef", id[3]) >= 0:
		return "constrained high"
	}
	return id[:2]
}
