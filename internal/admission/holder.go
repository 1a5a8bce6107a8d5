package admission

import "strings"

// addressOf removes the scheme of an address.
func addressOf(s string) string {
	for _, scheme := range [...]string{"sip:", "sips:", "tel:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			return s[len(scheme):]
		}
	}
	return s
}

// Is reports whether an address of record, user as it stands in a URI and host, is the holder's. The host does not
// count when the ticket names none. Users differ by case, hosts do not (RFC 3261 §19.1.4).
func (t Ticket) Is(user, host string) bool {
	name, domain, named := cutHost(t.User)
	return name == plainUser(user) && (!named || strings.EqualFold(domain, host))
}

// Allows reports whether the holder may call user, as it stands in a Request-URI, at host. number is what
// [Rules.Judge] has made of it, the zero Number for a name. Each target of the ticket is a pattern:
//
//   - anybody
//     alice, 1000         this user at any host; for a number also as it is dialled
//     +4930123456         this international number, however it is dialled
//     +4930*, 10*         what begins so
//     alice@example.com   this user at this host; also with * for the user or at its end
//
// with or without "sip:", "sips:" or "tel:" in front. A user with parameters, which may steer the call elsewhere, is
// nobody but "anybody".
func (t Ticket) Allows(user, host string, number Number) bool {
	if t.Targets == nil {
		return true
	}
	bare := !strings.ContainsRune(user, ';')
	names := []string{plainUser(user)}
	if number.Dialled != "" {
		names = []string{number.Dialled, number.E164}
	}
	for _, target := range t.Targets {
		pattern, domain, named := cutHost(addressOf(target))
		if named && !strings.EqualFold(domain, host) {
			continue
		}
		if pattern == "*" {
			return true
		}
		for _, name := range names {
			if bare && matches(pattern, name) {
				return true
			}
		}
	}
	return false
}

// cutHost splits an address at its last "@", for a user may have some that somebody forgot to escape.
func cutHost(address string) (user, host string, named bool) {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[:at], address[at+1:], true
	}
	return address, "", false
}

func matches(pattern, name string) bool {
	if name == "" || pattern == "" {
		return false
	}
	if head, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, head)
	}
	return pattern == name
}

// plainUser undoes the escapes of a user.
func plainUser(user string) string {
	if strings.IndexByte(user, '%') < 0 {
		return user
	}
	plain, _ := unescape(user)
	return plain
}
