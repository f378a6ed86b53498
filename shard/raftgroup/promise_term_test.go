package raftgroup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
)

// heldFS is a file system whose writes can be held before they reach it.
type heldFS struct {
	seglog.OSFS
	mu sync.Mutex // held to hold the writes
}

func (f *heldFS) Create(path string) (seglog.File, error) { return f.file(f.OSFS.Create(path)) }
func (f *heldFS) Open(path string) (seglog.File, error)   { return f.file(f.OSFS.Open(path)) }

func (f *heldFS) file(inner seglog.File, err error) (seglog.File, error) {
	return heldFile{inner, f}, err
}

type heldFile struct {
	seglog.File
	fs *heldFS
}

func (f heldFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.File.WriteAt(b, off)
}

// TestTermIsPromisedWhenDurable: the log is cut, which promises its term, while Raft
// writes another one. A kill at that moment leaves a directory that starts.
func TestTermIsPromisedWhenDurable(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	fs := new(heldFS)
	c.wrap = func(_ shard.NodeID, l store.Log) store.Log {
		held, err := seglog.Open(filepath.Join(c.nodes[0].dir, "log"), seglog.Options{FS: fs})
		if err = errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		return held
	}
	m := c.nodes[0]
	m.dir = filepath.Join(m.dir, "before")
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.boot(1)
	c.fill(1, 20, "a")
	gr := m.host.group(1)
	s, _ := m.host.Status(1)
	if err := gr.machine.state.Barrier(); err != nil {
		t.Fatal(err)
	}

	fs.mu.Lock()
	release := sync.OnceFunc(fs.mu.Unlock)
	t.Cleanup(release)
	set := make(chan error, 1)
	go func() { set <- gr.logs.SetUint64(termKey, s.Term+1) }()
	want := binary.BigEndian.AppendUint64(nil, s.Term+1)
	eventually(t, "the term to be on its way", func() bool {
		v, err := gr.logs.log.Get(termKey)
		return err == nil && bytes.Equal(v, want)
	})
	gr.promiseLog()
	after := filepath.Join(filepath.Dir(m.dir), "after")
	if err := os.CopyFS(after, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	m.kill()
	m.dir, c.wrap = after, nil
	m.start(1)
	c.put(1, "after")
	c.same(1, 21)
}
