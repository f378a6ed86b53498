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

	"github.com/chatnode/chatnode/chat"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Name())
	}
	return all
}

// TestAnotherStorageIsRefused starts directories with another kind of log than they
// were begun with: it is refused by its name, and nothing is made.
func TestAnotherStorageIsRefused(t *testing.T) {
	kinds := []string{"segment", "pebble", "bolt"}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			c := valid(t)
			c.Cluster.Groups, c.Cluster.Replicas, c.Storage.Log = 1, 1, kind
			if err := start(t, c).Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := names(t, c.DataDir)
			for _, other := range kinds {
				if other == kind {
					continue
				}
				c.Storage.Log = other
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				n, err := New(ctx, c, Start{}, slog.New(slog.DiscardHandler))
				cancel()
				if err == nil {
					t.Errorf("%s starts on %s", other, kind)
					_ = n.Stop(t.Context())
					continue
				}
				want := `this directory keeps its logs as "` + kind + `"; start it with storage.log: ` + kind
				if chat.CodeOf(err) != chat.Invalid || !strings.Contains(err.Error(), want) {
					t.Errorf("%s on %s: %v, want %s", other, kind, err, want)
				}
			}
			if after := names(t, c.DataDir); !slices.Equal(before, after) {
				t.Errorf("the directory had %v and has %v", before, after)
			}
		})
	}
}

// TestStorageKept: a directory in which an older version has begun a second log by
// mistake still starts with its own.
func TestStorageKept(t *testing.T) {
	tests := []struct {
		dirs, starts []string
	}{
		{nil, []string{"segment", "pebble", "bolt"}},
		{[]string{segmentDir}, []string{"segment"}},
		{[]string{pebbleDir}, []string{"pebble"}},
		{[]string{segmentDir, boltDir}, []string{"bolt"}},
		{[]string{boltDir}, []string{"bolt"}},
		{[]string{segmentDir, pebbleDir}, []string{"segment", "pebble"}},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.dirs, " "), func(t *testing.T) {
			n := bare(t, valid(t))
			for _, name := range tt.dirs {
				if err := os.Mkdir(n.dir.Join(name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, kind := range []string{"segment", "pebble", "bolt"} {
				n.cfg.Storage.Log = kind
				if err := n.sameStorage(); (err == nil) != slices.Contains(tt.starts, kind) {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
}

// TestDirectoriesAreClosedToOthers: also below a data directory that the operator
// has made for everybody to read, whose mode stays.
func TestDirectoriesAreClosedToOthers(t *testing.T) {
	for _, kind := range []string{"segment", "pebble", "bolt"} {
		t.Run(kind, func(t *testing.T) {
			c := valid(t)
			c.Cluster.Groups, c.Cluster.Replicas, c.Storage.Log = 1, 1, kind
			if err := os.Mkdir(c.DataDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(c.DataDir, 0o755); err != nil { // whatever the umask
				t.Fatal(err)
			}
			if err := start(t, c).Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			err := filepath.WalkDir(c.DataDir, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := d.Info()
				if err != nil {
					return err
				}
				mode, top := info.Mode().Perm(), filepath.Dir(path) == c.DataDir
				switch {
				case path == c.DataDir && mode != 0o755:
					t.Errorf("the operator's directory has mode %o now", mode)
				case path != c.DataDir && d.IsDir() && mode != 0o700, top && !d.IsDir() && mode != 0o600:
					t.Errorf("%s has mode %o", path, mode)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullDiskIsRefused: before the stores are opened, which would hang.
func TestFullDiskIsRefused(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		free uint64
		err  error
		want string // "" for a start
	}{
		{"nothing free", 0, nil, "disk full: 0 bytes free in "},
		{"too little", startBytesMin - 1, nil, "disk full: 16777215 bytes free in "},
		{"enough", startBytesMin, nil, ""},
		{"unknown", 0, broken, "broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := valid(t)
			c.Cluster.Groups, c.Cluster.Replicas = 1, 1
			n := bare(t, c)
			if err := n.stopParts(t.Context()); err != nil { // start takes the directory itself
				t.Fatal(err)
			}
			n.how.Bootstrap = true
			n.free = func(string) (uint64, error) { return tt.free, tt.err }
			err := n.start(t.Context())
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("start = %v, want %q", err, tt.want)
			}
			if left := names(t, c.DataDir); !slices.Equal(left, []string{"LOCK"}) {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
