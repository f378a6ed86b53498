package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// TokenSource gives the bearer token for the next connection. It is asked at
// every connect, so that a token may be renewed.
type TokenSource func(ctx context.Context) (string, error)

// StaticToken is a source that always gives token.
func StaticToken(token string) TokenSource {
	return func(context.Context) (string, error) { return token, nil }
}

// Config bounds one client. Start from [DefaultConfig].
type Config struct {
	Device chat.DeviceID // "" for one drawn at random
	// DeviceFromToken leaves the device out of the hello: the token fixes it.
	DeviceFromToken bool
	Agent           string      // names the program in the node's log
	TLS             *tls.Config // for wss addresses
	// InOrder tries the addresses as they are given, the first first. By
	// default a client starts with one drawn at random, which spreads clients.
	InOrder bool
	// NetDial opens the connections to nodes; nil for a plain dialer.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)
	Logger  *slog.Logger // nil for silence

	InFlightMax       int           // sends without an answer, at most 65,536; SendAsync waits for room beyond
	InFlightBytesMax  int           // their texts together
	PerConvMax        int           // sends of one conversation on the wire; at most chat.UnackedPerConvMax
	FrameBytesMax     int           // a write gathers sends up to this many bytes
	ReadBytesMax      int64         // largest frame taken from a node
	SubscriptionMax   int           // open subscriptions
	SubscriptionQueue int           // entries kept for a subscription that is read by Next
	SubscriptionBytes int           // their texts together; one entry is always kept
	RequestsMax       int           // requests on the wire; a node takes 64, others wait their turn
	DialTimeout       time.Duration // from the dial to the welcome
	SendTimeout       time.Duration // an async send without an answer fails after this
	PingInterval      time.Duration // silence after which the node is asked for a sign of life
	PongTimeout       time.Duration // further silence after which the connection is given up
	BackoffMin        time.Duration // the first pause is drawn from [0, BackoffMin)
	BackoffMax        time.Duration // and doubles up to this
	BufferBytes       int           // socket buffers of the connection, each way
}

// DefaultConfig suits an interactive client and a loader alike.
func DefaultConfig() Config {
	return Config{
		Agent:             "chatnode-go",
		InFlightMax:       1024,
		InFlightBytesMax:  8 << 20,
		PerConvMax:        chat.UnackedPerConvMax,
		FrameBytesMax:     64 << 10,
		ReadBytesMax:      8 << 20,
		SubscriptionMax:   1000,
		SubscriptionQueue: 256,
		SubscriptionBytes: 1 << 20,
		RequestsMax:       64,
		DialTimeout:       10 * time.Second,
		SendTimeout:       60 * time.Second,
		PingInterval:      5 * time.Second,
		PongTimeout:       5 * time.Second,
		BackoffMin:        50 * time.Millisecond,
		BackoffMax:        5 * time.Second,
		BufferBytes:       64 << 10,
	}
}

// Validate reports every fault at once, each under its field.
func (c Config) Validate() error {
	var errs []error
	positive := func(name string, v int64) {
		if v < 1 {
			errs = append(errs, fmt.Errorf("%s: %d is below 1", name, v))
		}
	}
	positive("InFlightMax", int64(c.InFlightMax))
	positive("InFlightBytesMax", int64(c.InFlightBytesMax))
	positive("FrameBytesMax", int64(c.FrameBytesMax))
	positive("ReadBytesMax", c.ReadBytesMax)
	positive("SubscriptionMax", int64(c.SubscriptionMax))
	positive("SubscriptionQueue", int64(c.SubscriptionQueue))
	positive("SubscriptionBytes", int64(c.SubscriptionBytes))
	positive("RequestsMax", int64(c.RequestsMax))
	positive("DialTimeout", int64(c.DialTimeout))
	positive("SendTimeout", int64(c.SendTimeout))
	positive("PingInterval", int64(c.PingInterval))
	positive("PongTimeout", int64(c.PongTimeout))
	positive("BackoffMin", int64(c.BackoffMin))
	positive("BufferBytes", int64(c.BufferBytes))
	if c.InFlightMax > 1<<slotBits {
		errs = append(errs, fmt.Errorf("InFlightMax: %d is above %d", c.InFlightMax, 1<<slotBits))
	}
	if c.FrameBytesMax > wire.FrameBytesMax {
		errs = append(errs, fmt.Errorf("FrameBytesMax: %d is above %d, which a node takes", c.FrameBytesMax, wire.FrameBytesMax))
	}
	if c.PerConvMax < 1 || c.PerConvMax > chat.UnackedPerConvMax {
		errs = append(errs, fmt.Errorf("PerConvMax: %d is not within 1 and %d", c.PerConvMax, chat.UnackedPerConvMax))
	}
	if c.BackoffMax < c.BackoffMin {
		errs = append(errs, fmt.Errorf("BackoffMax: %v is below BackoffMin %v", c.BackoffMax, c.BackoffMin))
	}
	if c.Device != "" && !chat.ValidID(string(c.Device)) {
		errs = append(errs, fmt.Errorf("device: %q is no device id", c.Device))
	}
	return errors.Join(errs...)
}
