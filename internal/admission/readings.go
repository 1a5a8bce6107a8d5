package admission

import (
	"bytes"
	"slices"
	"strings"
)

const (
	shortest    = 6  // digits of an international number, country code included; none is shorter
	longest     = 15 // E.164 §6.2.1
	longestText = 31 // digits that are looked at: what is longer is refused, but for premium rate first
	longestCode = 6  // digits of a short number or extension: dialled as it is
	hiddenRun   = 7  // digits in a row that make a number of a part of a name
)

// A judgement collects what the readings of one number say.
type judgement struct {
	rules      *Rules
	anonymous  bool
	restricted bool // there is something that can deny

	denial         *Denial // of the first reading that is denied
	seen           bool    // there was a reading
	literalAllowed bool    // as it is dialled
	likely, passed int     // likely readings, and those of them that are allowed

	first [longestText]byte // of the first likely reading
	full  int
}

func (j *judgement) deny(d *Denial) {
	if j.denial == nil {
		j.denial = d
	}
}

// unlisted reports whether there is an allow list that does not have the number.
func (j *judgement) unlisted() bool {
	return len(j.rules.config.Allow) > 0 && !j.literalAllowed && (j.likely == 0 || j.passed < j.likely)
}

func (j *judgement) reason(otherwise *Denial) error {
	if j.denial != nil {
		return j.denial
	}
	return otherwise
}

// symbols reads what has neither letters nor anything else that cannot be dialled.
func (j *judgement) symbols(s []byte) {
	j.seen = true
	plus := s[0] == '+'
	if plus {
		s = s[1:]
	}
	switch {
	case bytes.IndexByte(s, '+') >= 0, plus && bytes.ContainsAny(s, "*#"):
		j.deny(denyMalformed)
		for part := range bytes.FieldsFuncSeq(s, notDigit) {
			j.maybe("", part)
		}
	case plus:
		j.e164("", s, true)
	case bytes.ContainsAny(s, "*#"):
		j.service(s)
	default:
		j.digits(s)
	}
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// service reads a code like *31#0900123456 or *670900123456: whatever the code does, the number behind it is called.
func (j *judgement) service(s []byte) {
	j.asDialled(s)
	for part := range bytes.FieldsFuncSeq(s, notDigit) {
		if len(part) >= hiddenRun {
			for code := range 4 { // digits of the code that no '#' ends
				j.dialled(part[code:], false)
			}
		}
	}
}

// digits reads a string of digits as it is dialled here, and elsewhere.
func (j *judgement) digits(s []byte) {
	j.asDialled(s)
	if len(s) > longestCode {
		j.dialled(s, true)
	}
}

// asDialled looks the symbols up as they are.
func (j *judgement) asDialled(s []byte) {
	allowed, denial := j.rules.literal.judge(s, j.anonymous)
	if denial != nil {
		j.deny(denial)
	}
	j.literalAllowed = j.literalAllowed || allowed
	if !j.anonymous || allowed || len(s) > longestCode {
		return
	}
	// A leading zero is what many a PBX wants for an outside line.
	digits := bytes.TrimLeft(s, "0")
	if j.rules.emergencies[string(s)] || len(digits) > 2 && j.rules.emergencies[string(digits)] {
		j.deny(denyEmergency)
	}
	if !j.rules.config.AllowPremium && len(s) >= 5 && bytes.HasPrefix(s, []byte("118")) { // directory enquiries in most of Europe, at premium rate
		j.deny(denyPremium)
	}
}

// dialled reads digits with their prefixes. likely is whether this is what the caller has dialled, rather than a part
// of it.
func (j *judgement) dialled(s []byte, likely bool) {
	c := &j.rules.config
	if rest, ok := cutLong(s, c.InternationalPrefix); ok && c.InternationalPrefix != "" {
		j.e164("", rest, likely)
		return
	}
	if rest, ok := cutLong(s, "00"); ok {
		j.e164("", rest, likely)
		return
	}
	if rest, ok := cutLong(s, "011"); ok && (c.CountryCode == "" || c.CountryCode == "1") {
		j.e164("", rest, false)
	}
	switch rest, national := cutLong(s, c.NationalPrefix); {
	case c.CountryCode == "":
		j.nowhere(s, likely)
	case c.CountryCode == "1" && len(s) == 10:
		j.e164("1", s, likely)
	case c.NationalPrefix == "": // national numbers are dialled as they are, and are shorter than international ones
		j.e164(c.CountryCode, s, likely)
		if len(s) > 10 {
			j.maybe("", s)
		}
	case national:
		j.e164(c.CountryCode, rest, likely)
	case s[0] == '0':
		j.maybe(c.CountryCode, bytes.TrimLeft(s, "0"))
	default: // a local number here, an international one to most trunks: nobody can tell
		j.e164("", s, likely)
		j.e164(c.CountryCode, s, likely && !j.code(c.CountryCode, s))
	}
}

// code reports whether s begins with a country code: the reading as a local number is then the less likely one.
func (j *judgement) code(country string, s []byte) bool { return bytes.HasPrefix(s, []byte(country)) }

// nowhere reads digits without knowing the country. Most national plans have their premium rate at 0900, 0906, 0190
// and so on.
func (j *judgement) nowhere(s []byte, likely bool) {
	if s[0] != '0' {
		j.e164("", s, likely)
		return
	}
	if !j.anonymous || j.rules.config.AllowPremium {
		return
	}
	national := bytes.TrimLeft(s, "0")
	for _, premium := range []string{"90", "190"} {
		if bytes.HasPrefix(national, []byte(premium)) {
			j.deny(denyPremium)
		}
	}
}

// cutLong removes a prefix behind which there is enough left for a number.
func cutLong(s []byte, prefix string) (rest []byte, ok bool) {
	rest, ok = bytes.CutPrefix(s, []byte(prefix))
	return rest, ok && len(rest) > 3
}

// maybe is a reading that nobody should rely on, but that somebody may have: it denies and never allows.
func (j *judgement) maybe(head string, tail []byte) {
	if len(tail) > 0 {
		j.e164(head, tail, false)
	}
}

// e164 judges the international number of head and tail.
func (j *judgement) e164(head string, tail []byte, likely bool) {
	var buf [longestText]byte
	n := copy(buf[:], head)
	n += copy(buf[n:], tail)
	full := buf[:n]
	code := j.rules.countryCode(full)
	if likely {
		j.likely++
		if j.full == 0 && code > 0 && n <= longest {
			j.full = copy(j.first[:], full)
		}
		if code == 0 || n < shortest || len(head)+len(tail) > longest {
			j.deny(denyMalformed)
		}
	}
	if code == 0 {
		return
	}
	j.lookUp(full, likely)
	// +49 (0) 900: the national prefix that is not to be dialled after a country code, but is by some and removed by
	// others.
	national := full[code:]
	switch {
	case j.anonymous && j.rules.emergencies[string(national)]:
		j.deny(denyEmergency)
	case national[0] == '0' && !slices.Contains(zeroKept, string(full[:code])):
		j.trimmed(full, code, bytes.TrimLeft(national, "0"))
	case national[0] == '1' && full[0] == '1':
		j.trimmed(full, code, bytes.TrimLeft(national, "1"))
	}
}

// trimmed judges a number without the national prefix.
func (j *judgement) trimmed(full []byte, code int, national []byte) {
	n := copy(full[code:], national)
	j.lookUp(full[:code+n], false)
}

// lookUp judges one spelling of an international number.
func (j *judgement) lookUp(full []byte, likely bool) {
	allowed, denial := j.rules.e164.judge(full, j.anonymous)
	if denial != nil {
		j.deny(denial)
	}
	if likely && allowed {
		j.passed++
	}
}

// countryCode is the length of the country code that a number begins with, 0 for none that is assigned or nothing
// after it.
func (r *Rules) countryCode(full []byte) int {
	for n := 1; n <= 3 && n < len(full); n++ {
		if r.codes[string(full[:n])] {
			return n
		}
	}
	return 0
}

// parameters judges what stands beside the number. phone-context makes a local number international (RFC 3966
// §5.1.5), rn replaces it by another (RFC 4694 §5.1).
func (j *judgement) parameters(get func(string) (string, bool), number []byte) {
	if context, ok := get("phone-context"); ok && strings.HasPrefix(context, "+") && number[0] != '+' {
		var buf [longestText]byte
		if d := fold(context, buf[:]); d.letters == 0 && d.digits > 0 && len(d.symbols) < longest {
			head := string(d.symbols[1:])
			j.e164(head, number, len(number) > longestCode && number[0] != '0')
			j.maybe(head, bytes.TrimLeft(number, "0"))
		}
	}
	if rn, ok := get("rn"); ok {
		var buf [longestText]byte
		if d := fold(rn, buf[:]); d.letters > 0 || d.digits == 0 {
			j.deny(denyMalformed)
		} else {
			j.symbols(d.symbols)
		}
	}
	if !j.anonymous {
		return
	}
	// Carrier, trunk (RFC 4694 §5.2, RFC 4904), and digits that are dialled after the answer (RFC 2806).
	for _, name := range [...]string{"cic", "tgrp", "trunk-context", "postd"} {
		if _, ok := get(name); ok {
			j.deny(denyParameter)
		}
	}
}

// hidden looks for a number in a name: all of it as the keys that its letters are on when it begins like a number, and
// what has many digits in a row.
func (j *judgement) hidden(d *dialled) {
	if len(d.symbols) < hiddenRun || d.opaque() {
		return
	}
	start := 0
	for start < len(d.symbols) && '0' <= d.symbols[start] && d.symbols[start] <= '9' {
		start++
	}
	if start >= 3 || d.symbols[0] == '+' && d.digits > 0 {
		var keys []byte
		for _, c := range d.symbols {
			switch {
			case 'a' <= c && c <= 'z':
				keys = append(keys, keypad[c-'a'])
			case c != '?':
				keys = append(keys, c)
			}
		}
		if len(keys) >= hiddenRun {
			j.symbols(keys)
		}
	}
	dialable := func(r rune) bool { return notDigit(r) && r != '+' && r != '*' && r != '#' }
	for part := range bytes.FieldsFuncSeq(d.symbols, dialable) {
		if len(part) >= hiddenRun {
			j.symbols(part)
		}
	}
}
