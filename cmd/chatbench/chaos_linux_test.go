package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/bench/chaos"
)

// TestReplayIsWhole: the schedule depends on more than the seed, and a command that
// leaves out what was given does another run.
func TestReplayIsWhole(t *testing.T) {
	for _, given := range []string{
		"--binary /a/chatnode --seed 7 --faults kill,pause --load 42s --calm 750ms --liveness 33s --clients 5 --guests 2 --conversations 3 --nodes 5 --groups 4 --rate 12.5 --pairs --node-env A=b",
		"--faults none",
	} {
		set := func(line string) map[string]string {
			cmd := chaosCommand(&bytes.Buffer{}, &bytes.Buffer{})
			if err := cmd.Flags().Parse(strings.Fields(line)); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			all := map[string]string{}
			for _, name := range []string{"binary", "seed", "faults", "load", "calm", "liveness", "clients", "guests", "conversations", "nodes", "groups", "rate", "pairs", "node-env"} {
				all[name] = cmd.Flags().Lookup(name).Value.String()
			}
			return all
		}
		want := set(given)
		cfg := chaos.DefaultConfig()
		cfg.Binary, cfg.Faults = want["binary"], chaosFaults(want["faults"])
		if strings.Contains(given, "--pairs") {
			cfg.Seed, cfg.Load, cfg.Calm, cfg.Liveness = 7, 42*time.Second, 750*time.Millisecond, 33*time.Second
			cfg.Clients, cfg.Guests, cfg.Conversations, cfg.Nodes, cfg.Groups, cfg.Rate = 5, 2, 3, 5, 4, 12.5
			cfg.Pairs, cfg.NodeEnv = true, []string{"A=b"}
		}
		res, err := chaos.Run(t.Context(), cfg) // refused: it names no directory
		if err == nil || res.Unfinished == "" {
			t.Fatalf("Run without a directory: %v, %+v", err, res)
		}
		line, ok := strings.CutPrefix(res.Replay, "chatbench chaos ")
		if !ok {
			t.Fatalf("the replay is %q", res.Replay)
		}
		if d := cmp.Diff(want, set(line)); d != "" {
			t.Errorf("%s: the replay %q differs (-want +got):\n%s", given, line, d)
		}
	}
}

// TestChaosRefuses: what cannot be run is no broken promise, and is known before a
// run, not after it.
func TestChaosRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--clients 100", "clients: 100"},
		{"--faults earthquake", `"earthquake" is none of`},
		{"--faults wipe --nodes 1", "wipe takes a node's data"},
		{"--runs 0", "--runs: 0"},
		{"--results no/such/file", "--results: open no/such/file"},
	} {
		var out bytes.Buffer
		cmd := chaosCommand(&out, &out)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(strings.Fields("--binary no/such/binary " + tt.args))
		err := cmd.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, errBroken) || out.Len() > 0 {
			t.Errorf("%s: %v, %q; want an error with %q and no verdict", tt.args, err, out.String(), tt.want)
		}
	}
	var out bytes.Buffer
	cmd := chaosCommand(&out, &out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(strings.Fields("--binary no/such/binary --dir /proc/none"))
	var code exitError
	if err := cmd.ExecuteContext(t.Context()); !errors.As(err, &code) || code != exitUnjudged || !strings.Contains(out.String(), "NOT JUDGED: mkdir /proc/none") {
		t.Errorf("a directory that cannot be made: %v, %q", err, out.String())
	}
}

// TestRunsDoNotShare: the second of two runs in one directory is refused, and leaves
// what is there.
func TestRunsDoNotShare(t *testing.T) {
	cfg := chaos.DefaultConfig()
	cfg.Binary, cfg.Dir = "no/such/binary", t.TempDir()
	history := filepath.Join(cfg.Dir, "history.jsonl")
	if err := os.WriteFile(history, []byte("of another run"), 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := chaos.Run(t.Context(), cfg)
	if !errors.Is(err, fs.ErrExist) || res.Kept != "" {
		t.Errorf("Run = %+v, %v; want %v", res, err, fs.ErrExist)
	}
	if b, err := os.ReadFile(history); string(b) != "of another run" {
		t.Errorf("the other run's history is %q, %v", b, err)
	}
}

// TestInterruptedRunLeavesNothing: what was interrupted has nothing to show.
func TestInterruptedRunLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := chaos.DefaultConfig()
	cfg.Binary, cfg.Dir = "no/such/binary", t.TempDir()+"/run"
	res, err := chaos.Run(ctx, cfg)
	if err == nil || res.OK || res.Kept != "" {
		t.Errorf("Run = %+v, %v; want an error and nothing kept", res, err)
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", cfg.Dir, err)
	}
}
