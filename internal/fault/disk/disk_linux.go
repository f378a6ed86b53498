package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is one file system in a file.
type Disk struct {
	Dir   string // where it is mounted
	image string
}

// unmountWait bounds how long Restore waits for the last file of a killed
// process to be closed.
const unmountWait = 30 * time.Second

// New makes a disk of size bytes in the file image and mounts it on dir.
func New(image, dir string, size int64) (*Disk, error) {
	f, err := os.Create(image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	if err := run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return nil, err
	}
	d := &Disk{Dir: dir, image: image}
	return d, d.mount()
}

func (d *Disk) mount() error {
	return run("mount", "-o", "loop,commit=600,data=ordered", d.image, d.Dir)
}

func run(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// goingNoLogFlush drops the journal's unwritten part with everything else.
const (
	ext4IOCShutdown = 0x8004587d
	goingNoLogFlush = 2
)

// Cut is the power failure: from here on every call on the file system fails and
// what was not synced is lost. Kill the process that uses it.
func (d *Disk) Cut() error {
	f, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var flag [4]byte
	binary.NativeEndian.PutUint32(flag[:], goingNoLogFlush)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ext4IOCShutdown, uintptr(unsafe.Pointer(&flag))); e != 0 {
		return fmt.Errorf("cut the power of %s: %w", d.Dir, e)
	}
	return nil
}

// Restore brings back what survived. The process must be gone.
//
// The file system without power lives on while anything holds it: a process
// that entered a mount namespace of its own for a moment, as "ip netns exec"
// does, holds a copy of every mount. A new mount would then show it again, so
// this mounts until files can be made.
func (d *Disk) Restore() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(unmountWait); ; <-tick.C {
		if err := errors.Join(d.unmount(), d.mount()); err != nil {
			return err
		}
		err := d.probe()
		if err == nil || errors.Is(err, unix.ENOSPC) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s stays without power: %w", d.Dir, err)
		}
	}
}

// probe makes a file and takes it away.
func (d *Disk) probe() error {
	name := filepath.Join(d.Dir, ".probe")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(name))
}

func (d *Disk) unmount() error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(unmountWait); ; <-tick.C {
		err := unix.Unmount(d.Dir, 0)
		if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: not mounted
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("unmount %s (is its process still there?): %w", d.Dir, err)
		}
	}
}

func (d *Disk) filler() string { return filepath.Join(d.Dir, ".filler") }

// Fill takes the free space but for the given rest, so that writes fail with
// ENOSPC soon.
func (d *Disk) Fill(rest int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		return err
	}
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	// Some of what is free is needed to describe the file, so take it in ever
	// smaller pieces.
	at := int64(0)
	for piece := int64(st.Bfree)*st.Bsize - rest; piece >= st.Bsize; {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, piece); {
		case err == nil:
			at += piece
			piece = min(piece, int64(st.Bfree)*st.Bsize-rest-at)
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		default:
			return fmt.Errorf("fill %s: %w", d.Dir, err)
		}
	}
	return nil
}

// Free gives the space back.
func (d *Disk) Free() error { return os.Remove(d.filler()) }

// Close unmounts the disk. Its file stays.
func (d *Disk) Close() error { return d.unmount() }
