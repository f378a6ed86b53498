package fanout

import (
	"context"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
)

// Config bounds a hub. Start from [DefaultConfig].
type Config struct {
	ReadsMax  int           // repairs that read at once, for the first time, and as many that do so again
	TryWait   time.Duration // for a read of the first sort
	ReadWait  time.Duration // for one of the other
	RetryWait time.Duration // before another try to attach or to read
	PageMax   int           // entries in one read of a repair
}

// DefaultConfig gives the configuration of a node.
func DefaultConfig() Config {
	return Config{ReadsMax: 16, TryWait: 100 * time.Millisecond, ReadWait: 5 * time.Second, RetryWait: 100 * time.Millisecond, PageMax: 200}
}

// Deps is what a hub stands on.
type Deps struct {
	Leaders Leaders
	Feeds   Feeds
	Log     Log
}

// Hub is the index of conversations that this node's clients have open.
type Hub struct {
	cfg  Config
	deps Deps

	mu     sync.Mutex // guards topics and closed; a topic's lock may be taken under it
	topics map[chat.ConvID]*topic
	closed bool

	first  lane          // repairs that read
	late   lane          // those whose read has taken too long before
	kick   chan struct{} // leaders changed
	orphan chan struct{} // a topic is not attached and cannot be yet
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stop   func()
}

// lane is where repairs wait for their turn to read. A read of a group that has lost
// its quorum takes all of its time, and there may be thousands: these move to a lane of
// their own, so that they hold up the others for a moment only.
type lane struct {
	tokens chan struct{} // one per read that runs
	wait   time.Duration // for one read
}

// NewHub starts a hub, which runs until ctx ends or Close.
func NewHub(ctx context.Context, cfg Config, deps Deps) *Hub {
	ctx, cancel := context.WithCancel(ctx)
	h := &Hub{
		cfg: cfg, deps: deps, topics: make(map[chat.ConvID]*topic),
		first: lane{make(chan struct{}, cfg.ReadsMax), cfg.TryWait},
		late:  lane{make(chan struct{}, cfg.ReadsMax), cfg.ReadWait},
		kick:  make(chan struct{}, 1), orphan: make(chan struct{}, 1),
		ctx: ctx, cancel: cancel,
	}
	h.stop = deps.Leaders.Watch(h.poke)
	h.wg.Add(1)
	go h.run()
	return h
}

// Close stops the hub and waits for what it has started. Watches stay usable
// and see nothing new.
func (h *Hub) Close() {
	h.stop()
	h.cancel()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wg.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for conv, t := range h.topics {
		t.mu.Lock()
		feed := t.feed
		t.feed, t.gone = nil, true
		t.mu.Unlock()
		if feed != nil {
			feed.Detach(conv, h)
		}
	}
}

// Open declares interest in a conversation. moved is called after its head has
// moved, from any goroutine; it must not block and not call the watch.
func (h *Hub) Open(conv chat.ConvID, moved func()) *Watch {
	h.mu.Lock()
	t := h.topics[conv]
	fresh := t == nil
	if fresh {
		t = &topic{hub: h, conv: conv, watchers: make(map[*Watch]struct{})}
		h.topics[conv] = t
	}
	w := &Watch{t: t, moved: moved}
	t.mu.Lock()
	t.watchers[w] = struct{}{}
	t.list()
	t.mu.Unlock()
	h.mu.Unlock()
	if fresh {
		h.place(t)
	}
	return w
}

// list rebuilds what offer calls. The lock is held.
func (t *topic) list() {
	moved := make([]func(), 0, len(t.watchers)+8)
	for w := range t.watchers {
		moved = append(moved, w.moved)
	}
	t.moved = moved
}

func (h *Hub) leave(w *Watch) {
	t := w.t
	h.mu.Lock()
	t.mu.Lock()
	if _, ok := t.watchers[w]; !ok {
		t.mu.Unlock()
		h.mu.Unlock()
		return
	}
	delete(t.watchers, w)
	t.list()
	last := len(t.watchers) == 0
	feed := t.feed
	if last {
		t.gone, t.feed = true, nil
		if h.topics[t.conv] == t {
			delete(h.topics, t.conv)
		}
	}
	t.mu.Unlock()
	h.mu.Unlock()
	if last && feed != nil {
		feed.Detach(t.conv, h)
		h.restore(t.conv)
	}
}

// restore attaches a conversation again that was opened anew while its former
// topic was being detached, which may have ended the newer attachment.
func (h *Hub) restore(conv chat.ConvID) {
	if t := h.topic(conv); t != nil {
		t.mu.Lock()
		t.feed = nil
		t.mu.Unlock()
		h.poke()
	}
}

// Len counts the open conversations.
func (h *Hub) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

func (h *Hub) topic(conv chat.ConvID) *topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.topics[conv]
}

func (h *Hub) poke() { token(h.kick) }

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// start runs fn on its own goroutine unless the hub stops.
func (h *Hub) start(fn func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(fn)
	return true
}

// run attaches topics anew when leaders change, and a little after one was lost.
func (h *Hub) run() {
	defer h.wg.Done()
	retry := time.NewTimer(time.Hour)
	retry.Stop()
	defer retry.Stop()
	waiting := false
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-h.orphan:
			if !waiting {
				waiting = true
				retry.Reset(h.cfg.RetryWait)
			}
			continue
		case <-h.kick:
		case <-retry.C:
			waiting = false
		}
		h.mu.Lock()
		all := make([]*topic, 0, len(h.topics))
		for _, t := range h.topics {
			all = append(all, t)
		}
		h.mu.Unlock()
		for _, t := range all {
			h.place(t)
		}
	}
}
