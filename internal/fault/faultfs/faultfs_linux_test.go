package faultfs

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/internal/fault"
)

func mount(t *testing.T) (f *FS, backing, dir string) {
	t.Helper()
	if missing := fault.Need(fault.Files); missing != "" {
		t.Skip("SKIPPED: needs ", missing)
	}
	backing, dir = t.TempDir(), t.TempDir()
	f, err := Mount(backing, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f, backing, dir
}

func TestFaults(t *testing.T) {
	f, backing, dir := mount(t)
	w, err := os.OpenFile(filepath.Join(dir, "log-1"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	put := func() error {
		if _, err := w.Write(make([]byte, 4096)); err != nil {
			return err
		}
		return w.Sync()
	}
	tests := []struct {
		name string
		rule *Rule
		want error
	}{
		{"no rule", &Rule{Op: Fsync, Glob: "other", Errno: syscall.EIO}, nil},
		{"fsync fails", &Rule{Op: Fsync, Glob: "log-*", Errno: syscall.EIO}, syscall.EIO},
		{"skips the first", &Rule{Op: Fsync, Glob: "log-*", Errno: syscall.EIO, Skip: 1}, nil},
		{"no space", &Rule{Op: Write, Glob: "*", Errno: syscall.ENOSPC}, syscall.ENOSPC},
		{"slow", &Rule{Op: Fsync, Glob: "*", Delay: 50 * time.Millisecond}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f.Set(tt.rule)
			start := time.Now()
			if err := put(); !errors.Is(err, tt.want) {
				t.Errorf("append = %v, want %v", err, tt.want)
			}
			if d := time.Since(start); d < tt.rule.Delay {
				t.Errorf("append took %v, the rule waits %v", d, tt.rule.Delay)
			}
			f.Clear()
		})
	}
	before, err := os.Stat(filepath.Join(backing, "log-1"))
	if err != nil {
		t.Fatal(err)
	}
	f.Set(&Rule{Op: Write, Glob: "*", Errno: syscall.EIO, Short: 100, Times: 1})
	if err := put(); !errors.Is(err, syscall.EIO) {
		t.Errorf("torn write = %v, want EIO", err)
	}
	after, err := os.Stat(filepath.Join(backing, "log-1"))
	if err != nil || after.Size() != before.Size()+100 {
		t.Errorf("a torn write left %d bytes, %v; want 100", after.Size()-before.Size(), err)
	}
}

func TestCreateAndRenameFail(t *testing.T) {
	f, _, dir := mount(t)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	f.Set(&Rule{Op: Create, Glob: "a", Errno: syscall.ENOSPC, Times: 1}, &Rule{Op: Rename, Glob: "a", Errno: syscall.EIO, Times: 1})
	if err := os.WriteFile(a, []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("create = %v, want ENOSPC", err)
	}
	if err := os.WriteFile(a, []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(a, b); !errors.Is(err, syscall.EIO) {
		t.Errorf("rename = %v, want EIO", err)
	}
	if err := os.Rename(a, b); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(b); err != nil || string(got) != "x" {
		t.Errorf("read = %q, %v", got, err)
	}
}
