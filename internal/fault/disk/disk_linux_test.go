package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chatnode/chatnode/internal/fault"
	"golang.org/x/sys/unix"
)

func newDisk(t *testing.T) *Disk {
	t.Helper()
	if missing := fault.Need(fault.Disks); missing != "" {
		t.Skip("SKIPPED: needs ", missing)
	}
	d, err := New(filepath.Join(t.TempDir(), "image"), t.TempDir(), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// TestCutKeepsWhatWasSynced writes one file with and one without a sync. The
// second is what a store without fsync would lose.
func TestCutKeepsWhatWasSynced(t *testing.T) {
	d := newDisk(t)
	synced, loose := filepath.Join(d.Dir, "synced"), filepath.Join(d.Dir, "loose")
	f, err := os.Create(synced)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("kept "), 1000)
	if _, err := f.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("not synced")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(loose, want, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Cut(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, unix.EIO) {
		t.Errorf("write after the cut: %v, want EIO", err)
	}
	_ = f.Close() // fails, as it may
	if err := d.Restore(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(synced); err != nil || !bytes.Equal(got, want) {
		t.Errorf("synced file: %d bytes, %v; want %d", len(got), err, len(want))
	}
	if got, err := os.ReadFile(loose); err == nil && len(got) > 0 {
		t.Errorf("the file that was not synced survived with %d bytes", len(got))
	}
}

func TestFillAndFree(t *testing.T) {
	d := newDisk(t)
	if err := d.Fill(0); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(d.Dir, "more")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write to a full disk: %v, want ENOSPC", err)
	}
	if err := d.Free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o644); err != nil {
		t.Error(err)
	}
}

// TestRestoreOutlastsCopiesOfTheMount holds the dead file system in another
// mount namespace, where an unmount here does not reach.
func TestRestoreOutlastsCopiesOfTheMount(t *testing.T) {
	d := newDisk(t)
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("SKIPPED: needs the program unshare")
	}
	holder := exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c", "echo held; read line")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = holder.Wait() })
	if _, err := io.ReadFull(out, make([]byte, len("held\n"))); err != nil {
		t.Fatal(err)
	}
	if err := d.Cut(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.unmount(), d.mount()); err != nil {
		t.Fatal(err)
	}
	if err := d.probe(); !errors.Is(err, unix.EIO) {
		t.Fatalf("a new mount beside the copy: %v, want EIO", err)
	}
	restored := make(chan error)
	go func() { restored <- d.Restore() }()
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-restored; err != nil {
		t.Fatal(err)
	}
	if err := d.probe(); err != nil {
		t.Error(err)
	}
}
