package admin

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// problem is a problem document (RFC 9457). Title is the phrase of the status.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (p problem) Error() string { return p.Detail }

func bad(detail string) error { return problem{Status: http.StatusBadRequest, Detail: detail} }

func writeProblem(w http.ResponseWriter, p problem) {
	p.Title = http.StatusText(p.Status)
	writeJSON(w, "application/problem+json", p.Status, p)
}

// writeJSON writes a whole answer. All that can fail in it is a time beyond the
// year 9999, which JSON has no form for.
func writeJSON(w http.ResponseWriter, media string, status int, body any) {
	text, err := json.Marshal(body) // <, > and & are escaped
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"title":"Internal Server Error","status":500}`)
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// action answers one method of one resource; without a body the status stands
// alone. An error that is no problem is answered 500 without telling it.
type action func(r *http.Request) (status int, body any, err error)

// serve finds the action of a method.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, methods map[string]action) {
	if methods == nil {
		writeProblem(w, problem{Status: http.StatusNotFound})
		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http leaves the body out
	}
	do, found := methods[method]
	defer s.recovered(w, r)
	switch {
	case !found:
		allowed := slices.Sorted(maps.Keys(methods))
		if slices.Contains(allowed, http.MethodGet) {
			allowed = append(allowed, http.MethodHead)
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeProblem(w, problem{Status: http.StatusMethodNotAllowed})
	case do == nil:
		s.cfg.Metrics.ServeHTTP(w, r)
	default:
		s.answer(w, r, do)
	}
}

// recovered answers a request whose action panicked; others do not notice.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("panic", "in", "admin", "method", r.Method, "path", r.URL.Path, "err", v, "stack", string(debug.Stack()))
	writeProblem(w, problem{Status: http.StatusInternalServerError})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, do action) {
	status, body, err := do(r)
	p, isProblem := errors.AsType[problem](err)
	switch {
	case isProblem:
		writeProblem(w, p)
	case err != nil:
		s.log.Error("admin request", "method", r.Method, "path", r.URL.Path, "err", err)
		writeProblem(w, problem{Status: http.StatusInternalServerError})
	case body == nil:
		w.WriteHeader(status)
	default:
		writeJSON(w, "application/json", status, body)
	}
}

// read decodes the body, which must be one JSON object of known members.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil // nothing behind it
		}
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return problem{Status: http.StatusRequestEntityTooLarge}
	}
	return bad("body: not one JSON object with the members of this resource")
}

// list gives the first items of a list and the number of all.
func list[T any](r *http.Request, name string, all []T) (int, any, error) {
	limit := defaultLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxLimit {
			return 0, nil, bad("limit: not a number from 0 to 10000")
		}
		limit = n
	}
	shown := append([]T{}, all[:min(len(all), limit)]...) // [] rather than null
	return http.StatusOK, map[string]any{name: shown, "total": len(all)}, nil
}
