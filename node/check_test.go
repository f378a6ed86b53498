package node

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// TestCheckJudgesAsAStart destroys directories of a stopped node in several ways:
// check refuses what a start refuses, for the same reason, and makes nothing anew.
func TestCheckJudgesAsAStart(t *testing.T) {
	const emptier, missing = "emptier than what the node has promised", "entries are missing"
	tests := []struct {
		name    string
		storage string
		cut     bool     // the beginning of the logs, as a long run does
		gone    []string // what is removed
		want    string   // part of the fault, "" for sound
		start   string   // what a start says, where that is something else
		noStart bool     // a start would wait for the others rather than refuse
	}{
		{name: "whole", storage: "segment"},
		{name: "whole with a cut log", storage: "segment", cut: true},
		{name: "no state, the log has all", storage: "segment", gone: []string{stateDir}},
		{name: "no log", storage: "segment", gone: []string{segmentDir}, want: emptier},
		{name: "no log in Pebble", storage: "pebble", gone: []string{pebbleDir}, want: emptier},
		{name: "no logs of Bolt", storage: "bolt", gone: []string{boltDir}, want: emptier, start: `keeps its logs as "segment"`},
		{name: "one log of Bolt is gone", storage: "bolt", gone: []string{boltDir + "/group-1.bolt"}, want: emptier},
		{name: "no state and a cut log", storage: "segment", cut: true, gone: []string{stateDir}, want: missing},
		{name: "no state and no log", storage: "segment", gone: []string{stateDir, segmentDir}, want: emptier},
		{
			name: "only the identity", storage: "segment", want: "neither a map of the cluster nor a replica", noStart: true,
			gone: []string{stateDir, segmentDir, mapFile, "promises", incarnationFile},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid(t)
			c.Storage.Log, c.Cluster.Groups, c.Cluster.Replicas = tt.storage, 1, 1
			if err := start(t, c).Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tt.cut {
				cutLogs(t, c)
			}
			for _, name := range tt.gone {
				if err := os.RemoveAll(filepath.Join(c.DataDir, name)); err != nil {
					t.Fatal(err)
				}
			}
			report, err := Check(t.Context(), c.DataDir, "")
			if err != nil {
				t.Fatal(err)
			}
			faults := report.Fault
			for _, g := range report.Groups {
				faults += "\n" + g.Fault
			}
			if report.Sound != (tt.want == "") || !strings.Contains(faults, tt.want) {
				t.Errorf("check: sound %v, faults %q, want %q", report.Sound, faults, tt.want)
			}
			for _, name := range tt.gone {
				if _, err := os.Stat(filepath.Join(c.DataDir, name)); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("check made %s (%v)", name, err)
				}
			}
			if tt.noStart {
				return
			}
			if tt.start == "" {
				tt.start = tt.want
			}
			if err := startError(t, c); (err == nil) != (tt.start == "") || err != nil && !strings.Contains(err.Error(), tt.start) {
				t.Errorf("start: %v, want %q", err, tt.start)
			}
		})
	}
}

// TestCheckAsksForTheKindOfLog: where a directory does not say which of its logs are
// the node's, the operator has to.
func TestCheckAsksForTheKindOfLog(t *testing.T) {
	c := valid(t)
	c.Cluster.Groups, c.Cluster.Replicas = 1, 1
	if err := start(t, c).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(c.DataDir, pebbleDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ storage, want string }{
		{"", "segment and pebble"},
		{"paper", `"paper" is no kind of log`},
		{"segment", ""},
	} {
		r, err := Check(t.Context(), c.DataDir, tt.storage)
		if tt.want == "" {
			if err != nil || !r.Sound {
				t.Errorf("%q: %+v, %v", tt.storage, r, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.storage, err, tt.want)
		}
	}
}

// cutLogs removes the first entry of every group's log. The state has more.
func cutLogs(t *testing.T, c Config) {
	t.Helper()
	dir, err := store.OpenDir(c.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := openLog(c, dir.Join, store.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range logs.Groups() {
		log, err := logs.Group(g)
		if err == nil {
			err = log.DeleteRange(1, 1)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(logs.Close(), dir.Close()); err != nil {
		t.Fatal(err)
	}
}

// startError starts the node and gives what it cannot go on after.
func startError(t *testing.T, c Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := New(ctx, c, Start{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	select {
	case err := <-n.Failed():
		return err
	default:
		return nil // all groups have a leader by now
	}
}

// TestCheckAsksTheMap: a group that the map gives to the node is looked at, also
// when nothing else here knows of it.
func TestCheckAsksTheMap(t *testing.T) {
	c := valid(t)
	n := stored(t, c)
	err := writeNew(filepath.Join(c.DataDir, mapFile), mapOf(t, 7, "n1", "n2", "n1").Append(nil))
	if err = errors.Join(err, n.stopParts(t.Context())); err != nil {
		t.Fatal(err)
	}
	report, err := Check(t.Context(), c.DataDir, "")
	if err != nil || !report.Sound {
		t.Errorf("check: %+v, %v", report, err)
	}
	var groups []shard.GroupID
	for _, g := range report.Groups {
		groups = append(groups, g.Group)
	}
	if want := []shard.GroupID{0, 2}; !slices.Equal(groups, want) {
		t.Errorf("groups %v were looked at, want %v", groups, want)
	}
}
