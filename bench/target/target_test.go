package target

import (
	"encoding/base64"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stat = "123 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 100 1000000 300 18446744073709551615"

func TestParseStat(t *testing.T) {
	cpu, rss := parseStat([]byte(stat))
	if cpu != 3*time.Second || rss == 0 {
		t.Errorf("cpu %v, rss %d", cpu, rss)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2", strings.Replace(stat, "250", "x", 1)} {
		if cpu, _ := parseStat([]byte(bad)); cpu != 0 {
			t.Errorf("%q gives %v", bad, cpu)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(stat))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, b []byte) { parseStat(b) })
}

func TestParseDisk(t *testing.T) {
	line := " 254       0 vda 4046 5 308000 1000 5000 10 8000 300 0 1 2"
	if n, ok := parseDisk(line, 254, 0); !ok || n != 8000*512 {
		t.Errorf("got %d, %v", n, ok)
	}
	for _, bad := range []string{"", "254 0 vda", strings.Replace(line, " 8000 ", " x ", 1)} {
		if _, ok := parseDisk(bad, 254, 0); ok {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, ok := parseDisk(line, 254, 1); ok {
		t.Error("another device is taken")
	}
}

func TestParseStolen(t *testing.T) {
	const line = "cpu  1728776 227388 675705 3568131 104221 0 107233 331070 0 0"
	if got, want := parseStolen([]byte(line+"\ncpu0 1 2 3 4 5 6 7 8 9 10\n")), 3_310_700*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"", "cpu", "cpu0 1 2 3 4 5 6 7 8", strings.Replace(line, "331070", "x", 1)} {
		if got := parseStolen([]byte(bad)); got != 0 {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}

func TestMint(t *testing.T) {
	token, err := mint([]byte("0123456789abcdef0123456789abcdef"), "ann", "admin", time.Unix(1_760_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || string(body) != `{"exp":1760043200,"iat":1760000000,"scope":"admin","sub":"ann"}` {
		t.Errorf("claims %s, %v", body, err)
	}
}

func TestAttach(t *testing.T) {
	tg, err := Attach([]string{"127.0.0.1:1", "https://x:2/"}, []byte("secret\n"), "", []int{1 << 30, 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(tg.URLs(), " "); got != "http://127.0.0.1:1 https://x:2" {
		t.Errorf("URLs %s", got)
	}
	if u := tg.Usage(); u.CPU != 0 || u.OwnCPU == 0 {
		t.Errorf("usage of a process that is not there: %+v", u)
	}
	if tg.Spawned() || tg.Nodes[0].Kill() != nil || tg.Nodes[0].Start() == nil {
		t.Error("a node that is not ours can be started or killed")
	}
	for _, bad := range []struct {
		addrs  []string
		secret string
	}{{nil, "s"}, {[]string{"x:1"}, ""}} {
		if _, err := Attach(bad.addrs, []byte(bad.secret), "", nil); err == nil {
			t.Errorf("Attach(%v, %q) succeeds", bad.addrs, bad.secret)
		}
	}
	// Processor time of some of the nodes, called that of all, would be wrong.
	for _, pids := range [][]int{{1}, {1, 2, 3}} {
		if _, err := Attach([]string{"x:1", "y:1"}, []byte("s"), "", pids); err == nil {
			t.Errorf("Attach of two nodes with processes %v succeeds", pids)
		}
	}
}

// TestFreeAddress: a port is given out once, and below those that the kernel
// gives to outgoing connections.
func TestFreeAddress(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		addr, err := FreeAddress("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s is given twice", addr)
		}
		seen[addr] = true
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(port); err != nil || n < portMin || n >= portMax {
			t.Errorf("%s is outside of %d to %d", addr, portMin, portMax)
		}
	}
}

// TestStopIsBounded: a node that does not stop is a finding, not a reason to wait.
func TestStopIsBounded(t *testing.T) {
	n := &Node{
		ID: "n1", binary: "/bin/sh", args: []string{"-c", "trap '' TERM; echo deaf; exec sleep 60"}, grace: 100 * time.Millisecond,
		log: filepath.Join(t.TempDir(), "log"), in: func(start func() error) error { return start() },
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(n.tail(1), "deaf"); {
		if time.Now().After(deadline) {
			t.Fatal("the process says nothing")
		}
		runtime.Gosched()
	}
	if err := n.Stop(); err == nil || !strings.Contains(err.Error(), "n1 did not stop within 100ms") || n.PID() != 0 {
		t.Errorf("Stop = %v, process %d", err, n.PID())
	}
	if err := errors.Join(n.Stop(), n.Kill()); err != nil {
		t.Errorf("what does not run is stopped: %v", err)
	}
}
