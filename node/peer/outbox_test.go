package peer

import (
	"errors"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestOutboxFlow sends one item at a time in one direction only: the cap on
// frames must never hold what the other side's bare acknowledgements free, and
// must never be passed.
func TestOutboxFlow(t *testing.T) {
	for _, framesMax := range []int{ackEarly, DefaultConfig().FramesMax} {
		var pool bytePool
		var here, there outbox
		here.init(&pool, framesMax, 1<<20)
		there.init(&pool, framesMax, 1<<20)
		got := make(chan []byte, framesMax)
		var wg sync.WaitGroup
		wg.Go(func() {
			here.run(func(m *frame) error {
				got <- *m.out
				return nil
			})
		})
		wg.Go(func() {
			there.run(func(m *frame) error {
				here.received(*m.out)
				return nil
			})
		})
		for i := range 10 * framesMax {
			if !here.put(kindPing, uint64(i), nil, nil) {
				t.Fatalf("frames_max %d: item %d was refused", framesMax, i)
			}
			b := <-got
			here.mu.Lock()
			sent := here.sent
			here.mu.Unlock()
			if sent > framesMax {
				t.Fatalf("frames_max %d: %d frames are on their way", framesMax, sent)
			}
			if it, rest, err := nextItem(b[1:]); err != nil || it.id != uint64(i) || len(rest) > 0 {
				t.Fatalf("frames_max %d: frame %d = %x, %v", framesMax, i, b, err)
			}
			there.received(b)
		}
		here.close()
		there.close()
		wg.Wait()
		if here.put(kindPing, 0, nil, nil) {
			t.Errorf("frames_max %d: a closed outbox takes items", framesMax)
		}
	}
}

// TestOutboxCap leaves frames unacknowledged: what comes then waits for an
// acknowledgement and leaves in one frame.
func TestOutboxCap(t *testing.T) {
	var pool bytePool
	var o outbox
	o.init(&pool, ackEarly, 1<<20)
	for i := range ackEarly {
		o.put(kindPing, uint64(i), nil, nil)
		if o.take() == nil {
			t.Fatalf("frame %d of %d was held back", i+1, ackEarly)
		}
	}
	for range 3 {
		o.put(kindPing, 9, nil, nil)
	}
	if o.take() != nil {
		t.Fatal("a frame over the cap was let out")
	}
	o.received([]byte{1})
	f := o.take()
	if f == nil {
		t.Fatal("an acknowledgement let nothing out")
	}
	n := 0
	for b := (*f)[1:]; len(b) > 0; n++ {
		var err error
		if _, b, err = nextItem(b); err != nil {
			t.Fatal(err)
		}
	}
	if n != 3 || o.take() != nil {
		t.Errorf("the frame has %d items, want the 3 that waited and nothing behind", n)
	}
}

// TestAnswersThatDoNotFit gives a stream that stands still more answers than may
// wait: as soon as it moves, each call is answered once, and those whose answer
// had no room are told when to come back.
func TestAnswersThatDoNotFit(t *testing.T) {
	const large, small, bytesMax, body = 100, 100, 1 << 20, 64 << 10
	var pool bytePool
	cfg := DefaultConfig()
	there := &serverStream{}
	there.init(&pool, cfg.FramesMax, bytesMax)
	here := newSession(&pool, cfg, "s", nil)
	var answers []chan answer
	finish := func(kind byte, body []byte) {
		ch := make(chan answer, 1)
		id, err := here.call(kindRead, nil, nil, slot{data: ch})
		if err != nil {
			t.Fatal(err)
		}
		there.open.Add(1)
		there.finish(kind, id, body)
		answers = append(answers, ch)
	}
	for range large {
		finish(kindData, make([]byte, body))
	}
	for range small {
		finish(kindFail, appendFail(nil, chat.E("read", chat.NotFound, "no such thing", nil)))
	}
	if there.bytes > bytesMax+bytesMax/2 || there.open.Load() != 0 {
		t.Errorf("%d bytes wait and %d calls are open, want at most %d and none", there.bytes, there.open.Load(), bytesMax+bytesMax/2)
	}
	for f := there.take(); f != nil; f = there.take() {
		if err := here.receive(*f); err != nil {
			t.Fatal(err)
		}
		there.received([]byte{1})
	}
	got := make(map[chat.Code]int)
	for i, ch := range answers {
		select {
		case a := <-ch:
			got[chat.CodeOf(a.err)]++
			if e, ok := errors.AsType[*chat.Error](a.err); ok && e.Code == chat.Busy && e.RetryAfter != busyRetry {
				t.Errorf("call %d: busy with retry after %v, want %v", i, e.RetryAfter, busyRetry)
			}
		default:
			t.Fatalf("call %d of %d is not answered", i+1, len(answers))
		}
	}
	if got[chat.OK] < bytesMax/body/2 || got[chat.Busy] != large-got[chat.OK] || got[chat.NotFound] != small {
		t.Errorf("answers: %v, want %d of data or busy and %d of not_found", got, large, small)
	}
}
