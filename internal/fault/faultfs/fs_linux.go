package faultfs

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FS is one mount.
type FS struct {
	server *fuse.Server

	mu    sync.RWMutex // guards rules; a rule itself is safe for concurrent use
	rules []*Rule
}

// Mount shows the directory backing at dir.
func Mount(backing, dir string) (*FS, error) {
	f := &FS{}
	root, err := fs.NewLoopbackRoot(backing)
	if err != nil {
		return nil, err
	}
	top := f.wrap(root)
	zero := time.Duration(0)
	server, err := fs.Mount(dir, top, &fs.Options{
		AttrTimeout: &zero, EntryTimeout: &zero,
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "faultfs", Name: "faultfs", AllowOther: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	f.server = server
	return f, nil
}

// Close unmounts; the process that used the mount must be gone.
func (f *FS) Close() error {
	f.Clear()
	return f.server.Unmount()
}

// node is a file or directory: the one below with faults in front of it.
type node struct {
	*fs.LoopbackNode
	f *FS
}

func (f *FS) wrap(below fs.InodeEmbedder) *node {
	return &node{LoopbackNode: below.(*fs.LoopbackNode), f: f} // loopback makes no other kind
}

// WrapChild puts the faults in front of each node that is looked up or made.
func (n *node) WrapChild(_ context.Context, below fs.InodeEmbedder) fs.InodeEmbedder {
	return n.f.wrap(below)
}

func (n *node) path(name string) string { return filepath.Join(n.Path(nil), name) }

// Open gives a handle that reaches this process for each read and write.
func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fl, e := n.LoopbackNode.Open(ctx, flags)
	if e != 0 {
		return nil, 0, e
	}
	return &file{inner: h, f: n.f, path: n.path("")}, fl, 0
}

// Create makes a file, unless a rule forbids it.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if r := n.f.act(Create, name); r != nil {
		return nil, nil, 0, r.Errno
	}
	in, h, fl, e := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if e != 0 {
		return nil, nil, 0, e
	}
	return in, &file{inner: h, f: n.f, path: n.path(name)}, fl, 0
}

// Rename moves a file, unless a rule forbids it.
func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if r := n.f.act(Rename, name); r != nil {
		return r.Errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
}

// Fsync syncs a file; a directory is synced by the file system below.
func (n *node) Fsync(ctx context.Context, h fs.FileHandle, flags uint32) syscall.Errno {
	if h, ok := h.(*file); ok {
		return h.Fsync(ctx, flags)
	}
	return 0
}
