package compare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/chatnode/chatnode/bench"
)

// Config says what to compare with what.
type Config struct {
	Binary        string // of chatnode; "" looks beside this program and in the path
	PeerBench     string // the program of bench/peers
	JetStream     string // nats-server, "" to leave JetStream out
	Etcd          string // etcd, "" to leave it out
	Works         []Work
	Turns         int
	Bytes         int // of a message
	Conversations int // that chatnode spreads the messages over
	Streams       int // that JetStream does; its streams are Raft groups
	Duration      time.Duration
	Rounds        int // kills of a failover
	Seed          uint64
}

// DefaultConfig is the comparison of docs/performance.md.
func DefaultConfig() Config {
	var works []Work
	for _, n := range []int{1, 16, 64, 256, 1024} {
		works = append(works, Work{Kind: "append", Outstanding: n})
	}
	return Config{
		PeerBench: "peerbench", Works: append(works, Work{Kind: "pages", Outstanding: 16}),
		Turns: 5, Bytes: 256, Conversations: 1000, Streams: 1, Duration: 5 * time.Second, Rounds: 5,
	}
}

// Validate reports every fault at once, each under its flag.
func (c Config) Validate() error {
	var errs []error
	fault := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.JetStream == "" && c.Etcd == "" {
		fault("give --jetstream or --etcd, or both: the binaries to compare with")
	}
	for flag, path := range map[string]string{"--peerbench": c.PeerBench, "--jetstream": c.JetStream, "--etcd": c.Etcd} {
		if path == "" && flag != "--peerbench" {
			continue
		}
		if _, err := exec.LookPath(path); err != nil {
			fault("%s: %w (build the driver by: go build -C bench/peers -o ../../bin/peerbench .)", flag, err)
		}
	}
	if len(c.Works) == 0 {
		fault("--work: give at least one")
	}
	for _, w := range c.Works {
		if err := w.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Turns < 1 || c.Turns > 100 {
		fault("--turns: %d is not within 1 and 100", c.Turns)
	}
	if c.Bytes < 8 || c.Bytes > 64<<10 {
		fault("--payload: %d is not within 8 and 65536", c.Bytes)
	}
	if c.Streams < 1 || c.Streams > 64 {
		fault("--streams: %d is not within 1 and 64", c.Streams)
	}
	if c.Conversations < 1 || c.Duration <= 0 || c.Rounds < 1 {
		fault("--conversations, --duration and --rounds must be above 0")
	}
	return errors.Join(errs...)
}

// system is a side of the comparison.
type system struct {
	name    string
	measure func(ctx context.Context, w Work) (measurement, bench.Result, error)
}

func (c Config) systems() []system {
	out := []system{{name: "chatnode", measure: c.own}}
	if c.JetStream != "" {
		for _, sync := range []string{"always", "default"} {
			out = append(out, c.peer("jetstream-"+sync, c.JetStream, "--system=jetstream", "--sync="+sync))
		}
	}
	if c.Etcd != "" {
		out = append(out, c.peer("etcd", c.Etcd, "--system=etcd"))
	}
	return out
}

// Run measures every work on every system, Turns times, and gives the table.
// Each measurement goes to sink as it comes.
func (c Config) Run(ctx context.Context, sink bench.Sink, say bench.Progress) (*Table, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if say == nil {
		say = func(string, ...any) {}
	}
	systems := c.systems()
	t := &Table{works: c.Works}
	for _, s := range systems {
		t.systems = append(t.systems, s.name)
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0))
	for turn := range c.Turns {
		for _, w := range c.Works {
			for _, i := range rng.Perm(len(systems)) {
				s := systems[i]
				say("turn %d of %d: %s, %s", turn+1, c.Turns, w.Name(), s.name)
				m, res, err := s.measure(ctx, w)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", s.name, w.Name(), err)
				}
				if err := sink.Add(c.stamped(res, s.name, turn, w)); err != nil {
					return nil, err
				}
				t.add(turn, w, s.name, m)
			}
		}
	}
	return t, nil
}

// stamped names a measurement as those of the other systems are named, so that
// whoever reads the results finds what belongs together.
func (c Config) stamped(res bench.Result, system string, turn int, w Work) bench.Result {
	res.System, res.Seed, res.Workload, res.Label = system, c.Seed, w.Kind, w.Name()
	if res.Config == nil {
		res.Config = map[string]any{"payload_bytes": c.Bytes}
		if w.Outstanding > 0 {
			res.Config["outstanding"] = w.Outstanding
		}
		if w.Kind == "pages" {
			res.Config["reads"] = 1
		}
	}
	res.Config["turn"] = turn + 1
	res.Config["compared"] = fmt.Sprintf("%d B, %d conversations beside %d streams", c.Bytes, c.Conversations, c.Streams)
	return res
}
