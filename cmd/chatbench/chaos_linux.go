package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/bench/chaos"
)

// chaosFlags are the flags of chaos that are no field of its configuration.
type chaosFlags struct {
	runs    int
	results string
	verbose bool
	list    bool
	faults  string
	dir     string
}

// chaosCommand tries to break a cluster of real processes.
func chaosCommand(stdout, stderr io.Writer) *cobra.Command {
	cfg, f := chaos.DefaultConfig(), chaosFlags{}
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Break nodes, networks and disks under load and check every promise afterwards",
		Long: `chaos starts a cluster of the given binary, lets clients write, read, subscribe, come and go, injects
faults drawn from a seed, heals everything, and checks the recorded history against the final logs
of all replicas. It ends with 1 when a promise was broken and with 2 when a run could not be judged;
then history, logs and data are kept and the command that replays the run is printed.

Faults of network and disk need root. Faults are given by name, as groups (process, network, delay,
disk, file, data, clock, all) or both, separated by commas.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.list {
				return listFaults(stdout)
			}
			cfg.Faults = chaosFaults(f.faults)
			level := slog.LevelWarn
			if f.verbose {
				level = slog.LevelInfo
			}
			cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
			return chaosRuns(cmd, cfg, f, stdout, stderr)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&cfg.Binary, "binary", "bin/chatnode", "the chatnode to run")
	fl.StringVar(&f.dir, "dir", "", "directory of the runs; a temporary one if empty")
	fl.Uint64Var(&cfg.Seed, "seed", 1, "seed of the first run; further runs count on")
	fl.IntVar(&f.runs, "runs", 1, "how many runs")
	fl.IntVar(&cfg.Nodes, "nodes", cfg.Nodes, "nodes of the cluster")
	fl.IntVar(&cfg.Groups, "groups", cfg.Groups, "conversation groups")
	fl.StringVar(&f.faults, "faults", "process", "faults, or groups of them")
	fl.BoolVar(&cfg.Pairs, "pairs", false, "two faults at a time")
	fl.DurationVar(&cfg.Load, "load", cfg.Load, "how long load and faults go on")
	fl.DurationVar(&cfg.Calm, "calm", cfg.Calm, "longest pause between faults")
	fl.DurationVar(&cfg.Liveness, "liveness", cfg.Liveness, "everything has to work so soon after the heal")
	fl.IntVar(&cfg.Clients, "clients", cfg.Clients, "writing devices")
	fl.IntVar(&cfg.Conversations, "conversations", cfg.Conversations, "conversations")
	fl.IntVar(&cfg.Guests, "guests", cfg.Guests, "users that are added and removed")
	fl.Float64Var(&cfg.Rate, "rate", cfg.Rate, "operations a second and client")
	fl.StringSliceVar(&cfg.NodeEnv, "node-env", nil, "NAME=VALUE for the nodes' environment")
	fl.BoolVar(&cfg.Keep, "keep", false, "keep history, logs and data of good runs too")
	fl.StringVar(&f.results, "results", "", "append the result of each run to this file as a JSON line")
	fl.BoolVar(&f.verbose, "verbose", false, "tell each fault on stderr")
	fl.BoolVar(&f.list, "list", false, "list the faults and end")
	return cmd
}

func listFaults(w io.Writer) error {
	for _, f := range chaos.Faults() {
		if _, err := fmt.Fprintf(w, "%-15s %s\n", f.Name, f.About); err != nil {
			return err
		}
	}
	return nil
}

// faultGroups are the names that stand for many.
var faultGroups = map[string][]string{
	"process": {"kill", "kill-leader", "kill-two", "kill-all", "restart", "pause", "pause-leader", "transfer"},
	"network": {"isolate", "isolate-leader", "split", "bridge", "one-way", "loss", "rate"},
	"delay":   {"delay"},
	"disk":    {"power", "power-all", "full"},
	"file":    {"fsync", "torn", "enospc", "slow-disk", "stall-disk"},
	"data":    {"membership", "wipe", "corrupt", "rollback"},
	"clock":   {"clock"},
}

func chaosFaults(list string) []string {
	var res []string
	for name := range strings.SplitSeq(list, ",") {
		switch group, ok := faultGroups[name]; {
		case name == "none" || name == "":
		case name == "all":
			res = append(res, chaos.Names()...)
		case ok:
			res = append(res, group...)
		default:
			res = append(res, name)
		}
	}
	slices.Sort(res)
	return slices.Compact(res)
}

// exitUnjudged says that a run could not be judged.
const exitUnjudged = 2

// errBroken says that at least one run found a broken promise.
var errBroken = errors.New("a promise was broken")

func chaosRuns(cmd *cobra.Command, cfg chaos.Config, f chaosFlags, stdout, stderr io.Writer) (err error) {
	if f.runs < 1 {
		return fmt.Errorf("--runs: %d is below 1", f.runs)
	}
	cfg.Dir = "." // each run gets its own
	if err := cfg.Validate(); err != nil {
		return err
	}
	save, err := saver(f.results)
	if err != nil {
		return fmt.Errorf("--results: %w", err)
	}
	if f.dir == "" {
		dir, err := os.MkdirTemp("", "chaos-")
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(dir) }() // stays when a run is kept in it
		f.dir = dir
	}
	broken, unjudged, first := 0, 0, cfg.Seed
	for i := range f.runs {
		cfg.Seed = first + uint64(i)
		cfg.Dir = filepath.Join(f.dir, fmt.Sprintf("seed-%d-%d-%d", cfg.Seed, time.Now().Unix(), os.Getpid()))
		res, err := chaos.Run(cmd.Context(), cfg)
		if errors.Is(err, chaos.ErrMeans) {
			return err
		}
		if cmd.Context().Err() != nil {
			return errors.Join(err, tellKept(stderr, res))
		}
		if err := errors.Join(tellRun(stdout, res), save(res)); err != nil {
			return err
		}
		if !res.OK {
			if res.Unfinished != "" && len(res.Failures) == 0 {
				unjudged++
			} else {
				broken++
			}
			if err := tellKept(stderr, res); err != nil {
				return err
			}
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d of %d runs: %w", broken, f.runs, errBroken)
	}
	if unjudged > 0 {
		return exitError(exitUnjudged)
	}
	return nil
}

// tellKept says where a run is kept, if it is, and how to do it again.
func tellKept(w io.Writer, res chaos.Result) error {
	kept := ""
	if res.Kept != "" {
		kept = "kept in " + res.Kept + "; "
	}
	_, err := fmt.Fprintf(w, "%sagain: %s\n", kept, res.Replay)
	return err
}

// saver opens the file for results, so that a run does not end before it is known
// that its result can be kept.
func saver(path string) (save func(chaos.Result) error, err error) {
	if path == "" {
		return func(chaos.Result) error { return nil }, nil
	}
	open := func() (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) }
	w, err := open()
	if err != nil {
		return nil, err
	}
	return func(res chaos.Result) error {
		w, err := open()
		if err != nil {
			return err
		}
		return errors.Join(json.NewEncoder(w).Encode(res), w.Close())
	}, w.Close()
}

func tellRun(w io.Writer, res chaos.Result) error {
	verdict := "held"
	switch {
	case res.Unfinished != "":
		verdict = "NOT JUDGED: " + res.Unfinished
	case !res.OK:
		verdict = "BROKEN"
	}
	faults := 0
	for _, n := range res.Injected {
		faults += n
	}
	_, err := fmt.Fprintf(w, "seed %d: %s; %d faults in %.0f s, settled in %.1f s\n", res.Seed, verdict, faults, res.LoadS, res.SettledS)
	for _, text := range res.Failures {
		_, err2 := fmt.Fprintf(w, "  %s\n", text)
		err = errors.Join(err, err2)
	}
	if res.Check != nil {
		_, err2 := fmt.Fprintf(w, "  %s\n", res.Check)
		err = errors.Join(err, err2)
	}
	return err
}
