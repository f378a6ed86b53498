package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench"
	"github.com/chatnode/chatnode/bench/compare"
	"github.com/chatnode/chatnode/bench/plan"
)

// modelCommands say what a cluster would need, and how it compares with peers.
func (a *app) modelCommands() []*cobra.Command {
	return []*cobra.Command{a.planCommand(), a.compareCommand()}
}

func (a *app) planCommand() *cobra.Command {
	l := plan.DefaultLoad()
	var users []float64
	var figures string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Capacity model: from daily users to groups, nodes, disks and memory",
		Long: `plan computes what a number of daily users needs, a column each, from figures that were measured on
one machine (--figures names another file of them) and from the habits that the flags state. It
prints its formulas. It is a model on paper: measure your own machine before you buy.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.Float64SliceVar(&users, "users", []float64{50e6, 500e6, 1e9}, "daily users, a column each")
	f.Float64Var(&l.MessagesPerUser, "messages", l.MessagesPerUser, "messages sent by a user a day")
	f.Float64Var(&l.MessageBytes, "bytes", l.MessageBytes, "bytes of a message's text")
	f.Float64Var(&l.MembersOnline, "fanout", l.MembersOnline, "sockets that get a message")
	f.Float64Var(&l.OnlineShare, "online", l.OnlineShare, "share of the daily users connected at the peak")
	f.Float64Var(&l.DevicesPerUser, "devices", l.DevicesPerUser, "sockets of a connected user")
	f.Float64Var(&l.PeakFactor, "peak", l.PeakFactor, "busiest second over the average second")
	f.Float64Var(&l.CommandsPerSend, "commands-per-send", l.CommandsPerSend, "log commands for a message")
	f.Float64Var(&l.Replicas, "replicas", l.Replicas, "replicas of a group")
	f.Float64Var(&l.RetentionDays, "retention-days", l.RetentionDays, "days of history on the nodes")
	f.Float64Var(&l.HeartbeatSecs, "heartbeat", l.HeartbeatSecs, "seconds between two pings of a socket")
	f.Float64Var(&l.NodeCores, "node-cores", l.NodeCores, "cores of a node")
	f.Float64Var(&l.NodeMemoryBytes, "node-memory", l.NodeMemoryBytes, "bytes of memory of a node")
	f.Float64Var(&l.NodeDiskBytes, "node-disk", l.NodeDiskBytes, "bytes of disk of a node")
	f.Float64Var(&l.UtilisationMax, "utilisation", l.UtilisationMax, "share of a node to plan with")
	f.StringVar(&figures, "figures", "", "file of measured figures (default: those of the project's machine)")
	f.BoolVar(&asJSON, "json", false, "JSON lines instead of a table")
	cmd.RunE = func(*cobra.Command, []string) error { return a.plan(users, l, figures, asJSON) }
	return cmd
}

func (a *app) plan(users []float64, l plan.Load, file string, asJSON bool) error {
	fig, err := plan.Measured()
	if file != "" {
		var b []byte
		if b, err = os.ReadFile(file); err == nil {
			fig, err = plan.ParseFigures(b)
		}
	}
	if err != nil {
		return fmt.Errorf("--figures: %w", err)
	}
	var rows []plan.Row
	for _, u := range users {
		l.DailyUsers = u
		r, err := plan.Compute(l, fig)
		if err != nil {
			return err
		}
		rows = append(rows, r)
	}
	if !asJSON {
		return plan.Print(a.stdout, rows, fig)
	}
	enc := json.NewEncoder(a.stdout)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) compareCommand() *cobra.Command {
	c := compare.DefaultConfig()
	var works []string
	var out string
	var quiet bool
	payload := size(c.Bytes)
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "The same work for chatnode, JetStream and etcd, in turns",
		Long: `compare starts three processes of each system for each piece of work, in turns, and prints ratios
first. Name the servers' binaries by --jetstream and --etcd; the driver for them is built by
go build -C bench/peers -o ../../bin/peerbench . and named by --peerbench. Every measurement goes
to --out as a JSON line. A work is append:N or pages:N (N outstanding), latency:R (R per second),
latency:P% (percent of the most that the system itself did right before, at 1,024 outstanding) or
failover.`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&c.Binary, "binary", "", "the chatnode binary (default: beside this one, else in the path)")
	f.StringVar(&c.PeerBench, "peerbench", c.PeerBench, "the driver of the peers")
	f.StringVar(&c.JetStream, "jetstream", "", "the nats-server binary")
	f.StringVar(&c.Etcd, "etcd", "", "the etcd binary")
	f.StringSliceVar(&works, "work", nil, "what to do (default: append:1,16,64,256,1024 and pages:16)")
	f.IntVar(&c.Turns, "turns", c.Turns, "paired measurements of each work")
	f.Var(&payload, "payload", "bytes of a message")
	f.IntVar(&c.Conversations, "conversations", c.Conversations, "conversations of chatnode")
	f.IntVar(&c.Streams, "streams", c.Streams, "streams of JetStream that appends are spread over; each is a Raft group")
	f.DurationVar(&c.Duration, "duration", c.Duration, "window of each measurement")
	f.IntVar(&c.Rounds, "rounds", c.Rounds, "kills of a failover")
	f.Uint64Var(&c.Seed, "seed", 0, "seed of the order (default: drawn, and in the results)")
	f.StringVar(&out, "out", "", "append the measurements to this file (default: standard output, after the table)")
	f.BoolVar(&quiet, "quiet", false, "no progress")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c.Bytes = int(payload)
		if c.Seed == 0 {
			c.Seed = rand.Uint64() >> 11 // so that any JSON reader keeps all its digits
		}
		if len(works) > 0 {
			c.Works = nil
			for _, s := range works {
				w, err := compare.ParseWork(s)
				if err != nil {
					return err
				}
				c.Works = append(c.Works, w)
			}
		}
		return a.compare(cmd, c, out, (&common{quiet: quiet}).progress(a))
	}
	return cmd
}

func (a *app) compare(cmd *cobra.Command, c compare.Config, out string, say bench.Progress) (err error) {
	kept := &results{}
	var sink bench.Sink = kept
	if out != "" {
		f, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		sink = bench.NewLines(f)
	}
	table, err := c.Run(cmd.Context(), sink, say)
	if err != nil {
		return err
	}
	if err := table.Print(a.stdout); err != nil {
		return err
	}
	return kept.writeTo(a.stdout)
}

// results keeps measurements until the table is printed.
type results struct{ all []bench.Result }

func (r *results) Add(one bench.Result) error {
	r.all = append(r.all, one)
	return nil
}

func (r *results) writeTo(w io.Writer) error {
	lines := bench.NewLines(w)
	for _, one := range r.all {
		if err := lines.Add(one); err != nil {
			return err
		}
	}
	return nil
}
