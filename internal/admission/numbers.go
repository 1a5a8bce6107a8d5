package admission

import (
	"errors"
	"fmt"
	"strings"
)

// The errors of [Rules.Judge].
var (
	// ErrDenied is a number that the caller may not call. The error itself is a *[Denial].
	ErrDenied = errors.New("number denied")
	// ErrNotANumber is a user that cannot be dialled, a name: the rules of numbers do not apply to it.
	ErrNotANumber = errors.New("not a number")
)

// A Denial is why a number may not be called.
type Denial struct {
	// Rule tells which rule, for the log: "number-deny +4419", "premium" ... It does not contain the number.
	Rule string
}

// Error is the reason.
func (d *Denial) Error() string { return ErrDenied.Error() + ": " + d.Rule }

// Is makes a Denial an [ErrDenied].
func (d *Denial) Is(target error) bool { return target == ErrDenied }

var (
	denyPremium   = &Denial{"premium"}
	denyEmergency = &Denial{"emergency"}
	denyUnlisted  = &Denial{"not in number-allow"}
	denyMalformed = &Denial{"malformed number"}
	denyDisguised = &Denial{"disguised number"}
	denyParameter = &Denial{"parameter that steers the call"}
)

// RulesConfig sets [Rules].
type RulesConfig struct {
	// Allow and Deny are beginnings of numbers: "+49" of international ones, "0800" as dialled, with or without a "*"
	// after them; "+" is every international number, "*" every number. The longest beginning that a number has
	// decides, Deny when the same is in both. When Allow is not empty, what is in neither is denied.
	Allow, Deny []string
	// CountryCode, NationalPrefix and InternationalPrefix say how numbers are dialled here: 49, 0 and 00. Without a
	// country code no number without "+" or "00" can be told to be international, and Allow and Deny see those as
	// dialled.
	CountryCode, NationalPrefix, InternationalPrefix string
	// AllowPremium lets anonymous callers call numbers of premium rate and shared cost, satellites and international
	// networks.
	AllowPremium bool
}

// Rules decide which numbers may be called.
//
// What a user part means is decided by those behind us, each in his own way: one drops letters, the next maps
// full-width digits, a trunk takes 4930… for +4930…. So a number is read in every way that is usual somewhere; it is
// denied when one of them is denied, and, with an allow list, when one that is likely is not allowed. Rules are not
// changed after [NewRules] and may be used concurrently.
type Rules struct {
	config      RulesConfig
	e164        prefixes // international numbers without "+"
	literal     prefixes // as dialled
	emergencies map[string]bool
	codes       map[string]bool
}

// A Number is a user part that can be dialled.
type Number struct {
	// Dialled is what is dialled, without separators and escapes: digits, "*", "#", a "+" in front.
	Dialled string
	// E164 is the international number with a "+", in the likeliest reading; empty for short numbers, service codes,
	// and what has no such reading here.
	E164 string
}

// NewRules reads the rules. The error names the entry that is no beginning of a number.
func NewRules(c RulesConfig) (*Rules, error) {
	r := &Rules{config: c, emergencies: make(map[string]bool), codes: map[string]bool{"1": true, "7": true}}
	for _, code := range strings.Fields(codesOfTwo + codesOfThree) {
		r.codes[code] = true
	}
	for _, n := range strings.Fields(emergencyNumbers) {
		r.emergencies[n] = true
	}
	if c.CountryCode != "" && !r.codes[c.CountryCode] {
		return nil, fmt.Errorf("%q is not a country code", c.CountryCode)
	}
	for _, prefix := range []string{c.NationalPrefix, c.InternationalPrefix} {
		if strings.Trim(prefix, "0123456789") != "" {
			return nil, fmt.Errorf("%q is not a prefix of digits", prefix)
		}
	}
	if !c.AllowPremium {
		r.e164.addRanges(premiumRanges, denyPremium)
		r.e164.addRanges(costlyRanges, denyPremium)
	}
	for _, entry := range c.Allow {
		if err := r.add(entry, func(m *mark) { m.allow = true }); err != nil {
			return nil, fmt.Errorf("number-allow: %w", err)
		}
	}
	for _, entry := range c.Deny {
		denial := &Denial{"number-deny " + entry}
		if err := r.add(entry, func(m *mark) { m.deny = denial }); err != nil {
			return nil, fmt.Errorf("number-deny: %w", err)
		}
	}
	return r, nil
}

// add marks an entry of the configuration in each form that numbers can take which begin so.
func (r *Rules) add(entry string, set func(*mark)) error {
	d := fold(strings.TrimSpace(entry), nil)
	digits := string(d.symbols)
	any := digits == "*"
	digits = strings.TrimSuffix(digits, "*")
	international := strings.HasPrefix(digits, "+")
	digits = strings.TrimPrefix(digits, "+")
	if d.letters > 0 || d.disguised || digits == "" && !any && !international {
		return fmt.Errorf("%q is not the beginning of a number", entry)
	}
	var marks []*mark
	if any || international {
		marks = append(marks, r.e164.at(digits))
	}
	if !international {
		marks = append(marks, r.literal.at(digits))
		if full, ok := r.international(digits); ok && !any {
			marks = append(marks, r.e164.at(full))
		}
	}
	for _, m := range marks {
		if m == nil {
			return fmt.Errorf("%q is not the beginning of a number", entry)
		}
		set(m)
	}
	return nil
}

// international is the beginning, as dialled here, of international numbers without "+".
func (r *Rules) international(digits string) (full string, ok bool) {
	c := r.config
	if c.InternationalPrefix != "" && strings.HasPrefix(digits, c.InternationalPrefix) {
		return digits[len(c.InternationalPrefix):], true
	}
	if c.CountryCode == "" {
		return "", false
	}
	national, ok := strings.CutPrefix(digits, c.NationalPrefix)
	return c.CountryCode + national, ok
}

// Judge decides whether a caller may call user, the user part of a Request-URI (or what follows "tel:") as it stands
// there, escapes and parameters included. param looks up parameters of the URI by lower-case name and may be nil;
// user=phone, phone-context and those that steer a call are asked for. scheme is "sip", "sips" or "tel". anonymous is
// a caller who has proved no account.
//
// Anonymous callers may not call premium rate, emergency numbers, numbers in disguise, nor choose a carrier or a
// trunk by a parameter. Others may call what the lists let them, and without lists everything.
//
// The error is nil, a *[Denial], or [ErrNotANumber] for a name. A name that hides a number ("x0900123456",
// "0900CALLME") is denied when that number is.
func (r *Rules) Judge(user string, param func(name string) (string, bool), scheme string, anonymous bool) (Number, error) {
	var buf [64]byte
	user, params, _ := strings.Cut(user, ";")
	get := func(name string) (string, bool) {
		if v, ok := parameter(params, name); ok {
			return v, true
		}
		if param == nil {
			return "", false
		}
		return param(name)
	}
	d := fold(user, buf[:])
	phone, _ := get("user")
	telephone := scheme == "tel" || strings.EqualFold(phone, "phone")
	j := judgement{rules: r, anonymous: anonymous, restricted: anonymous || len(r.config.Allow)+len(r.config.Deny) > 0}
	if d.letters > 0 || d.digits == 0 {
		j.hidden(&d)
		if j.restricted && (telephone && d.letters+d.digits > 0 || j.denial != nil || j.seen && j.unlisted()) {
			return Number{}, j.reason(denyMalformed)
		}
		return Number{}, ErrNotANumber
	}
	j.parameters(get, d.symbols)
	j.symbols(d.symbols)
	if d.disguised {
		j.deny(denyDisguised)
	}
	if j.restricted && (j.denial != nil || j.unlisted()) {
		return Number{}, j.reason(denyUnlisted)
	}
	n := Number{Dialled: string(d.symbols)}
	if j.full > 0 {
		n.E164 = "+" + string(j.first[:j.full])
	}
	return n, nil
}

// parameter looks for a parameter that stands in the user part, as telephone-subscribers have them there (RFC 3261
// §19.1.6).
func parameter(params, name string) (value string, ok bool) {
	for params != "" {
		var p string
		p, params, _ = strings.Cut(params, ";")
		key, value, _ := strings.Cut(p, "=")
		if plain, _ := unescape(key); strings.EqualFold(plain, name) {
			value, _ = unescape(value)
			return value, true
		}
	}
	return "", false
}

// zeroKept are the country codes whose national numbers begin with a zero that is dialled from abroad too.
var zeroKept = []string{"39", "225", "226", "229", "241", "242", "378"}
