package api

import (
	"errors"
	"fmt"
	"time"

	"github.com/chatnode/chatnode/wire"
)

// Config bounds the HTTP front. Start from [DefaultConfig].
type Config struct {
	BodyBytesMax int64         // of one request
	ProposeWait  time.Duration // for a quorum, leader changes included
	ReadWait     time.Duration // for one read
	WaitMax      time.Duration // of one long poll
	RequestsMax  int           // at once, long polls that wait apart
	WaitersMax   int           // long polls that wait at once
}

// DefaultConfig gives the limits that docs/protocol.md names.
func DefaultConfig() Config {
	return Config{
		BodyBytesMax: wire.FrameBytesMax, ProposeWait: 10 * time.Second, ReadWait: 10 * time.Second,
		WaitMax: 60 * time.Second, RequestsMax: 2048, WaitersMax: 10_000,
	}
}

// Validate reports every fault at once, each under its name.
func (c Config) Validate() error {
	var errs []error
	positive := func(name string, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s must be above 0", name))
		}
	}
	positive("body_bytes_max", c.BodyBytesMax > 0)
	positive("propose_wait", c.ProposeWait > 0)
	positive("read_wait", c.ReadWait > 0)
	positive("wait_max", c.WaitMax > 0)
	positive("requests_max", c.RequestsMax > 0)
	positive("waiters_max", c.WaitersMax > 0)
	return errors.Join(errs...)
}
