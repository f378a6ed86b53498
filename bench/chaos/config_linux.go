package chaos

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config describes one run. Start from [DefaultConfig].
type Config struct {
	Binary string // the chatnode to run
	Dir    string // takes history, logs and data; made by the run, must not be there
	Seed   uint64

	Nodes  int
	Groups int
	Faults []string // names of [Faults]; empty = none
	Pairs  bool     // two faults at a time

	Load     time.Duration // how long faults and load go on together
	Calm     time.Duration // longest pause between two faults
	Liveness time.Duration // bound for everything to work after the heal

	Clients       int     // writing devices
	Conversations int     // each with all of them as members
	Guests        int     // users that are added and removed
	Rate          float64 // operations a second and client
	TextBytesMax  int

	NodeEnv []string // added to the environment of the nodes
	Keep    bool     // keep the directory of a run without violations
	Logger  *slog.Logger
}

// OpsMax bounds the planned operations of a run.
const OpsMax = 2_000_000

// DefaultConfig is a run of one minute with kills and pauses.
func DefaultConfig() Config {
	return Config{
		Seed: 1, Nodes: 3, Groups: 8,
		Faults: []string{"kill", "kill-leader", "kill-all", "pause"},
		Load:   time.Minute, Calm: 2 * time.Second, Liveness: time.Minute,
		Clients: 20, Conversations: 8, Guests: 3, Rate: 20, TextBytesMax: 400,
	}
}

// wholeNodes is how many nodes can bear that one of them loses its data.
const wholeNodes = 3

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	bound := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			errs = append(errs, fmt.Errorf("%s: %d is not within %d and %d", key, v, lo, hi))
		}
	}
	bound("nodes", c.Nodes, 1, 7)
	bound("groups", c.Groups, 1, 256)
	bound("clients", c.Clients, 1, 60)
	bound("conversations", c.Conversations, 1, 200)
	bound("guests", c.Guests, 0, 20)
	bound("text_bytes_max", c.TextBytesMax, 1, 64<<10)
	if c.Binary == "" || c.Dir == "" {
		errs = append(errs, errors.New("binary and dir: give both"))
	}
	if c.Load <= 0 || c.Load > 24*time.Hour || c.Liveness <= 0 || c.Calm <= 0 {
		errs = append(errs, errors.New("load, calm and liveness: give times above 0, load at most a day"))
	}
	if ops := c.Rate * float64(c.Clients) * c.Load.Seconds(); !(c.Rate > 0 && ops <= OpsMax) {
		errs = append(errs, fmt.Errorf("rate: %v a second are %.0f operations, not within 1 and %d", c.Rate, ops, OpsMax))
	}
	for _, name := range c.Faults {
		f, ok := find(name)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("faults: %q is none of %v", name, Names()))
		case f.needs.whole && c.Nodes < wholeNodes:
			errs = append(errs, fmt.Errorf("faults: %s takes a node's data, which %d nodes cannot bear; give %d", name, c.Nodes, wholeNodes))
		}
	}
	return errors.Join(errs...)
}

// needs joins what the chosen faults need.
func (c Config) needs() needs {
	var n needs
	for _, name := range c.Faults {
		f, _ := find(name)
		n.network = n.network || f.needs.network
		n.delays = n.delays || f.needs.delays
		n.disks = n.disks || f.needs.disks
		n.files = n.files || f.needs.files
		n.clock = n.clock || f.needs.clock
	}
	return n
}
