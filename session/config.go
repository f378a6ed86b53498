package session

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
)

// Config bounds one session. Start from [DefaultConfig].
type Config struct {
	HelloWait        time.Duration // from the connection to hello
	ProposeWait      time.Duration // for a quorum, leader changes included
	ReadWait         time.Duration // for one read, from its arrival
	TryWait          time.Duration // of a subscription's first try to read; each further one has twice the time
	LendWait         time.Duration // after which a read is taken for one that waits for others
	RetryWait        time.Duration // before a failed catch-up read is tried again
	StallMax         time.Duration // something waits and nothing is taken: slow_reader
	QueueBytesMax    int           // waiting to be taken
	FrameBytes       int           // outgoing frames are closed near this size
	UnackedMax       int           // sends of one conversation without an answer
	SendsMax         int           // of all conversations
	SubscriptionsMax int
	RequestsMax      int // reads asked for and not answered
	ReadersMax       int // reads of a lane at once, not counting those that wait for others
	CatchUpBytes     int // of one catch-up read
	BrokenMax        int // frames that are not JSON before the end
	ObjectsPerSecMax int
}

// DefaultConfig gives the limits that docs/protocol.md names.
func DefaultConfig() Config {
	return Config{
		HelloWait: 10 * time.Second, ProposeWait: 10 * time.Second, ReadWait: 10 * time.Second,
		TryWait: 50 * time.Millisecond, LendWait: 20 * time.Millisecond, RetryWait: 200 * time.Millisecond, StallMax: 30 * time.Second,
		QueueBytesMax: 256 << 10, FrameBytes: 32 << 10,
		UnackedMax: chat.UnackedPerConvMax, SendsMax: 2048, SubscriptionsMax: 1000,
		RequestsMax: 64, ReadersMax: 4, CatchUpBytes: 64 << 10, BrokenMax: 16, ObjectsPerSecMax: 100_000,
	}
}

// Validate reports every fault at once, each under its name.
func (c Config) Validate() error {
	var errs []error
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"hello_wait", c.HelloWait}, {"propose_wait", c.ProposeWait}, {"read_wait", c.ReadWait},
		{"try_wait", c.TryWait}, {"lend_wait", c.LendWait}, {"retry_wait", c.RetryWait}, {"stall_max", c.StallMax},
	} {
		if d.v <= 0 {
			errs = append(errs, fmt.Errorf("%s: %v is not above 0", d.name, d.v))
		}
	}
	for _, n := range []struct {
		name string
		v    int
	}{
		{"queue_bytes_max", c.QueueBytesMax}, {"frame_bytes", c.FrameBytes}, {"unacked_max", c.UnackedMax},
		{"sends_max", c.SendsMax}, {"subscriptions_max", c.SubscriptionsMax}, {"requests_max", c.RequestsMax},
		{"readers_max", c.ReadersMax}, {"catch_up_bytes", c.CatchUpBytes}, {"broken_max", c.BrokenMax},
		{"objects_per_sec_max", c.ObjectsPerSecMax},
	} {
		if n.v < 1 {
			errs = append(errs, fmt.Errorf("%s: %d is below 1", n.name, n.v))
		}
	}
	return errors.Join(errs...)
}

// Deps is what sessions stand on.
type Deps struct {
	Backend  Backend
	Tails    Tails
	Verify   func(token string) (auth.Principal, error)
	Registry *Registry
	Node     string
	Logger   *slog.Logger
}

// Transport carries a session's frames.
type Transport interface {
	// Wake says that Take has something to give. It must not block and is not
	// called again before Take has given nothing.
	Wake()
}
