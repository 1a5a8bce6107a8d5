package admission

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A dialled is the user of a URI as far as it can be dialled.
type dialled struct {
	// symbols are digits, '+', '*', '#', letters in lower case, and '?' for what is nothing of these. Visual
	// separators (RFC 3966 §3) are gone.
	symbols []byte
	digits  int
	letters int // and '?'
	// disguised: something was spelled in a way that only somebody who hides a number would use.
	disguised bool
}

// fold reads user, escapes undone, into symbols that use buf as far as it goes.
func fold(user string, buf []byte) dialled {
	d := dialled{symbols: buf[:0]}
	// One level of escapes is what RFC 3261 §19.1.2 allows; a second would be undone by a careless hop only.
	for level := 0; strings.IndexByte(user, '%') >= 0 && level < 4; level++ {
		plain, changed := unescape(user)
		if !changed {
			break
		}
		d.disguised = d.disguised || level > 0
		user = plain
	}
	for i := 0; i < len(user); {
		r, n := rune(user[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(user[i:])
		}
		i += n
		d.add(r)
	}
	return d
}

func (d *dialled) add(r rune) {
	switch {
	case '0' <= r && r <= '9':
		d.digits++
		d.symbols = append(d.symbols, byte(r))
	case r == '+' || r == '*' || r == '#':
		d.symbols = append(d.symbols, byte(r))
	case r == '-' || r == '.' || r == '(' || r == ')' || r == ' ' || r == '/':
	case 'a' <= r && r <= 'z':
		d.letter(byte(r))
	case 'A' <= r && r <= 'Z':
		d.letter(byte(r - 'A' + 'a'))
	case r < utf8.RuneSelf && r > ' ' && r != 0x7f:
		d.letter('?')
	default:
		d.addForeign(r)
	}
}

func (d *dialled) letter(b byte) {
	d.letters++
	d.symbols = append(d.symbols, b)
}

// addForeign adds what is not of ASCII, or controls.
func (d *dialled) addForeign(r rune) {
	switch digit, ok := foreignDigit(r); {
	case ok:
		d.disguised = true
		d.add('0' + rune(digit))
	case r == '+' || r == '⁺' || r == '₊' || r == '﬩' || r == '﹢' || r == '＋':
		d.disguised = true
		d.add('+')
	case r == '＊' || r == '∗' || r == '﹡':
		d.disguised = true
		d.add('*')
	case r == '＃' || r == '﹟':
		d.disguised = true
		d.add('#')
	case 'ａ' <= r && r <= 'ｚ':
		d.add(r - 'ａ' + 'a')
	case 'Ａ' <= r && r <= 'Ｚ':
		d.add(r - 'Ａ' + 'a')
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Pd, unicode.Mn):
		d.disguised = true // separators that RFC 3966 does not know, most of them invisible
	default:
		d.letter('?')
	}
}

// foreignDigit gives the value of digits that are not those of ASCII: of other scripts, full width, raised, lowered,
// circled.
func foreignDigit(r rune) (value int, ok bool) {
	switch {
	case r == '¹':
		return 1, true
	case r == '²' || r == '³':
		return int(r-'²') + 2, true
	case r == '⁰' || '⁴' <= r && r <= '⁹':
		return int(r - '⁰'), true
	case '₀' <= r && r <= '₉':
		return int(r - '₀'), true
	case '①' <= r && r <= '⑨':
		return int(r-'①') + 1, true
	case '⓵' <= r && r <= '⓽':
		return int(r-'⓵') + 1, true
	case '❶' <= r && r <= '❾':
		return int(r-'❶') + 1, true
	case r == '⓪' || r == '⓿':
		return 0, true
	case !unicode.Is(unicode.Nd, r):
		return 0, false
	}
	// Unicode has the ten digits of a script in a row, from 0 to 9, and rows of one table entry follow each other
	// without a gap.
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10, true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return int(r-rune(t.Lo)) % 10, true
		}
	}
	return 0, false
}

// unescape undoes one level of percent escapes (RFC 3986 §2.1); what only looks like one stays.
func unescape(s string) (plain string, changed bool) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := hexValue(s[i+1]), hexValue(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				changed = true
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), changed
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// keypad gives the digit that a letter stands on (ITU-T E.161).
const keypad = "22233344455566677778889999"

// opaque reports whether the symbols look like an identifier made by a program, a UUID for example: hexadecimal,
// long, and with letters all over. Digits in a row are chance there.
func (d *dialled) opaque() bool {
	groups := 0
	for i, c := range d.symbols {
		if hexValue(c) < 0 {
			return false
		}
		if c >= 'a' && (i == 0 || d.symbols[i-1] < 'a') {
			groups++
		}
	}
	return len(d.symbols) >= 20 && groups >= 4
}
