package raftgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// gatedTally is a tally that applies nothing while its gate is shut.
type gatedTally struct {
	tally
	gate <-chan struct{}
}

func (m *gatedTally) Apply(w fsm.Writer, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	<-m.gate
	return m.tally.Apply(w, index, payload, dst)
}

func (m *gatedTally) Replay(w fsm.Writer, index uint64, payload []byte) error {
	_, err := m.Apply(w, index, payload, nil)
	return err
}

// pausedStream is a stream that stops after its first bytes until it is let go.
type pausedStream struct {
	io.Reader
	began, open chan struct{}
}

func pause(stream []byte) *pausedStream {
	p := &pausedStream{began: make(chan struct{}), open: make(chan struct{})}
	p.Reader = io.MultiReader(bytes.NewReader(stream[:10]), p.wait(), bytes.NewReader(stream[10:]))
	return p
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (p *pausedStream) wait() io.Reader {
	return readerFunc(func([]byte) (int, error) {
		close(p.began)
		<-p.open
		return 0, io.EOF
	})
}

// taken is a snapshot of a group as its leader sends it.
func (m *member) taken(g shard.GroupID) (*raft.InstallSnapshotRequest, []byte) {
	m.c.t.Helper()
	snap, err := m.host.group(g).machine.state.Snapshot()
	if err != nil {
		m.c.t.Fatal(err)
	}
	stream, err := io.ReadAll(snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		m.c.t.Fatal(err)
	}
	h := snap.Header()
	s, _ := m.host.Status(g)
	return &raft.InstallSnapshotRequest{
		Term: s.Term, LastLogIndex: h.Index, LastLogTerm: h.Term, SnapshotVersion: raft.SnapshotVersionMax,
		Size: int64(len(stream)), Configuration: h.Configuration, ConfigurationIndex: h.ConfigurationIndex,
	}, stream
}

// lone grows the log of a node that does not run by entries of its last term,
// which nobody else has, up to an index.
func (m *member) lone(t *testing.T, g shard.GroupID, upTo uint64) {
	t.Helper()
	log, err := openTestLog(t, m)
	if err != nil {
		t.Fatal(err)
	}
	gl, err := log.Group(g)
	if err != nil {
		t.Fatal(err)
	}
	last := store.LogEntry{Term: 1}
	if i := gl.LastIndex(); i > 0 {
		if err := gl.Entry(i, &last); err != nil {
			t.Fatal(err)
		}
	}
	for i := gl.LastIndex() + 1; i <= upTo; i++ {
		if err := gl.Append([]store.LogEntry{{Index: i, Term: last.Term, Type: uint8(raft.LogNoop)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStaleInstall: the log contradicts a snapshot that begins to arrive. Before
// the stream ends, another leader replaces the rest of the log and counts this
// replica for what it acknowledges. The stream must erase nothing of that, whether
// it is applied or only in the log.
func TestStaleInstall(t *testing.T) {
	for _, applied := range []bool{true, false} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			t.Parallel()
			testStaleInstall(t, applied)
		})
	}
}

func testStaleInstall(t *testing.T, applied bool) {
	t.Helper()
	gate := make(chan struct{})
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "first")
	c.same(1, 1)
	away := c.others(c.leader(1))[0]
	away.kill()
	c.mach = func(m *member, g shard.GroupID) fsm.Machine {
		if m == away && !applied {
			return &gatedTally{tally{group: g, bad: &m.bad}, gate}
		}
		return &tally{group: g, bad: &m.bad}
	}
	c.laterTerm(t)
	c.fill(1, 60, "b")
	lead := c.leader(1)
	rest := c.others(lead)[slices.IndexFunc(c.others(lead), func(m *member) bool { return m != away })]
	eventually(t, "all rows at the leader", func() bool { return len(lead.rows(1)) == 61 })
	m, stream := lead.taken(1)
	rest.kill()
	lead.kill()
	away.lone(t, 1, m.LastLogIndex+50)
	away.start(1)

	// The old leader's snapshot begins to arrive.
	gr := away.host.group(1)
	old := gr.raft.Load()
	p := pause(stream)
	done := make(chan error, 1)
	go func() {
		_, err := gr.install(t.Context(), m, p, func(io.Reader) (*raft.InstallSnapshotResponse, error) {
			return nil, errors.New("passed on to Raft")
		})
		done <- err
	}()
	<-p.began
	// Another leader goes on, with nobody's log but its own and this one.
	lead.start(1)
	for i := range 20 {
		c.put(1, fmt.Sprint("acked", i))
	}
	if applied {
		eventually(t, "the entries to be applied", func() bool { return len(away.rows(1)) == 81 })
	}
	lead.kill()
	close(p.open)
	if !applied { // Raft's end waits for what is being applied
		eventually(t, "the end of the old Raft", func() bool { return old.State() == raft.Shutdown })
		close(gate)
	}
	if err := <-done; err != nil {
		t.Fatalf("install: %v", err)
	}
	rest.start(1)
	c.put(1, "after")
	rows := c.leader(1).rows(1)
	for i := range 20 {
		if s := fmt.Sprint("acked", i); !slices.Contains(rows, s) {
			t.Fatalf("acknowledged entry %q is lost, of %d rows", s, len(rows))
		}
	}
	c.same(1, 82)
}

// TestSnapshotOvertaken: entries may come between the look at the log, after
// which a snapshot goes to Raft, and the moment when Raft swaps it in and empties the
// log. It is refused then.
func TestSnapshotOvertaken(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.fill(1, 20, "a")
	m, stream := c.nodes[0].taken(1)
	for _, tt := range []struct {
		name string
		last uint64
		ok   bool
	}{
		{"the log ends before it", m.LastLogIndex - 1, true},
		{"the log ends with it", m.LastLogIndex, false},
		{"the log goes beyond it", m.LastLogIndex + 5, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := newCluster(t, 1, testConfig()).nodes[0]
			to.start()
			to.kill()
			to.lone(t, 1, tt.last)
			to.start(1)
			gr := to.host.group(1)
			sink, err := gr.snaps.Create(m.SnapshotVersion, m.LastLogIndex, m.LastLogTerm, raft.Configuration{}, m.ConfigurationIndex, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = sink.Write(stream)
			if err = errors.Join(err, sink.Close()); err != nil {
				t.Fatal(err)
			}
			_, rc, err := gr.snaps.Open(sink.ID())
			if err != nil {
				t.Fatal(err)
			}
			err = gr.machine.Restore(rc)
			if (err == nil) != tt.ok {
				t.Errorf("Restore = %v", err)
			}
			if err := rc.Close(); err != nil {
				t.Error(err)
			}
			if got := to.host.Applied(1); (got == m.LastLogIndex) != tt.ok {
				t.Errorf("applied = %d, the snapshot has %d", got, m.LastLogIndex)
			}
		})
	}
}
