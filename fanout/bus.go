package fanout

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Limits of a bus.
const (
	RingEntriesMax = 16 << 10
	RingBytesMax   = 16 << 20
	busShards      = 64 // a power of two
)

// Bus gives what this node's led groups append to the receivers attached here.
// It is the [Feed] of this node.
type Bus struct {
	leads  func(chat.ConvID) bool
	seed   maphash.Seed
	parts  [busShards]busPart
	topics atomic.Int64 // conversations with receivers, in all parts

	mu      sync.Mutex // guards what follows; taken alone
	ring    []*chat.Entry
	bytes   int
	gapped  map[chat.ConvID]struct{}
	wake    chan struct{} // holds one token while there is work
	closed  bool
	done    chan struct{}
	dropped uint64
}

type busPart struct {
	mu    sync.RWMutex // guards topics and the slices in it, which are replaced, never changed
	convs map[chat.ConvID][]Receiver
}

// NewBus starts a bus. leads tells whether this node leads a conversation's
// group now; an attachment elsewhere is lost at once.
func NewBus(leads func(chat.ConvID) bool) *Bus {
	b := &Bus{
		leads: leads, seed: maphash.MakeSeed(), gapped: make(map[chat.ConvID]struct{}),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	for i := range b.parts {
		b.parts[i].convs = make(map[chat.ConvID][]Receiver)
	}
	go b.run()
	return b
}

// Close stops the bus and waits for its goroutine.
func (b *Bus) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.signal()
	<-b.done
}

// Dropped counts the entries that did not fit the ring.
func (b *Bus) Dropped() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

func (b *Bus) part(conv chat.ConvID) *busPart {
	return &b.parts[maphash.String(b.seed, string(conv))&(busShards-1)]
}

func (b *Bus) receivers(conv chat.ConvID) []Receiver {
	p := b.part(conv)
	p.mu.RLock()
	r := p.convs[conv]
	p.mu.RUnlock()
	return r
}

var (
	_ fsm.Listener = (*Bus)(nil)
	_ Feed         = (*Bus)(nil)
)

// Listens implements [fsm.Listener].
func (b *Bus) Listens(conv chat.ConvID) bool {
	return b.topics.Load() > 0 && len(b.receivers(conv)) > 0
}

// Appended implements [fsm.Sink]. It never blocks; what nobody is attached to
// costs a look-up.
func (b *Bus) Appended(e *chat.Entry, _ fsm.MemberView) {
	if len(b.receivers(e.Conv)) == 0 {
		return
	}
	b.mu.Lock()
	size := entrySize(e)
	first := len(b.ring) == 0 && len(b.gapped) == 0
	if len(b.ring) >= RingEntriesMax || b.bytes+size > RingBytesMax && len(b.ring) > 0 {
		b.gapped[e.Conv] = struct{}{}
		b.dropped++
	} else {
		b.ring = append(b.ring, e)
		b.bytes += size
	}
	b.mu.Unlock()
	if first {
		b.signal()
	}
}

func entrySize(e *chat.Entry) int {
	n := 256 + len(e.Body.Text)
	return n + 32*len(e.Body.Changes)
}

func (b *Bus) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run gives what is in the ring to the receivers, a ringful at a time.
func (b *Bus) run() {
	defer close(b.done)
	var spare []*chat.Entry
	for range b.wake {
		for {
			b.mu.Lock()
			if b.closed {
				b.mu.Unlock()
				return
			}
			batch, gapped := b.ring, b.gapped
			b.ring, b.bytes = spare[:0], 0
			if len(gapped) > 0 {
				b.gapped = make(map[chat.ConvID]struct{})
			}
			b.mu.Unlock()
			if len(batch) == 0 && len(gapped) == 0 {
				spare = batch
				break
			}
			for i, e := range batch {
				for _, r := range b.receivers(e.Conv) {
					r.Deliver(e)
				}
				batch[i] = nil
			}
			for conv := range gapped {
				for _, r := range b.receivers(conv) {
					r.Gap(conv)
				}
			}
			spare = batch[:0]
		}
	}
}

// Attach implements [Feed]. attached, when not nil, is called before Attach
// returns.
func (b *Bus) Attach(conv chat.ConvID, r Receiver, attached func()) {
	p := b.part(conv)
	p.mu.Lock()
	old := p.convs[conv]
	known := false
	for _, o := range old {
		known = known || o == r
	}
	if !known {
		p.convs[conv] = append(slices.Clip(old), r)
		if len(old) == 0 {
			b.topics.Add(1)
		}
	}
	p.mu.Unlock()
	if !b.leads(conv) {
		b.Detach(conv, r)
		r.Lost(conv)
		return
	}
	if attached != nil {
		attached()
	}
}

// Detach implements [Feed].
func (b *Bus) Detach(conv chat.ConvID, r Receiver) {
	p := b.part(conv)
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.convs[conv]
	rest := make([]Receiver, 0, len(old))
	for _, o := range old {
		if o != r {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		if len(old) > 0 {
			b.topics.Add(-1)
		}
		delete(p.convs, conv)
		return
	}
	p.convs[conv] = rest
}

// Resign ends the attachments of the conversations that this node does not lead
// any more. It is called after leadership was lost.
func (b *Bus) Resign() {
	for i := range b.parts {
		p := &b.parts[i]
		lost := make(map[chat.ConvID][]Receiver)
		p.mu.Lock()
		for conv, rs := range p.convs {
			if !b.leads(conv) {
				lost[conv] = rs
				b.topics.Add(-1)
				delete(p.convs, conv)
			}
		}
		p.mu.Unlock()
		for conv, rs := range lost {
			for _, r := range rs {
				r.Lost(conv)
			}
		}
	}
}
