//go:build !linux

package target

import (
	"context"
	"errors"
	"net"
)

var errNoNetwork = errors.New("a network that can be cut needs Linux")

// network is not there on this system.
type network struct{}

func newNetwork(int) (*network, error)      { return nil, errNoNetwork }
func (*network) address(int) string         { return "" }
func (*network) in(int, func() error) error { return errNoNetwork }
func (*network) cut(int, bool) error        { return errNoNetwork }
func (*network) heal() error                { return errNoNetwork }
func (*network) close() error               { return nil }
func (*network) dial(context.Context, string, string) (net.Conn, error) {
	return nil, errNoNetwork
}
