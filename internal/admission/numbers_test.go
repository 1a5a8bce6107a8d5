package admission

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
)

func german(c RulesConfig) RulesConfig {
	c.CountryCode, c.NationalPrefix, c.InternationalPrefix = "49", "0", "00"
	return c
}

func newRules(t testing.TB, c RulesConfig) *Rules {
	t.Helper()
	r, err := NewRules(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func params(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// spread gives n numbers that begin with one of the prefixes and have the given length without them.
func spread(n, length int, prefixes ...string) []string {
	list := make([]string, n)
	for i := range list {
		tail := fmt.Sprintf("%0*d", length, (i*7919+1234567)%1000000000)
		list[i] = prefixes[i%len(prefixes)] + tail[len(tail)-length:]
	}
	return list
}

var update = flag.Bool("update", false, "rewrite the golden file in testdata")

// thousand makes the numbers of row R10 of the threat list, 200 of each kind. They stand in testdata/thousand.txt, too,
// a kind and a quoted number a line, for those who have them dialled through a whole proxy.
func thousand(t *testing.T) map[string][]string {
	t.Helper()
	premium := spread(200, 6, "+49900", "0900", "0049900", "0190", "0137", "0180", "+449", "+1900", "+33899", "+979", "00881", "+883", "01900")
	international := spread(200, 8, "+44", "0044", "+120255", "001202", "+53", "+225", "+9602", "00252", "+371", "00472")
	var short []string
	for _, n := range strings.Fields(emergencyNumbers) {
		short = append(short, n, "0"+n)
	}
	short = append(short, "11833", "11880", "118000", "118118", "116117", "+112", "0049112", "+49110", "00112")
	for i := 0; len(short) < 200; i++ {
		short = append(short, fmt.Sprint(1000+i*37))
	}
	tricks := disguises(spread(23, 6, "49900", "49190", "49137"))[:200]
	allowed := spread(200, 8, "+4930", "030", "+49 (30) ", "004930", "+49-89-", "%2B4940", "0151", "+49172", "0.221.", "089/")

	kinds := map[string][]string{"premium": premium, "international": international, "short": short[:200], "tricks": tricks, "allowed": allowed}
	var text strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		if len(kinds[kind]) != 200 {
			t.Errorf("%s: %d numbers", kind, len(kinds[kind]))
		}
		for _, user := range kinds[kind] {
			fmt.Fprintf(&text, "%s %q\n", kind, user)
		}
	}
	const file = "testdata/thousand.txt"
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if written, err := os.ReadFile(file); err != nil || string(written) != text.String() {
		t.Errorf("%s is not what is tested here (%v): run with -update", file, err)
	}
	return kinds
}

// TestThousandNumbers is row R10 of the threat list: of 1,000 numbers that an anonymous caller dials at a gateway in
// Germany that lets him call Germany, 800 are refused.
func TestThousandNumbers(t *testing.T) {
	r := newRules(t, german(RulesConfig{Allow: []string{"+49"}}))
	for kind, list := range thousand(t) {
		for _, user := range list {
			switch n, err := r.Judge(user, nil, "sip", true); {
			case kind == "allowed" && (err != nil || !strings.HasPrefix(n.E164, "+49")):
				t.Errorf("allowed: %q: got %+v, %v", user, n, err)
			case kind != "allowed" && !errors.Is(err, ErrDenied):
				t.Errorf("%s: %q: got %+v, %v, want a denial", kind, user, n, err)
			}
		}
	}
}

// disguises spells each international number, given without "+", in ten ways that somebody behind us may understand.
func disguises(numbers []string) (list []string) {
	for _, n := range numbers {
		wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, n)
		arabic := strings.Map(func(r rune) rune { return r - '0' + '٠' }, n)
		escaped := ""
		for _, c := range n {
			escaped += fmt.Sprintf("%%%02X", c)
		}
		list = append(list,
			"＋"+wide, "+"+url.PathEscape(arabic), "+"+escaped, "%252B"+n, "+"+strings.Join(strings.Split(n, ""), " "),
			n[2:]+";phone-context=+49", "0"+n[2:]+";isub=1", "+490"+n[2:], "++"+n, "0"+n[2:5]+"CALLME",
		)
	}
	return list
}

func TestJudge(t *testing.T) {
	const denied, name = "denied", "name"
	phone := params("user", "phone")
	for _, tt := range []struct {
		title     string
		config    RulesConfig
		user      string
		param     func(string) (string, bool)
		scheme    string
		known     bool // not anonymous
		want      string
		wantEntry string // Rule of the denial
	}{
		{title: "E.164", user: "+4930123456", want: "+4930123456"},
		{title: "separators", user: "+49%20(30)%20123-456", want: "+4930123456"},
		{title: "00", user: "004930123456", want: "+4930123456"},
		{title: "national", user: "030123456", want: "+4930123456"},
		{title: "no plus", user: "4930123456", want: "+4930123456"},
		{title: "extension", user: "1000", want: ""},
		{title: "service code", user: "*97", want: ""},
		{title: "name", user: "alice", want: name},
		{title: "name with digits", user: "bob-2", want: name},
		{title: "empty", user: "", want: name},
		{title: "UUID", user: "12345678-90ab-4cde-8f90-1234567890ab", want: name},
		{title: "name, user=phone", user: "alice", param: phone, want: denied},
		{title: "name, tel", user: "alice", scheme: "tel", want: denied},
		{title: "premium", user: "0900123456", want: denied, wantEntry: "premium"},
		{title: "premium for an account", user: "0900123456", known: true, want: "+49900123456"},
		{title: "directory enquiries when premium is allowed", user: "11833", config: RulesConfig{AllowPremium: true}, want: ""},
		{title: "premium when allowed", user: "0900123456", config: RulesConfig{AllowPremium: true}, want: "+49900123456"},
		{title: "premium without plus", user: "449012345678", want: denied, wantEntry: "premium"},
		{title: "premium range that is listed", user: "0137123456", config: RulesConfig{Allow: []string{"+49137"}}, want: "+49137123456"},
		{title: "a wide list does not open premium", user: "0900123456", config: RulesConfig{Allow: []string{"+"}}, want: denied, wantEntry: "premium"},
		{title: "premium for an account, wide list", user: "0900123456", known: true, config: RulesConfig{Allow: []string{"+49*"}}, want: "+49900123456"},
		{title: "deny for an account", user: "0190123456", known: true, config: RulesConfig{Deny: []string{"0190"}}, want: denied, wantEntry: "number-deny 0190"},
		{title: "deny in other words", user: "+49190123456", known: true, config: RulesConfig{Deny: []string{"0190"}}, want: denied},
		{title: "the longer one decides", user: "+4930123456", config: RulesConfig{Allow: []string{"+4930"}, Deny: []string{"+49"}}, want: "+4930123456"},
		{title: "deny before allow", user: "+4930123456", config: RulesConfig{Allow: []string{"+4930"}, Deny: []string{"+4930*"}}, want: denied},
		{title: "unlisted", user: "+3312345678", known: true, config: RulesConfig{Allow: []string{"+49"}}, want: denied, wantEntry: "not in number-allow"},
		{title: "listed extension", user: "1000", config: RulesConfig{Allow: []string{"10"}}, want: ""},
		{title: "unlisted extension", user: "2000", config: RulesConfig{Allow: []string{"10"}}, want: denied},
		{title: "name with a list", user: "alice", config: RulesConfig{Allow: []string{"+49"}}, want: name},
		{title: "every number", user: "2000", config: RulesConfig{Allow: []string{"*"}}, want: ""},
		{title: "ambiguous with a list", user: "30123456", config: RulesConfig{Allow: []string{"+49"}}, want: denied},
		{title: "emergency", user: "112", want: denied, wantEntry: "emergency"},
		{title: "emergency for an account", user: "112", known: true, want: ""},
		{title: "emergency that is listed", user: "112", config: RulesConfig{Allow: []string{"112"}}, want: ""},
		{title: "emergency by country", user: "+49112", want: denied},
		{title: "extension like emergency", user: "1120", want: ""},
		{title: "no such country", user: "+9991234567", want: denied, wantEntry: "malformed number"},
		{title: "no such country, account", user: "+9991234567", known: true, want: ""},
		{title: "too long", user: "+4930123456789012345", want: denied},
		{title: "trunk zero", user: "+49(0)900123456", want: denied, wantEntry: "premium"},
		{title: "Italian zero", user: "+390899123456", want: "+390899123456"},
		{title: "dial-around", config: RulesConfig{}, user: "+110102201900", want: denied},
		{title: "caller id code", user: "*31#0900123456", want: denied, wantEntry: "premium"},
		{title: "caller id code without end", user: "*670900123456", want: denied},
		{title: "context", user: "900123456", param: params("phone-context", "+49"), scheme: "tel", want: denied},
		{title: "context in the user", user: "900123456;phone-context=%2B49", want: denied},
		{title: "context of another country", user: "2025550123", param: params("phone-context", "+1"), scheme: "tel", want: "+12025550123"},
		{title: "context domain", user: "1000", param: params("phone-context", "example.com"), want: ""},
		{title: "isub", user: "+4930123456;isub=12", want: "+4930123456"},
		{title: "routing number", user: "+4930123456;rn=+49900123456", want: denied, wantEntry: "premium"},
		{title: "carrier", user: "+4930123456;cic=+49-6789", want: denied},
		{title: "carrier for an account", user: "+4930123456;cic=+49-6789", known: true, want: "+4930123456"},
		{title: "post-dial", user: "+4930123456;postd=pp900", want: denied},
		{title: "full width", user: "+４９３０１２３４５６", want: denied, wantEntry: "disguised number"},
		{title: "zero width", user: "+4930\u200b123456", want: denied},
		{title: "NUL", user: "+4930123456%00", want: denied},
		{title: "twice escaped", user: "%252B4930123456", want: denied},
		{title: "vanity", user: "0900CALLME", want: denied, wantEntry: "premium"},
		{title: "hidden", user: "x0900123456", want: denied, wantEntry: "premium"},
		{title: "hidden, allowed", user: "x030123456", want: name},
		{title: "hidden, account", user: "x0900123456", known: true, want: name},
		{title: "hidden, unlisted", user: "x003312345678", config: RulesConfig{Allow: []string{"+49"}}, want: denied},
		{title: "two pluses", user: "+49+30123456", want: denied},
		{title: "not ASCII", user: "zoë", want: name},
	} {
		t.Run(tt.title, func(t *testing.T) {
			scheme := tt.scheme
			if scheme == "" {
				scheme = "sip"
			}
			n, err := newRules(t, german(tt.config)).Judge(tt.user, tt.param, scheme, !tt.known)
			got := n.E164
			switch {
			case errors.Is(err, ErrDenied):
				got = denied
			case errors.Is(err, ErrNotANumber):
				got = name
			case err != nil:
				t.Fatal(err)
			}
			var d *Denial
			if got != tt.want || errors.As(err, &d) && tt.wantEntry != "" && d.Rule != tt.wantEntry {
				t.Errorf("%q: got %q (%v), want %q (%s)", tt.user, got, err, tt.want, tt.wantEntry)
			}
		})
	}
}

func TestRegions(t *testing.T) {
	america := RulesConfig{CountryCode: "1", NationalPrefix: "1", InternationalPrefix: "011"}
	spain := RulesConfig{CountryCode: "34", InternationalPrefix: "00"}
	for _, tt := range []struct {
		config     RulesConfig
		user, want string
	}{
		{america, "2025550123", "+12025550123"},
		{america, "12025550123", "+12025550123"},
		{america, "0114930123456", "+4930123456"},
		{america, "9795550123", "+19795550123"}, // Texas, not +979
		{america, "9005550123", "denied"},
		{america, "19005550123", "denied"},
		{america, "011449012345678", "denied"},
		{america, "10102201900555", "denied"},
		{america, "004490123456", "denied"},
		{spain, "912345678", "+34912345678"},
		{spain, "803123456", "denied"},
		{spain, "448712345678", "denied"},
		{RulesConfig{}, "+4930123456", "+4930123456"},
		{RulesConfig{}, "4930123456", "+4930123456"},
		{RulesConfig{}, "004930123456", "+4930123456"},
		{RulesConfig{}, "01134803123456", "denied"},
		{RulesConfig{}, "030123456", ""},
		{RulesConfig{}, "0900123456", "denied"},
		{RulesConfig{}, "+49900123456", "denied"},
	} {
		n, err := newRules(t, tt.config).Judge(tt.user, nil, "sip", true)
		got := n.E164
		if errors.Is(err, ErrDenied) {
			got = "denied"
		}
		if got != tt.want {
			t.Errorf("country %q: %s: got %q, %v, want %q", tt.config.CountryCode, tt.user, got, err, tt.want)
		}
	}
}

func TestRulesRefuse(t *testing.T) {
	for _, c := range []RulesConfig{
		{Allow: []string{""}},
		{Allow: []string{"alice"}},
		{Deny: []string{"+49x"}},
		{Deny: []string{"+49+1"}},
		{CountryCode: "0"},
		{CountryCode: "49", NationalPrefix: "+"},
	} {
		if _, err := NewRules(c); err == nil {
			t.Errorf("%+v: got no error", c)
		}
	}
}

func TestRanges(t *testing.T) {
	two, three := strings.Fields(codesOfTwo), strings.Fields(codesOfThree)
	for _, code := range three {
		if len(code) != 3 || slices.Contains(two, code[:2]) || code[0] == '1' || code[0] == '7' {
			t.Errorf("country code %s", code)
		}
	}
	r := newRules(t, RulesConfig{})
	for line := range strings.Lines(premiumRanges + costlyRanges) {
		if f := strings.Fields(line); len(f) > 0 && r.countryCode([]byte(f[0]+"0")) != len(f[0]) {
			t.Errorf("%s is no country code", f[0])
		}
	}
}

func FuzzJudge(f *testing.F) {
	for _, n := range disguises([]string{"49900123456"}) {
		f.Add(n, true)
	}
	f.Add("alice;phone-context=+49", false)
	f.Add("*31#0900123456;rn=+1", true)
	strict := newRules(f, german(RulesConfig{Allow: []string{"+4930"}}))
	f.Fuzz(func(t *testing.T, user string, anonymous bool) {
		n, err := strict.Judge(user, nil, "sip", anonymous)
		if err != nil && !errors.Is(err, ErrDenied) && !errors.Is(err, ErrNotANumber) {
			t.Fatalf("%q: %v", user, err)
		}
		if err != nil {
			return
		}
		// What passes is a number of the list, and says the same when it is judged again as it would be dialled.
		if !strings.HasPrefix(n.E164, "+4930") || strings.Trim(n.Dialled, "+0123456789") != "" {
			t.Fatalf("%q: passes as %+v", user, n)
		}
		if again, err := strict.Judge(n.Dialled, nil, "sip", anonymous); err != nil || again != n {
			// Beside the number there may have been parameters that made it international.
			if !strings.Contains(user, ";") {
				t.Fatalf("%q: %+v, again %+v, %v", user, n, again, err)
			}
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	r := newRules(b, german(RulesConfig{Allow: []string{"+49", "1"}}))
	for _, bb := range []struct{ name, user string }{
		{"E164", "+4930123456"}, {"national", "030123456"}, {"extension", "1000"}, {"name", "alice"}, {"denied", "0900123456"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = r.Judge(bb.user, nil, "sip", true)
			}
		})
	}
}
