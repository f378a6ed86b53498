package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/chatnode/chatnode/bench"
	"github.com/chatnode/chatnode/bench/target"
)

// common are the flags of every workload.
type common struct {
	addresses  []string
	secretFile string
	token      string
	pids       []int
	spawn      int
	binary     string
	dir        string
	keep       bool
	groups     int
	replicas   int
	nodeArgs   []string
	debug      bool
	out        string
	text       bool
	seed       uint64
	quiet      bool
	profile    string
	startup    time.Duration
	network    bool // the workload cuts the network
}

func commonFlags(cmd *cobra.Command) *common {
	c := &common{}
	fs := cmd.Flags()
	fs.StringSliceVar(&c.addresses, "target", nil, "client addresses of a running cluster, HOST:PORT separated by commas")
	fs.StringVar(&c.secretFile, "secret-file", "", "with --target: file with the secret that signs tokens (or CHATNODE_AUTH_SECRET)")
	fs.StringVar(&c.token, "token", "", "with --target: one bearer token instead of the secret")
	fs.IntSliceVar(&c.pids, "pid", nil, "with --target: processes of all the nodes, in the same order, for their processor time")
	fs.IntVar(&c.spawn, "spawn", 0, "start this many nodes for the run and end them after it")
	fs.StringVar(&c.binary, "binary", "", "with --spawn: the chatnode binary (default: beside this one, else in the path)")
	fs.StringVar(&c.dir, "dir", "", "with --spawn: directory for the data, a new one for each run, kept after it (default: a temporary one)")
	fs.BoolVar(&c.keep, "keep", false, "with --spawn: keep the temporary directory")
	fs.IntVar(&c.groups, "groups", 0, "with --spawn: conversation groups (default: the node's)")
	fs.IntVar(&c.replicas, "replicas", 0, "with --spawn: replicas of a group (default: the node's)")
	fs.StringArrayVar(&c.nodeArgs, "node-arg", nil, "with --spawn: one more flag for every node, such as --node-arg=--storage-log=pebble")
	fs.BoolVar(&c.debug, "debug-ports", false, "with --spawn: open the nodes' ports for profiles and print them")
	fs.StringVar(&c.out, "out", "", "append the results to this file (default: standard output)")
	fs.BoolVar(&c.text, "text", false, "write the results for people, not as JSON lines")
	fs.Uint64Var(&c.seed, "seed", 0, "seed of what is drawn at random, but for names (default: drawn, and in the result)")
	fs.BoolVar(&c.quiet, "quiet", false, "no progress")
	fs.StringVar(&c.profile, "cpuprofile", "", "write a profile of the load itself to this file")
	fs.DurationVar(&c.startup, "startup-timeout", time.Minute, "longest wait for a healthy cluster, or for the nodes of --target to answer")
	return c
}

// target starts or finds the cluster.
func (c *common) target(ctx context.Context, a *app) (*target.Target, error) {
	switch {
	case c.spawn > 0 && len(c.addresses) > 0:
		return nil, errors.New("give either --spawn or --target")
	case c.spawn > 0:
		starting, cancel := context.WithTimeout(ctx, c.startup)
		defer cancel()
		return target.Spawn(starting, target.Config{
			Binary: c.binary, Nodes: c.spawn, Groups: c.groups, Replicas: c.replicas,
			Dir: c.dir, Keep: c.keep, Args: c.nodeArgs, Debug: c.debug, Network: c.network,
		})
	case len(c.addresses) > 0:
		secret := []byte(a.env("CHATNODE_AUTH_SECRET"))
		if c.secretFile != "" {
			b, err := os.ReadFile(c.secretFile)
			if err != nil {
				return nil, fmt.Errorf("--secret-file: %w", err)
			}
			secret = bytes.TrimSpace(b)
		}
		t, err := target.Attach(c.addresses, secret, c.token, c.pids)
		if err != nil {
			return nil, err
		}
		return t, c.reach(ctx, t)
	default:
		return nil, errors.New("give --spawn N or --target HOST:PORT,…")
	}
}

// reach waits until every node of a cluster that runs already answers: a client
// would try for ever.
func (c *common) reach(ctx context.Context, t *target.Target) error {
	ctx, cancel := context.WithTimeout(ctx, c.startup)
	defer cancel()
	for _, n := range t.Nodes {
		if err := t.WaitReady(ctx, n); err != nil {
			return fmt.Errorf("%s: %w", n.URL, err)
		}
	}
	return nil
}

// env gives a variable of the environment that the process was given.
func (a *app) env(name string) string {
	for _, entry := range slices.Backward(a.environ) {
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// with runs a workload on the cluster that the flags name.
func (c *common) with(ctx context.Context, a *app, work func(context.Context, *bench.Run) error) (err error) {
	if c.seed == 0 {
		c.seed = rand.Uint64() >> 11 // so that any JSON reader keeps all its digits
	}
	out := a.stdout
	if c.out != "" {
		f, err := os.OpenFile(c.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("--out: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	progress := c.progress(a)
	if c.spawn > 0 && progress != nil {
		progress("starting %d nodes", c.spawn)
	}
	t, err := c.target(ctx, a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if c.debug {
		for _, n := range t.Nodes {
			fmt.Fprintf(a.stderr, "%s: pid %d, profiles at http://%s/debug/pprof/\n", n.ID, n.PID(), n.Debug)
		}
	}
	stop, err := c.startProfile()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var sink bench.Sink = bench.NewLines(out)
	if c.text {
		sink = bench.NewText(out)
	}
	return work(ctx, &bench.Run{Target: t, Sink: sink, Progress: progress, Seed: c.seed})
}

// startProfile begins the profile that was asked for and gives its end.
func (c *common) startProfile() (stop func() error, err error) {
	if c.profile == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(c.profile)
	if err != nil {
		return nil, fmt.Errorf("--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("--cpuprofile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// progress writes to a terminal only.
func (c *common) progress(a *app) bench.Progress {
	f, ok := a.stderr.(*os.File)
	if c.quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }
}

// parseSize reads a number of bytes such as 256, 8KB or 1MB.
func parseSize(s string) (int, error) {
	upper, unit := strings.ToUpper(strings.TrimSpace(s)), 1
	for _, u := range []struct {
		suffix string
		bytes  int
	}{{"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(upper, u.suffix); ok {
			upper, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(upper))
	if err != nil || n < 0 || n > 1<<40/unit {
		return 0, fmt.Errorf("%q is no size such as 256, 8KB or 1MB", s)
	}
	return n * unit, nil
}

// size is a flag of bytes.
type size int

func (s *size) String() string { return strconv.Itoa(int(*s)) }
func (s *size) Type() string   { return "size" }

func (s *size) Set(text string) error {
	n, err := parseSize(text)
	*s = size(n)
	return err
}
