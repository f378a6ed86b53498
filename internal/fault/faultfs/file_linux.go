package faultfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// file is an open file. It hides the descriptor that the inner handle would
// offer the kernel for reading and writing past this process.
type file struct {
	inner fs.FileHandle
	f     *FS
	path  string
}

func (h *file) Read(ctx context.Context, b []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if r := h.f.act(Read, h.path); r != nil {
		return nil, r.Errno
	}
	return h.inner.(fs.FileReader).Read(ctx, b, off)
}

func (h *file) Write(ctx context.Context, b []byte, off int64) (uint32, syscall.Errno) {
	if r := h.f.act(Write, h.path); r != nil {
		if r.Short > 0 && r.Short < len(b) {
			_, _ = h.inner.(fs.FileWriter).Write(ctx, b[:r.Short], off) // the write fails either way
		}
		return 0, r.Errno
	}
	return h.inner.(fs.FileWriter).Write(ctx, b, off)
}

func (h *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if r := h.f.act(Fsync, h.path); r != nil {
		return r.Errno
	}
	return h.inner.(fs.FileFsyncer).Fsync(ctx, flags)
}

func (h *file) Flush(ctx context.Context) syscall.Errno { return h.inner.(fs.FileFlusher).Flush(ctx) }

func (h *file) Release(ctx context.Context) syscall.Errno {
	return h.inner.(fs.FileReleaser).Release(ctx)
}

func (h *file) Getattr(ctx context.Context, out *fuse.AttrOut) syscall.Errno {
	return h.inner.(fs.FileGetattrer).Getattr(ctx, out)
}

func (h *file) Setattr(ctx context.Context, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return h.inner.(fs.FileSetattrer).Setattr(ctx, in, out)
}

func (h *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return h.inner.(fs.FileAllocater).Allocate(ctx, off, size, mode)
}

func (h *file) Getlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32, out *fuse.FileLock) syscall.Errno {
	return h.inner.(fs.FileGetlker).Getlk(ctx, owner, lk, flags, out)
}

func (h *file) Setlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	return h.inner.(fs.FileSetlker).Setlk(ctx, owner, lk, flags)
}

func (h *file) Setlkw(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	return h.inner.(fs.FileSetlkwer).Setlkw(ctx, owner, lk, flags)
}
