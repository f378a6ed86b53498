package peer

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
)

// source is a feed whose entries the test makes up.
type source struct {
	mu   sync.Mutex // guards subs
	subs map[chat.ConvID][]fanout.Receiver
	lose bool // every attachment is lost at once
}

func newSource() *source { return &source{subs: map[chat.ConvID][]fanout.Receiver{}} }

func (s *source) Attach(c chat.ConvID, r fanout.Receiver, attached func()) {
	s.mu.Lock()
	lose := s.lose
	if !lose {
		s.subs[c] = append(s.subs[c], r)
	}
	s.mu.Unlock()
	if lose {
		r.Lost(c)
		return
	}
	attached()
}

func (s *source) Detach(c chat.ConvID, r fanout.Receiver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subs[c] = slices.DeleteFunc(s.subs[c], func(o fanout.Receiver) bool { return o == r }); len(s.subs[c]) == 0 {
		delete(s.subs, c)
	}
}

func (s *source) receivers(c chat.ConvID) []fanout.Receiver {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.subs[c])
}

func (s *source) deliver(e *chat.Entry) {
	for _, r := range s.receivers(e.Conv) {
		r.Deliver(e)
	}
}

// sink writes down what it receives.
type sink struct {
	mu      sync.Mutex // guards all
	entries []chat.Entry
	gaps    int
	lost    []chat.ConvID
	began   int
	block   chan struct{} // when set, Deliver waits for it, as no receiver may
}

func (s *sink) Deliver(e *chat.Entry) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	s.entries = append(s.entries, *e)
	s.mu.Unlock()
}
func (s *sink) Gap(chat.ConvID) { s.mu.Lock(); s.gaps++; s.mu.Unlock() }
func (s *sink) Lost(c chat.ConvID) {
	s.mu.Lock()
	s.lost = append(s.lost, c)
	s.mu.Unlock()
}
func (s *sink) attached() { s.mu.Lock(); s.began++; s.mu.Unlock() }

func (s *sink) is(fn func() bool) func() bool {
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return fn()
	}
}

func entry(c chat.ConvID, seq int, text string) *chat.Entry {
	return &chat.Entry{
		Conv: c, Seq: chat.Seq(seq), MsgNo: chat.MsgNo(seq), TimeMS: 1_700_000_000_000, Sender: "u", Device: "d",
		ClientID: chat.ClientID{1, 15: byte(seq)}, Type: chat.Message, Salt: chat.Salt{2}, Body: chat.Body{Text: text},
	}
}

func TestFeed(t *testing.T) {
	src := newSource()
	addr, srv := serve(t, &backend{}, src, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	f, s := p.Feed("s"), &sink{}
	f.Attach("room", s, s.attached) // maybe before there is a stream
	eventually(t, "attached", s.is(func() bool { return s.began == 1 }))
	want := make([]chat.Entry, 0, 1000)
	for i := range 1000 {
		e := entry("room", i+1, fmt.Sprintf("text %d", i))
		want = append(want, *e)
		src.deliver(e)
	}
	eventually(t, "delivered", s.is(func() bool { return len(s.entries) == len(want) }))
	if diff := cmp.Diff(want, s.entries); diff != "" {
		t.Error(diff)
	}
	src.receivers("room")[0].Gap("room")
	eventually(t, "gap", s.is(func() bool { return s.gaps == 1 }))

	other := &sink{}
	f.Attach("room", other, other.attached) // the same conversation, another receiver
	eventually(t, "attached too", other.is(func() bool { return other.began == 1 }))
	f.Detach("room", other)
	src.receivers("room")[0].Lost("room") // the node leads it no more
	eventually(t, "lost", s.is(func() bool { return slices.Equal(s.lost, []chat.ConvID{"room"}) }))

	f.Attach("hall", s, s.attached)
	eventually(t, "attached to the next", s.is(func() bool { return s.began == 2 }))
	f.Detach("hall", s)
	eventually(t, "detached", func() bool { return len(src.receivers("hall")) == 0 })

	f.Attach("hall", s, s.attached)
	eventually(t, "attached again", s.is(func() bool { return s.began == 3 }))
	srv.Close()
	eventually(t, "lost with the stream", s.is(func() bool { return slices.Equal(s.lost, []chat.ConvID{"room", "hall"}) }))
	eventually(t, "forgotten by the source", func() bool { return len(src.receivers("hall")) == 0 })
	f.Attach("hall", s, nil)
	eventually(t, "lost without a stream", s.is(func() bool { return len(s.lost) == 3 }))
	if p.Feed("nobody").Attach("room", s, nil); len(s.lost) != 4 {
		t.Error("the feed of an unknown node took an attachment")
	}
}

// TestSlowFeed has a front-end that stands still: the leader's side holds a
// bounded number of bytes, leaves entries out and tells of the gap afterwards.
func TestSlowFeed(t *testing.T) {
	src := newSource()
	addr, _ := serve(t, &backend{}, src, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	s := &sink{block: make(chan struct{})}
	p.Feed("s").Attach("room", s, s.attached)
	eventually(t, "attached", s.is(func() bool { return s.began == 1 }))
	big := string(make([]byte, 100<<10))
	const n = 300 // three times as much as may wait
	for i := range n {
		src.deliver(entry("room", i+1, big))
	}
	close(s.block)
	eventually(t, "gap told", s.is(func() bool { return s.gaps > 0 }))
	src.deliver(entry("room", n+1, "after"))
	eventually(t, "after the gap", s.is(func() bool { return len(s.entries) > 0 && s.entries[len(s.entries)-1].Seq == n+1 }))
	if len(s.entries) >= n {
		t.Errorf("%d entries of %d came: nothing was bounded", len(s.entries), n+1)
	}
	for i := 1; i < len(s.entries); i++ {
		if s.entries[i].Seq <= s.entries[i-1].Seq {
			t.Fatalf("entry %d after %d", s.entries[i].Seq, s.entries[i-1].Seq)
		}
	}
}

func TestFeedIsBounded(t *testing.T) {
	src := newSource()
	addr, _ := serve(t, &backend{}, src, nil)
	cfg := calm()
	cfg.AttachMax = 2
	p := connect(t, cfg, addr, PoolDeps{})
	s := &sink{}
	for _, c := range []chat.ConvID{"a", "b", "c"} {
		p.Feed("s").Attach(c, s, nil)
	}
	if !s.is(func() bool { return slices.Contains(s.lost, "c") })() {
		t.Error("the third attachment of two was taken")
	}
}

// gate is a source that can be held up as it lets go of a conversation.
type gate struct {
	*source
	letGo chan struct{} // detaching waits for it
}

func (g *gate) Detach(c chat.ConvID, r fanout.Receiver) {
	<-g.letGo
	g.source.Detach(c, r)
}

// Somebody closes a conversation and opens it again while the answer to the first
// attachment is still on its way. It says nothing of the second one, before which
// entries may be appended that nobody delivers.
func TestAttachedIsOfThatAttachment(t *testing.T) {
	src := &gate{source: newSource(), letGo: make(chan struct{})}
	addr, _ := serve(t, &backend{}, src, nil)
	p := connect(t, calm(), addr, PoolDeps{})
	f, s, other := p.Feed("s"), &sink{}, &sink{}
	f.Attach("hall", other, other.attached)
	eventually(t, "attached", other.is(func() bool { return other.began == 1 }))
	second := &sink{}
	f.Attach("room", s, s.attached)
	f.Detach("room", s)
	f.Attach("room", s, second.attached)
	eventually(t, "the first attachment", func() bool { return len(src.receivers("room")) == 1 })
	src.deliver(entry("hall", 1, "behind the first answer"))
	eventually(t, "delivered", other.is(func() bool { return len(other.entries) == 1 }))
	if second.is(func() bool { return second.began > 0 })() {
		t.Error("the second attachment is said to have begun while the first one is being ended")
	}
	close(src.letGo)
	eventually(t, "the second attachment", second.is(func() bool { return second.began == 1 }))
}
