package proxy

import (
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"webrtc2sip/internal/sipstack"
)

// pending is an INVITE in progress: the way from its CANCEL, or from Timer C,
// to the client transaction.
type pending struct {
	tx *sipstack.ServerTransaction

	mu        sync.Mutex
	client    *sipstack.ClientTransaction
	attempt   int // that client is, from 1
	cancelled bool
	reason    []sip.Header
	timerC    *time.Timer
	ended     []func() // to call when there is a final answer
}

// cancel cancels the forwarded INVITE, now or as soon as it is sent.
func (i *pending) cancel(reason ...sip.Header) {
	i.mu.Lock()
	i.cancelled, i.reason = true, reason
	client := i.client
	i.mu.Unlock()
	if client != nil {
		_ = client.Cancel(reason...)
	}
}

// isCancelled tells whether the INVITE has been given up.
func (i *pending) isCancelled() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cancelled
}

// sent notes the client transaction of an attempt; a CANCEL that came before it
// goes now. The next attempt may have been noted already, if this one has ended
// before its Send has returned.
func (i *pending) sent(attempt int, client *sipstack.ClientTransaction) {
	i.mu.Lock()
	if attempt < i.attempt {
		i.mu.Unlock()
		return
	}
	i.attempt, i.client = attempt, client
	cancelled, reason := i.cancelled, i.reason
	i.mu.Unlock()
	if cancelled {
		_ = client.Cancel(reason...)
	}
}

// wait restarts Timer C (RFC 3261 §16.7 step 2).
func (i *pending) wait(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timerC == nil {
		i.timerC = time.AfterFunc(d, func() { i.cancel() })
		return
	}
	i.timerC.Reset(d)
}

// onDone sets what is called when there is a final answer.
func (i *pending) onDone(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = append(i.ended, f)
}

func (i *pending) done() {
	i.mu.Lock()
	if i.timerC != nil {
		i.timerC.Stop()
	}
	ended := i.ended
	i.ended = nil
	i.mu.Unlock()
	for _, f := range ended {
		f()
	}
}
