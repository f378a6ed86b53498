package clustertest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Ports are taken below the range that the kernel gives to outgoing
// connections, so that nothing but another listener can be in the way of a
// node that comes back to its port.
const (
	portMin   = 12_000
	portMax   = 32_000
	portTries = 1000
)

// held keeps the lock files of the ports that this process has given out, so
// that test processes which run at once stay apart.
var held struct {
	sync.Mutex
	files map[int]*os.File
}

// Port gives a free port of loopback that no other test is given while this
// process lives.
func Port(tb testing.TB) int {
	tb.Helper()
	held.Lock()
	defer held.Unlock()
	if held.files == nil {
		held.files = make(map[int]*os.File)
	}
	dir := filepath.Join(os.TempDir(), "chatnode-test-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	for range portTries {
		port := portMin + rand.IntN(portMax-portMin)
		if _, mine := held.files[port]; mine || !free(port) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(port)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			f.Close()
			continue
		}
		held.files[port] = f
		return port
	}
	tb.Fatalf("no free port between %d and %d", portMin, portMax)
	return 0
}

// Addr gives a free address of loopback.
func Addr(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Port(tb))
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
