package ws_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
	"github.com/chatnode/chatnode/ws"
)

// instant is a log that accepts everything, in batches as a group does, and
// keeps nothing: what remains is the cost of the front.
type instant struct {
	*sessiontest.Cluster
	mu    sync.Mutex
	queue []func(fsm.Result, error)
	wake  chan struct{}
	seq   uint64
}

func (b *instant) Propose(_ chat.ConvID, _ []byte, _ time.Time, done func(fsm.Result, error)) {
	b.mu.Lock()
	b.queue = append(b.queue, done)
	first := len(b.queue) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

func (b *instant) run(tick time.Duration) {
	var batch []func(fsm.Result, error)
	timer := time.NewTimer(tick)
	for range b.wake {
		timer.Reset(tick) // as long as a round of consensus takes
		<-timer.C
		b.mu.Lock()
		batch, b.queue = b.queue, batch[:0]
		b.mu.Unlock()
		for _, done := range batch {
			b.seq++
			done(fsm.Result{Ack: chat.Ack{Seq: chat.Seq(b.seq), MsgNo: chat.MsgNo(b.seq), TimeMS: 1_760_000_000_000}}, nil)
		}
	}
}

// BenchmarkSendAck measures one message through the socket, the session and
// back, with many outstanding on few connections. The client's own work is in
// the figures: it writes frames made before and counts acks without decoding.
func BenchmarkSendAck(b *testing.B) {
	for _, shape := range []struct{ conns, each int }{{1, 1}, {32, 1}, {32, 32}, {64, 16}} {
		b.Run(fmt.Sprintf("conns=%d/outstanding=%d", shape.conns, shape.conns*shape.each), func(b *testing.B) {
			benchmarkSendAck(b, shape.conns, shape.each)
		})
	}
}

func benchmarkSendAck(b *testing.B, conns, each int) {
	b.Helper()
	cluster := sessiontest.New(b)
	backend := &instant{Cluster: cluster, wake: make(chan struct{}, 1)}
	go backend.run(500 * time.Microsecond)
	defer close(backend.wake)
	deps, sc := cluster.Deps(), session.DefaultConfig()
	deps.Backend = backend
	s, err := ws.New(context.WithoutCancel(b.Context()), ws.DefaultConfig(), ws.Deps{Session: deps, SessionConfig: &sc, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	h := httptest.NewServer(s)
	defer h.Close()
	url := "ws" + strings.TrimPrefix(h.URL, "http")
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	text := strings.Repeat("x", 256)
	var ready sync.WaitGroup
	ready.Add(conns)
	begin := make(chan struct{})
	for i := range conns {
		wg.Go(func() {
			conn, resp, err := websocket.DefaultDialer.Dial(url, nil)
			if err != nil {
				b.Error(err)
				ready.Done()
				return
			}
			_ = resp.Body.Close()
			defer conn.Close()
			hello := fmt.Sprintf(`{"type":"hello","token":"ann","device":"d%d"}`, i)
			if err := conn.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
				b.Error(err)
			}
			_, _, err = conn.ReadMessage()
			if err != nil {
				b.Error(err)
			}
			ready.Done()
			<-begin
			load(b, conn, i, each, text, &left)
		})
	}
	ready.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime()
	close(begin)
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-cpu)/float64(b.N), "cpu-ns/op")
}

func cpuTime() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// load keeps each messages outstanding on a connection.
func load(b *testing.B, conn *websocket.Conn, i, each int, text string, left *atomic.Int64) {
	b.Helper()
	one := wire.AppendRequest(nil, &wire.Request{
		Type: wire.Send, Ref: 1, Conv: chat.ConvID(fmt.Sprint("conv", i)), ID: sessiontest.ID(uint64(i)), Text: text,
	})
	outstanding, free := 0, each
	var frame []byte
	buf := make([]byte, 64<<10)
	for {
		n := 0
		frame = append(frame[:0], '[')
		for free > 0 && left.Add(-1) >= 0 {
			if n > 0 {
				frame = append(frame, ',')
			}
			frame = append(frame, one...)
			n++
			free--
		}
		if n > 0 {
			outstanding += n
			frame = append(frame, ']')
			if err := conn.WriteMessage(websocket.TextMessage, frame); err != nil {
				b.Error(err)
				return
			}
		}
		if outstanding == 0 {
			return
		}
		_, r, err := conn.NextReader()
		if err != nil {
			b.Error(err)
			return
		}
		for {
			k, err := r.Read(buf)
			for _, c := range buf[:k] {
				if c == '}' {
					outstanding--
					free++
				}
			}
			if err != nil {
				break
			}
		}
	}
}

// BenchmarkPush measures one entry to many subscribers, per entry.
func BenchmarkPush(b *testing.B) {
	for _, subscribers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", subscribers), func(b *testing.B) {
			n := start(b, nil)
			n.Room(b, "r", "bob")
			var got atomic.Int64
			conns := make([]*websocket.Conn, 0, subscribers)
			var wg sync.WaitGroup
			for i := range subscribers {
				c := n.login("bob", fmt.Sprint("d", i))
				c.write(`{"type":"subscribe","ref":1,"conv":"r"}`)
				c.answer(1)
				if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				conns = append(conns, c.conn)
				wg.Go(func() {
					for {
						_, frame, err := c.conn.ReadMessage()
						if err != nil {
							return
						}
						got.Add(int64(strings.Count(string(frame), `"msg_no"`)))
					}
				})
			}
			text := strings.Repeat("x", 256)
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				n.Say(b, "r", uint64(i), text)
				for got.Load() < int64((i+1-64)*subscribers) { // stay near
					runtime.Gosched()
				}
			}
			for got.Load() < int64(b.N*subscribers) {
				runtime.Gosched()
			}
			b.StopTimer()
			for _, c := range conns {
				_ = c.Close()
			}
			wg.Wait()
		})
	}
}
