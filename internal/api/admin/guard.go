package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// guarded lets through who may come in.
func (s *Server) guarded(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.cfg.Token))
	foreign := http.NewCrossOriginProtection()
	brief := rate.Sometimes{First: 1, Interval: time.Second} // a guesser must not fill the log
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		known := s.cfg.Token == "" || hasToken(r, want)
		switch {
		case s.cfg.Token == "" && !isLocal(r):
			writeProblem(w, problem{Status: http.StatusMisdirectedRequest, Detail: "without a token only loopback is served, by address or as localhost"})
		case !known && !isProbe(r.URL.Path):
			brief.Do(func() { s.log.Warn("admin request without the token", "remote", r.RemoteAddr) })
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeProblem(w, problem{Status: http.StatusUnauthorized})
		case foreign.Check(r) != nil:
			writeProblem(w, problem{Status: http.StatusForbidden, Detail: "from another site"})
		case r.Method == http.MethodPost && !isJSON(r):
			writeProblem(w, problem{Status: http.StatusUnsupportedMediaType, Detail: "Content-Type must be application/json"})
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if !known {
				r = r.WithContext(asStranger(r.Context()))
			}
			next.ServeHTTP(w, r)
		}
	})
}

// protect keeps browsers from taking an answer for anything but data, and from
// keeping it.
func protect(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

// hasToken compares digests, so that neither the content nor the length of the
// token shows in the time.
func hasToken(r *http.Request, want [sha256.Size]byte) bool {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// isProbe tells whether a load balancer may ask this without the token.
func isProbe(path string) bool { return path == "/healthz" || path == "/readyz" }

// isLocal tells whether a request is from this machine and meant for it: a page
// whose name was made to resolve to 127.0.0.1 sends its own name as Host.
func isLocal(r *http.Request) bool {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !remote.Addr().Unmap().IsLoopback() {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

func isJSON(r *http.Request) bool {
	values := r.Header.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	media, _, err := mime.ParseMediaType(values[0])
	return err == nil && media == "application/json"
}
