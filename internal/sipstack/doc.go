// Package sipstack is the transport and the transaction layer of SIP
// (RFC 3261 §17 and §18, RFC 7118) over UDP, TCP, TLS, WebSocket and secure
// WebSocket.
//
//	         peers
//	UDP   TCP/TLS   WS/WSS   Pipe      sockets: one reader goroutine each
//	 │       │        │       │
//	 │    framing    HTTP     │        limits, deadlines, keep-alives
//	 │       │      upgrade   │
//	 ▼       │       │       │
//	early: 503       │       │        what came late under overload
//	 ▼       ▼        ▼       ▼
//	parse: guards, 400, 505, 413       octets become sip.Request, sip.Response
//	 │
//	 ▼
//	admission: 503                     strangers, before anything is kept
//	 │
//	 ▼
//	table: branch, sent-by, method, flow
//	 │                       │
//	 ▼                       ▼
//	ServerTransaction   ClientTransaction   RFC 3261 fig. 5–8, RFC 6026
//	 │                       ▲
//	 ▼                       │
//	Handler  ── Respond ──   Send            the proxy, the PBX
//
// A [Stack] is made by [New], given its sockets by [Stack.Listen], and run by
// [Stack.Serve]:
//
//	stack := sipstack.New(sipstack.Config{Logger: log})
//	_, err := stack.Listen(sipstack.UDP, netip.MustParseAddrPort("0.0.0.0:5060"))
//	…
//	err = stack.Serve(ctx, handler)
//
// # Flows
//
// A [Flow] is where a message came from and where others can go: a connection,
// or for UDP a listener and an address. Connections have a random ID by which
// they are found while they live, so that a token can name a browser (RFC 5626).
// Nothing is ever dialled to a WebSocket client; the host in its Via and
// Contact is an invented name. Tests, and user agents in the same process, come
// by [Stack.Pipe], an in-memory flow.
//
// What is sent on a connection joins a bounded queue. A goroutine writes only
// while there is something to write, and a peer that does not drain its queue
// is disconnected, so that nobody waits for anybody. An idle client costs one
// goroutine, the reader.
//
// A TLS connection of ours belongs to an address and a name, which the peer's
// certificate must have (RFC 5922); one that a peer opened carries requests back
// if it proved its name and asked for that (RFC 5923).
//
// # Messages
//
// Messages are those of sipgo. The parser is ours, for the reasons that its
// file gives; headers that nobody here needs to understand, and Via, From and
// To, stay octet for octet as they came. Those three are understood all the
// same: Request.From and the like give the parsed form. To change one, replace
// the header; changes to the parsed form alone are not written.
//
// Lists of Via, Route, Record-Route, Path and Contact are split into one header
// for each value, compact names are spelled out, folded lines joined. The
// parameters of Route and Record-Route outside of the brackets are dropped.
//
// # Transactions
//
// Each transaction is a small state machine with a mutex and a timer; there is
// no goroutine for it. A [ServerTransaction] absorbs retransmissions, repeats
// its last response, and answers CANCEL itself. Its responses carry the Via
// headers of the request as they came. A [ClientTransaction] retransmits,
// acknowledges refusals, and reports to its [ClientHandler]. One that is no
// INVITE ends with its final response: what is repeated then (timer K) is dropped
// as a stray.
//
// A request belongs to a transaction by branch, sent-by, method and source: the
// socket or the address, so that nobody can cancel another client's call by a
// guessed branch. The branch of RFC 2543 elements, which lacks the cookie, is
// replaced by Call-ID, From tag, CSeq and Via.
//
// A request over WebSocket belongs to its socket; one over TCP or TLS to the
// address, so that a peer may repeat it on another connection. A response whose
// connection is gone goes on a new one, to the port in Via (RFC 3261 §18.2.2). A
// request of ours is sent again on a new connection if an idle one turns out to
// be dead, and a large one goes over TCP in place of UDP if the peer takes it
// (§18.1.1).
//
// # Concurrency
//
// Handlers and callbacks run on the reader goroutine of a flow or on a timer's,
// and never under a lock of this package. Every goroutine ends before Serve
// returns.
//
// # What it does not do
//
// It routes nothing, resolves no names, knows no dialogs and no authentication.
package sipstack
