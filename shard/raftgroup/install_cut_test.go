package raftgroup

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/shard"
)

// heldHandler holds whoever logs a message that ends so, until it is let go.
type heldHandler struct {
	slog.Handler
	what string
	came func()
	open <-chan struct{}
}

func (h heldHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h heldHandler) WithAttrs(a []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(a)
	return h
}

func (h heldHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasSuffix(r.Message, h.what) {
		h.came()
		<-h.open
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// TestInstallWhileTheLogIsCut: a snapshot comes in while the log is being cut. Raft
// ends the cut with the index at which it began; had the snapshot been swapped in
// before, the replica would forget how far it is, and vote for one that has less.
func TestInstallWhileTheLogIsCut(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	c.put(1, "first")
	c.same(1, 1)
	lead := c.leader(1)
	away := c.others(lead)[0]
	away.kill()
	began, waits, installed, open := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	t.Cleanup(release) // before the nodes are stopped
	c.deps = func(_ *member, d *Deps) {
		h := d.Logger.Handler()
		h = heldHandler{h, "waits for the end of a cut", sync.OnceFunc(func() { close(waits) }), closed()}
		h = heldHandler{h, "raft: Installed remote snapshot", sync.OnceFunc(func() { close(installed) }), closed()}
		d.Logger = slog.New(heldHandler{h, "raft: starting snapshot up to", sync.OnceFunc(func() { close(began) }), open})
	}
	away.start(1)
	c.put(1, "second") // a cut needs something that was applied since the start
	c.same(1, 2)
	c.isolate(away.id, true)
	c.wires.sever(away.id)
	c.fill(1, 200, "a")
	lead.cut(t, 1)

	gr := away.host.group(1)
	done := make(chan error, 1)
	go func() { done <- gr.cut(0) }()
	<-began
	c.isolate(away.id, false)
	select {
	case <-waits:
	case <-installed:
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-installed
	if last, applied := gr.raft.Load().LastIndex(), away.host.Applied(1); last < applied {
		t.Errorf("the replica takes %d for the last index that it has, and its state contains %d", last, applied)
	}
	c.put(1, "last")
	c.same(1, len(lead.rows(1)))
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// sever ends all connections of a node.
func (w *wires) sever(id shard.NodeID) {
	w.mu.Lock()
	var gone []*wire
	for c := range w.conns {
		if slices.Contains(c.ends[:], id) {
			gone = append(gone, c)
		}
	}
	w.mu.Unlock()
	for _, c := range gone {
		_ = c.Close()
	}
}
