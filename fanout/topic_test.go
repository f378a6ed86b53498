package fanout

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestReadersKeepWhatIsDropped reads a tail while it moves on. What a reader has
// taken must stay as it was, also after the tail has let go of it.
func TestReadersKeepWhatIsDropped(t *testing.T) {
	const entries = 40 * TailEntriesMax
	top := &topic{known: true}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			w := &Watch{t: top}
			for last := chat.Seq(0); last < entries; {
				out, next, _, ok := w.Append(nil, last, 0, "", 1<<20)
				if !ok { // it was too slow: the log has the rest
					next = w.Head()
				}
				for i, got := range bytes.SplitAfter(out, []byte(`"},`)) {
					want := fmt.Sprintf(`"seq":%d,`, last+chat.Seq(i)+1)
					if len(out) > 0 && !bytes.Contains(got, []byte(want)) {
						t.Errorf("behind %d: entry %d is %q", last, i+1, got)
						return
					}
				}
				last = next
			}
		})
	}
	for seq := chat.Seq(1); seq <= entries; seq++ {
		top.offer(&chat.Entry{Seq: seq, Type: chat.Message, Conv: "c", Body: chat.Body{Text: "x"}})
	}
	wg.Wait()
}

// TestDroppedEntriesAreLetGo: large entries behind which many small ones come must
// not stay in memory.
func TestDroppedEntriesAreLetGo(t *testing.T) {
	top := &topic{known: true}
	large := string(bytes.Repeat([]byte("x"), TailBytesMax/4))
	for seq := chat.Seq(1); seq <= 4000; seq++ {
		e := chat.Entry{Seq: seq, Type: chat.Message, Conv: "c", Body: chat.Body{Text: "x"}}
		if seq%1000 > 900 {
			e.Body.Text = large
		}
		top.offer(&e)
		held := 0
		for _, t := range top.tail {
			held += len(t.json)
		}
		if held != top.bytes || held > TailBytesMax || top.dropped > TailBytesMax {
			t.Fatalf("seq %d: %d bytes held, %d counted, %d dropped and still there; at most %d", seq, held, top.bytes, top.dropped, TailBytesMax)
		}
	}
}
