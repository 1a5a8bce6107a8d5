// Package admin is the operator's door: health, metrics, and what an operator
// looks at and changes while the gateway runs. It is HTTP on a listener of its
// own, never on that of the browsers.
//
//	GET    /healthz                    200 while the process serves
//	GET    /readyz                     200, or 503 when no new calls should be sent here
//	GET    /metrics                    for Prometheus
//	GET    /api/bans                   sources that are shut out or have strikes
//	POST   /api/bans                   {"address":"192.0.2.7","seconds":3600}
//	DELETE /api/bans?address=192.0.2.7
//	GET    /api/trace                  who is followed
//	POST   /api/trace                  {"pattern":"alice@example.com","seconds":600}
//	DELETE /api/trace?pattern=alice@example.com
//	GET    /api/targets                next hops and trunks
//	GET    /api/calls                  calls that stand
//	POST   /api/calls/{call_id}/record {"record":true}: begin to record it, or end that
//	GET    /api/registrations          clients that are registered
//	POST   /api/drain                  {}: refuse new calls, let the others end
//
// A conversation:
//
//	$ curl -H 'Authorization: Bearer …' http://127.0.0.1:9090/api/bans
//	{"bans":[{"address":"192.0.2.7","until":"2026-08-01T12:00:00Z","strikes":3,"reason":"scanner"}],"total":1}
//
//	$ curl -H 'Authorization: Bearer …' --json '{"pattern":"1000"}' http://127.0.0.1:9090/api/trace
//	{"pattern":"1000","until":"2026-08-01T13:00:00Z"}
//
// Lists give 1,000 items, or as many as ?limit= asks for up to 10,000, and the
// number of all. Errors are problem documents (RFC 9457):
//
//	HTTP/1.1 400 Bad Request
//	Content-Type: application/problem+json
//
//	{"title":"Bad Request","status":400,"detail":"address: not an IP address"}
//
// What the command did not connect (no tracer, no bans) answers 404.
//
// # Who may come in
//
// With a token every request but /healthz and /readyz must carry it as
// "Authorization: Bearer …" (RFC 6750). Without one the door serves loopback
// alone: [Server.Serve] refuses any other listener, and a request whose Host is
// a name other than localhost, which is how a page reaches loopback by DNS
// rebinding, is answered 421.
//
// Pages of other origins change nothing with or without a token: what changes
// something must be JSON by its Content-Type, must not come from another site
// by Sec-Fetch-Site or Origin, and no CORS header is ever sent. Cookies mean
// nothing here.
//
// # Bounds
//
// Bodies are 16 KB at most, headers 16 KB. A request must be there after 10 s,
// its answer be read after 15 s. There are 1,000 connections at most; more are
// closed at once.
//
// # Concurrency
//
// [New] starts nothing. Serve owns its goroutines and waits for them. The
// functions of [Config] are called on the goroutines of requests, several at
// once.
package admin
