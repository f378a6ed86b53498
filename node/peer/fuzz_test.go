package peer

import (
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/shard"
)

func seeds(f *testing.F) {
	f.Helper()
	one := func(kind byte, id uint64, head, tail []byte) []byte {
		return appendItem([]byte{0}, kind, id, head, tail)
	}
	f.Add(one(kindPropose, 1, []byte{1}, []byte("command")))
	f.Add(one(kindRead, 2, []byte{1, 100}, []byte("request")))
	f.Add(one(kindPing, 0, nil, nil))
	f.Add(one(kindResult, 0, nil, fsm.Result{Ack: chat.Ack{Seq: 1}}.Append(nil)))
	f.Add(one(kindFail, 0, nil, appendFail(nil, chat.E("x", chat.Busy, "later", nil))))
	f.Add(one(kindData, 0, nil, []byte("data")))
	f.Add(one(kindPong, 0, nil, (&pong{epoch: 5, led: []shard.GroupID{1, 2}}).encode()))
	f.Add(one(kindAttach, 0, nil, []byte("room")))
	f.Add(one(kindEntry, 0, nil, conv.AppendEntry(nil, &chat.Entry{Conv: "room", Seq: 1, Type: chat.Message})))
	f.Add(one(kindLost, 0, nil, []byte("room")))
	f.Add([]byte{})
}

// FuzzServerFrame gives a server whatever another node may send on a stream of
// calls.
func FuzzServerFrame(f *testing.F) {
	seeds(f)
	s, err := NewServer(DefaultConfig(), ServerDeps{Identity: identity("s", "test"), Backend: &backend{}, Control: &backend{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &serverStream{s: s, ctx: t.Context(), reads: make(chan struct{}, 4)}
		c.init(&s.pool, 4, DefaultConfig().BytesMax)
		_ = c.receive(b)
	})
}

// FuzzClientFrame gives a client whatever a server may answer.
func FuzzClientFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSession(&bytePool{}, DefaultConfig(), "s", func(uint64, []shard.GroupID) {})
		c := &caller{ch: make(chan outcome, 2)}
		if _, err := s.call(kindPropose, []byte{1}, []byte("x"), slot{caller: c}); err != nil {
			t.Fatal(err)
		}
		_ = s.receive(b)
		s.failAll(true)
		if len(c.ch) != 1 {
			t.Errorf("answered %d times", len(c.ch))
		}
	})
}

// FuzzFeedFrame does so for both ends of a feed.
func FuzzFeedFrame(f *testing.F) {
	seeds(f)
	s, err := NewServer(DefaultConfig(), ServerDeps{Identity: identity("s", "test"), Feed: noFeed{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		st := &feedStream{attached: map[chat.ConvID]uint64{}, gaps: map[chat.ConvID]struct{}{}}
		st.init(&s.pool, 4, DefaultConfig().FeedBytesMax)
		_ = s.attach(st, b)
		l := newFeedLink(&Pool{cfg: DefaultConfig()}, "s", nil, newWireHolder(nil))
		out := &outbox{}
		out.init(&s.pool, 4, DefaultConfig().FeedBytesMax)
		_ = l.receive(out, b)
	})
}

// FuzzControl gives the unary call whatever may come.
func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"op":"status","cluster":"test"}`))
	f.Add([]byte(`{"op":"join","token":"x","node":""}`))
	s, err := NewServer(DefaultConfig(), ServerDeps{Identity: identity("s", "test"), Backend: &backend{}, Control: &backend{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := s.control(t.Context(), b); err != nil {
			t.Error(err)
		}
	})
}
