package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/chatnode/chatnode/internal/fault"
	"github.com/chatnode/chatnode/internal/fault/netlab"
)

// network is the hosts of a spawned cluster whose network is to be broken: one
// for each node, and the last for the load.
type network struct {
	lab   *netlab.Lab
	nodes []*netlab.Host
	load  *netlab.Host
}

func newNetwork(nodes int) (*network, error) {
	if lacks := fault.Need(fault.Network); lacks != "" {
		return nil, fmt.Errorf("a network that can be cut needs %s", lacks)
	}
	lab, err := netlab.New(fmt.Sprintf("cb%d", os.Getpid()%100000), nodes+1)
	if err != nil {
		return nil, err
	}
	hosts := lab.Hosts()
	return &network{lab: lab, nodes: hosts[:nodes], load: hosts[nodes]}, nil
}

// address is where the node at a place can be reached.
func (n *network) address(place int) string { return n.nodes[place].Addr.String() }

// in runs fn where the node at a place lives.
func (n *network) in(place int, fn func() error) error { return n.nodes[place].Do(fn) }

// dial connects from the load's host.
func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.load.Dial(ctx, network, address)
}

// cut parts the node at a place from the other nodes; the load reaches all. With
// oneWay the node does not hear the others, but they hear it.
func (n *network) cut(place int, oneWay bool) error {
	at := n.nodes[place]
	if !oneWay {
		return n.lab.Isolate(at, n.nodes...)
	}
	var errs []error
	for _, from := range n.nodes {
		if from != at {
			errs = append(errs, n.lab.CutOneWay(at, from))
		}
	}
	return errors.Join(errs...)
}

func (n *network) heal() error  { return n.lab.Heal() }
func (n *network) close() error { return n.lab.Close() }
