package ws

import (
	"errors"
	"fmt"
	"time"

	"github.com/chatnode/chatnode/wire"
)

// Config bounds the WebSockets of a node. Start from [DefaultConfig].
type Config struct {
	FrameBytesMax  int64 // of one client frame
	ConnectionsMax int
	Shards         int // melody instances
	Credit         int // frames of one link that melody holds
	PingEvery      time.Duration
	PongWait       time.Duration
	WriteWait      time.Duration // longer than a session may stand still, which has its own code
	CloseWait      time.Duration // for the client to close after the node did
	TickEvery      time.Duration // between looks at the clock for each session
	Origins        []string      // allowed besides the host itself, as https://example.org; "*" allows all
}

// DefaultConfig gives the limits that docs/protocol.md names.
func DefaultConfig() Config {
	return Config{
		FrameBytesMax: wire.FrameBytesMax, ConnectionsMax: 100_000, Shards: 4, Credit: 2,
		PingEvery: 25 * time.Second, PongWait: 60 * time.Second, WriteWait: 45 * time.Second,
		CloseWait: 2 * time.Second, TickEvery: time.Second,
	}
}

// Validate reports every fault at once, each under its name.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.FrameBytesMax < 1 {
		fault("frame_bytes_max: %d is below 1", c.FrameBytesMax)
	}
	if c.ConnectionsMax < 1 {
		fault("connections_max: %d is below 1", c.ConnectionsMax)
	}
	if c.Shards < 1 || c.Shards > 64 {
		fault("shards: %d is not within 1 to 64", c.Shards)
	}
	if c.Credit < 1 || c.Credit > bufferFrames-controlFrames {
		fault("credit: %d is not within 1 to %d", c.Credit, bufferFrames-controlFrames)
	}
	if c.PingEvery <= 0 || c.PingEvery >= c.PongWait {
		fault("ping_every: %v is not within (0, pong_wait = %v)", c.PingEvery, c.PongWait)
	}
	if c.WriteWait <= 0 || c.CloseWait <= 0 || c.TickEvery <= 0 {
		fault("write_wait, close_wait and tick_every must be above 0")
	}
	return errors.Join(errs...)
}
