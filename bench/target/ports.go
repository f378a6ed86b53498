package target

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// Ports are taken below the range that the kernel gives to outgoing connections
// by default, so that a node finds its port free at its start and after a restart.
const (
	portMin   = 12_000
	portMax   = 30_000
	portTries = 1_000
)

// given are the ports that this process has given out: between that and the start
// of the node nobody listens there.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreeAddress gives an address of the host where nobody listens, another one with
// each call.
func FreeAddress(host string) (string, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	var last error
	for range portTries {
		port := portMin + rand.IntN(portMax-portMin)
		if given.ports[port] {
			continue
		}
		addr := net.JoinHostPort(host, strconv.Itoa(port))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			last = err
			continue
		}
		given.ports[port] = true
		return addr, l.Close()
	}
	return "", fmt.Errorf("found no free port of %s between %d and %d: %w", host, portMin, portMax, last)
}
