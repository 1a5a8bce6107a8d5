package sipstack

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// transaction is either kind, as the table and the lingering lists see it.
type transaction interface {
	// abandon ends the transaction; err is nil when its time is over.
	abandon(err error)
}

// owned is a transaction on a connection.
type owned interface {
	transaction
	// lost tells that the connection has ended.
	lost(f *Flow)
}

// key finds a transaction: RFC 3261 §17.1.3 and §17.2.3, and the flow.
type key struct {
	id        string // branch, for server transactions with sent-by
	method    string // INVITE for its ACK and CANCEL as well
	flow      uint64 // 0 for UDP
	transport Transport
	source    netip.Addr // in place of flow, of requests but those over WebSocket
}

// serverKey is the key of a request.
func serverKey(f *Flow, m *message, method string) key {
	k := key{method: method, id: m.top.branch + " " + m.top.sentBy()}
	if len(m.top.branch) <= len(branchCookie) || m.top.branch[:len(branchCookie)] != branchCookie {
		// RFC 2543: the branch says nothing. What is the same in INVITE, its ACK
		// and its CANCEL does (§17.2.3).
		k.id = m.callID + " " + m.fromTag + " " + strconv.Itoa(int(m.seq)) + " " + m.vias[0]
	}
	if f.transport.web() {
		k.flow = f.id
	} else {
		k.transport, k.source = f.transport, f.remote.Addr() // a peer may repeat a request on another connection
	}
	return k
}

func clientKey(f *Flow, branch, method string) key {
	k := key{id: branch, method: method}
	if f.transport != UDP {
		k.flow = f.id
	}
	return k
}

// table holds the live transactions. Its mutex is taken last, under that of a
// transaction or alone.
type table struct {
	mu      sync.Mutex
	servers shelf[*ServerTransaction]
	clients shelf[*ClientTransaction]
	ghosts  shelf[*ghost]
	sources map[netip.Addr]int // server transactions without a final response, by UDP source
	active  int                // in all
}

func (t *table) init() {
	t.servers.clear()
	t.clients.clear()
	t.ghosts.clear()
	t.sources = map[netip.Addr]int{}
}

// shelf is a map that gives back its room. Go's own keeps that of the most entries
// it ever had, which after a flood is megabytes of nothing.
type shelf[T any] struct {
	all  map[key]T
	most int // entries since it was made
}

// roomy is what a shelf may keep for good.
const roomy = 4096

func (s *shelf[T]) clear() { s.all, s.most = map[key]T{}, 0 }

func (s *shelf[T]) put(k key, v T) {
	s.all[k] = v
	s.most = max(s.most, len(s.all))
}

func (s *shelf[T]) remove(k key) {
	delete(s.all, k)
	if s.most > roomy && len(s.all) < s.most/8 {
		left := make(map[key]T, len(s.all))
		maps.Copy(left, s.all) // maps.Clone would keep the room
		s.all, s.most = left, len(left)
	}
}

// ghost is what is left of a server transaction on UDP in Completed: its answer,
// for retransmissions until timer J. It holds nothing else, since there may be
// many. There are those of INVITE as well, of refusals that wait for no ACK.
type ghost struct {
	flow *Flow
	key  key
	data []byte
	to   netip.AddrPort
}

func (g *ghost) repeated(*Flow) { _ = g.flow.reply(g.data, g.to) }

func (g *ghost) abandon(error) {
	t := &g.flow.stack.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ghosts.all[g.key] == g {
		t.ghosts.remove(g.key)
	}
}

// lay ends the ghost of an INVITE whose ACK has come. It reports false if there
// is none.
func (t *table) lay(k key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.ghosts.all[k]
	t.ghosts.remove(k)
	return ok
}

// haunt puts a ghost in the place of its transaction until its time is over.
func (t *table) haunt(g *ghost, timerJ *linger) {
	t.mu.Lock()
	t.servers.remove(g.key)
	t.ghosts.put(g.key, g)
	t.mu.Unlock()
	timerJ.add(g)
}

func (t *table) server(k key) *ServerTransaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.servers.all[k]
}

func (t *table) client(k key) *ClientTransaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clients.all[k]
}

var (
	errDoubled  = errors.New("branch is in use")
	errShutdown = fmt.Errorf("%w: %w", ErrTransport, ErrClosed)
)

// repeater answers retransmissions, which come from a flow.
type repeater interface{ repeated(from *Flow) }

// repeater gives what answers retransmissions of a request, nil for a new one.
func (t *table) repeater(k key) repeater {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.servers.all[k]; old != nil {
		return old
	}
	if old := t.ghosts.all[k]; old != nil {
		return old
	}
	return nil
}

// addServer takes a new transaction in, unless a limit is reached, or there is
// one of its key, which is returned.
func (t *table) addServer(tx *ServerTransaction, l *Limits) (old repeater, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.servers.all[tx.key]; old != nil {
		return old, nil
	}
	if old := t.ghosts.all[tx.key]; old != nil {
		return old, nil
	}
	f := tx.flow
	n := f.active
	if f.transport == UDP {
		n = t.sources[subscriber(tx.key.source)]
	}
	if t.active >= l.Transactions || n >= l.TransactionsPerSource {
		return nil, ErrLimit
	}
	t.servers.put(tx.key, tx)
	t.active++
	if f.transport == UDP {
		t.sources[subscriber(tx.key.source)]++
	} else {
		f.active++
	}
	t.own(f, tx)
	return nil, nil
}

// answered stops counting a transaction against its source.
func (t *table) answered(tx *ServerTransaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active--
	if tx.flow.transport != UDP {
		tx.flow.active--
		return
	}
	source := subscriber(tx.key.source)
	if t.sources[source]--; t.sources[source] == 0 {
		delete(t.sources, source)
	}
}

func (t *table) removeServer(tx *ServerTransaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.servers.all[tx.key] == tx {
		t.servers.remove(tx.key)
	}
	delete(tx.flow.owned, tx)
}

func (t *table) addClient(c *ClientTransaction) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients.all[c.key] != nil {
		return errDoubled // only a second CANCEL could be
	}
	t.clients.put(c.key, c)
	t.own(c.flow, c)
	return nil
}

func (t *table) removeClient(c *ClientTransaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients.all[c.key] == c {
		t.clients.remove(c.key)
	}
	delete(c.flow.owned, c)
}

// moveClient gives a transaction another flow; c.mu is held.
func (t *table) moveClient(c *ClientTransaction, f *Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients.all[c.key] == c {
		t.clients.remove(c.key)
	}
	delete(c.flow.owned, c)
	c.flow, c.key.flow = f, clientKey(f, "", "").flow
	t.clients.put(c.key, c)
	t.own(f, c)
}

// own notes a transaction for flowClosed; t.mu is held.
func (t *table) own(f *Flow, tx owned) {
	if f.conn == nil {
		return
	}
	if f.owned == nil {
		f.owned = map[owned]struct{}{}
	}
	f.owned[tx] = struct{}{}
}

// flowClosed tells the transactions of a connection. Most end by that.
func (t *table) flowClosed(f *Flow) {
	t.mu.Lock()
	all := f.owned
	f.owned = nil
	t.mu.Unlock()
	for tx := range all {
		tx.lost(f)
	}
}

// clear ends everything.
func (t *table) clear() {
	t.mu.Lock()
	all := make([]transaction, 0, len(t.servers.all)+len(t.clients.all))
	for _, tx := range t.servers.all {
		all = append(all, tx)
	}
	for _, c := range t.clients.all {
		all = append(all, c)
	}
	t.ghosts.clear()
	t.mu.Unlock()
	for _, tx := range all {
		tx.abandon(errShutdown)
	}
}

// linger ends transactions a fixed time after they were handed to it. Since the
// time is the same for all, they end in the order they came, and one timer
// serves thousands of them.
type linger struct {
	stack *Stack
	time  time.Duration
	most  int // if more are waiting, the oldest ends early; 0: no bound

	mu     sync.Mutex
	queue  []lingering // from head on
	head   int
	timer  *time.Timer
	closed bool
}

type lingering struct {
	tx  transaction
	end time.Time
}

func (l *linger) add(tx transaction) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.queue = append(l.queue, lingering{tx, time.Now().Add(l.time)})
	if l.timer == nil {
		l.timer = l.stack.after(l.time, l.expire)
	} else if len(l.queue)-l.head == 1 {
		l.timer.Reset(l.time)
	}
	if l.full() {
		l.timer.Reset(0) // the caller may hold a lock, under which no other transaction can end
	}
	l.mu.Unlock()
}

// full tells whether more are waiting than may; l.mu is held.
func (l *linger) full() bool { return l.most > 0 && len(l.queue)-l.head > l.most }

// pop takes the oldest; l.mu is held.
func (l *linger) pop() transaction {
	tx := l.queue[l.head].tx
	l.queue[l.head].tx = nil
	if l.head++; l.head > 64 && l.head > len(l.queue)/2 {
		l.queue = append(l.queue[:0], l.queue[l.head:]...)
		clear(l.queue[len(l.queue):cap(l.queue)])
		l.head = 0
	}
	return tx
}

// expire ends those whose time is over.
func (l *linger) expire() {
	now := time.Now()
	for {
		l.mu.Lock()
		if l.closed || l.head == len(l.queue) {
			l.mu.Unlock()
			return
		}
		if left := l.queue[l.head].end.Sub(now); left > 0 && !l.full() {
			l.timer.Reset(max(left, l.time/100)) // not once for each of thousands a second
			l.mu.Unlock()
			return
		}
		tx := l.pop()
		l.mu.Unlock()
		tx.abandon(nil)
	}
}

func (l *linger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.queue, l.head = nil, 0
}

// Transactions tells how many transactions the stack holds, those included that
// wait for repetitions only. It is for metrics and tests.
func (s *Stack) Transactions() (server, client int) {
	t := &s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.servers.all) + len(t.ghosts.all), len(t.clients.all)
}
