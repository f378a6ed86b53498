package netlab

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/internal/fault"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab makes hosts that answer every byte they get, on TCP port 7.
func lab(t *testing.T, means fault.Means, n int) *Lab {
	t.Helper()
	if missing := fault.Need(means); missing != "" {
		t.Skip("SKIPPED: needs ", missing)
	}
	l, err := New(fmt.Sprintf("t%d", os.Getpid()%100000), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, h := range l.Hosts() {
		var ln net.Listener
		if err := h.Do(func() (err error) { ln, err = net.Listen("tcp", h.Addr.String()+":7"); return err }); err != nil {
			t.Fatal(err)
		}
		serve(t, ln)
	}
	return l
}

// serve echoes until the test ends. It closes what it accepted itself, since a
// peer behind a cut never says that it has gone.
func serve(t *testing.T, ln net.Listener) {
	t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(c, c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

// dial connects within the wait, or says why not.
func dial(t *testing.T, from, to *Host, wait time.Duration) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", to.Addr.String()+":7")
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

const long, short = 30 * time.Second, 300 * time.Millisecond

// bounce sends a byte and waits for it.
func bounce(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	b := []byte{42}
	if err := c.SetDeadline(start.Add(long)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func TestCutAndHeal(t *testing.T) {
	l := lab(t, fault.Network, 3)
	a, b, c := l.Hosts()[0], l.Hosts()[1], l.Hosts()[2]
	for _, pair := range [][2]*Host{{a, b}, {b, c}, {c, a}} {
		conn, err := dial(t, pair[0], pair[1], long)
		if err != nil {
			t.Fatal(err)
		}
		bounce(t, conn)
	}
	if err := l.Isolate(a, l.Hosts()...); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, a, b, short); err == nil {
		t.Error("a reaches b through the cut")
	}
	if _, err := dial(t, c, a, short); err == nil {
		t.Error("c reaches a through the cut")
	}
	if _, err := dial(t, b, c, long); err != nil {
		t.Error("b does not reach c beside the cut: ", err)
	}
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, a, b, long); err != nil {
		t.Error("a does not reach b after the heal: ", err)
	}
}

func TestCutOneWayDropsOneDirection(t *testing.T) {
	l := lab(t, fault.Network, 2)
	a, b := l.Hosts()[0], l.Hosts()[1]
	got := make(chan string, 1)
	var pc net.PacketConn
	if err := b.Do(func() (err error) { pc, err = net.ListenPacket("udp", b.Addr.String()+":9"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	go func() {
		buf := make([]byte, 16)
		if n, _, err := pc.ReadFrom(buf); err == nil {
			got <- string(buf[:n])
		}
	}()
	if err := l.CutOneWay(a, b); err != nil { // a is deaf to b
		t.Fatal(err)
	}
	u, err := a.Dial(t.Context(), "udp", b.Addr.String()+":9")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Close() }()
	// The neighbour table is learned by ARP, which a cut of IP leaves alone.
	if _, err := u.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(long):
		t.Error("b does not hear a, which may still speak")
	}
	if _, err := dial(t, a, b, short); err == nil {
		t.Error("a heard an answer of b")
	}
}

func TestLossLosesSome(t *testing.T) {
	l := lab(t, fault.Network, 2)
	a, b := l.Hosts()[0], l.Hosts()[1]
	conn, err := dial(t, a, b, long)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Loss(100); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, a, b, short); err == nil {
		t.Error("a connection in spite of a loss of 100 %")
	}
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := b.Loss(10); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		bounce(t, conn)
	}
}

func TestDelayDelays(t *testing.T) {
	l := lab(t, fault.Delays, 2)
	a, b := l.Hosts()[0], l.Hosts()[1]
	conn, err := dial(t, a, b, long)
	if err != nil {
		t.Fatal(err)
	}
	const base = 60 * time.Millisecond
	if err := b.Delay(base, 10*time.Millisecond, 0.02, 1); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if d := bounce(t, conn); d < base {
			t.Errorf("a byte went there and back in %v, through a delay of %v", d, base)
		}
	}
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	bounce(t, conn)
}

func TestRateLimits(t *testing.T) {
	l := lab(t, fault.Means{Root: true, Programs: []string{"ip", "nft", "tc"}}, 2)
	a, b := l.Hosts()[0], l.Hosts()[1]
	conn, err := dial(t, a, b, long)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Rate(256); err != nil { // 32 kB a second, after a burst of 16 kB
		t.Fatal(err)
	}
	start := time.Now()
	go func() { _, _ = conn.Write(make([]byte, 48<<10)) }()
	if _, err := io.ReadFull(conn, make([]byte, 48<<10)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 500*time.Millisecond {
		t.Errorf("48 kB at 256 kbit/s took %v", d)
	}
}

// A child that another goroutine starts has every socket of this process from fork
// to exec, so a queue may outlive its close. The next delay must not meet it.
func TestDelayIsReplacedWhileProcessesStart(t *testing.T) {
	l := lab(t, fault.Delays, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("true").Run()
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	for i := range 100 {
		if err := l.Hosts()[0].Delay(time.Millisecond, 0, 0, 1); err != nil {
			t.Fatalf("delay %d: %v", i, err)
		}
	}
}
