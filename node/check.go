package node

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// CheckReport is what an offline look at a data directory found.
type CheckReport struct {
	Node       shard.NodeID `json:"node"`
	Cluster    string       `json:"cluster"`
	Sound      bool         `json:"sound"`           // as far as it was read
	Fault      string       `json:"fault,omitempty"` // of the directory as a whole
	LogsUnread bool         `json:"logs_unread"`     // the logs are kept by Bolt: only the state was read
	Groups     []CheckGroup `json:"groups"`
}

// CheckGroup is one group in it.
type CheckGroup struct {
	Group         shard.GroupID `json:"group"`
	First         uint64        `json:"first"` // of the log
	Last          uint64        `json:"last"`
	Applied       uint64        `json:"applied"`
	Term          uint64        `json:"term"`
	Conversations int           `json:"conversations"`
	Entries       int           `json:"entries"`
	Hash          string        `json:"hash"`  // of the whole logical state at Applied
	Fault         string        `json:"fault"` // what is damaged, "" for nothing
}

// The stable values that a start compares with the promise, by the names that the
// Raft host gives them. Were they others, no directory would be sound.
const (
	markKey = "chatnode/mark"
	termKey = "CurrentTerm"
)

// Check verifies the data directory of a stopped node by the rules of a start, and
// changes no content. The files are opened as the node would open them, so they
// have to be writable; what is missing counts as empty and is not made. Logs in
// Bolt's files are not read.
func Check(ctx context.Context, path, storage string) (r CheckReport, err error) {
	if _, err := os.Stat(path); err != nil {
		return r, err
	}
	dir, err := store.OpenDir(path)
	if err != nil {
		return r, err
	}
	defer dir.Close() //nolint:errcheck // the lock ends with the process at the latest
	id, ok := dir.Identity()
	if !ok {
		return r, chat.E("check", chat.Invalid, path+" is not the data directory of a node that has joined a cluster", nil)
	}
	r.Node, r.Cluster = id.Node, id.Cluster
	scratch, err := os.MkdirTemp("", "chatnode-check-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	c := checker{self: id.Node, dir: dir, cfg: Default(), scratch: scratch}
	if c.cfg.Storage.Log = storage; storage == "" {
		c.cfg.Storage.Log = storageFound(dir)
	}
	r.LogsUnread = c.cfg.Storage.Log == "bolt"
	if err := c.open(); err != nil {
		return r, err
	}
	return r, errors.Join(c.check(ctx, &r), c.state.Close(), c.logs.Close())
}

// checker is an open data directory.
type checker struct {
	self    shard.NodeID
	dir     *store.Dir
	cfg     Config
	scratch string // stands in for directories that are missing
	logs    store.Log
	state   *store.State
}

func (c *checker) open() (err error) {
	if c.logs, err = openLog(c.cfg, c.place, store.LogOptions{}); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if c.state, err = store.OpenState(c.place(stateDir), store.StateOptions{}); err != nil {
		return errors.Join(fmt.Errorf("open the state: %w", err), c.logs.Close())
	}
	return nil
}

// place gives the path of a directory, or that of an empty one when it is missing.
func (c *checker) place(name string) string {
	path := c.dir.Join(name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return filepath.Join(c.scratch, name)
	}
	return path
}

func (c *checker) check(ctx context.Context, r *CheckReport) error {
	m, err := readMapFile(c.dir.Path())
	if err != nil {
		return err
	}
	_, unfinished, err := readPending(c.dir.Path())
	if err != nil {
		return err
	}
	r.Sound = true
	for _, g := range groupsOf(c.self, m, c.dir, c.logs) {
		if err := ctx.Err(); err != nil {
			return err
		}
		one := CheckGroup{Group: g}
		if err := c.look(&one); err != nil {
			one.Fault, r.Sound = err.Error(), false
		}
		r.Groups = append(r.Groups, one)
	}
	// Who joins keeps the map before the identity, and who founds has a plan until
	// the meta group is there.
	if m == nil && !unfinished && len(r.Groups) == 0 {
		r.Fault, r.Sound = "it has an identity and neither a map of the cluster nor a replica: its content is gone", false
	}
	return nil
}

func storageFound(dir *store.Dir) string {
	for kind, name := range map[string]string{"pebble": pebbleDir, "bolt": boltDir} {
		if _, err := os.Stat(dir.Join(name)); err == nil {
			return kind
		}
	}
	return "segment"
}

// groupsOf lists the groups that the directory knows of: by its map, if there is
// one, by its promises, and by its log.
func groupsOf(self shard.NodeID, m *shard.Map, dir *store.Dir, logs store.Log) []shard.GroupID {
	known := make(map[shard.GroupID]bool)
	if m != nil {
		for i := range m.Groups {
			known[m.Groups[i].ID] = m.Groups[i].Has(self)
		}
	}
	for _, g := range dir.Promised() {
		known[g] = true
	}
	for _, g := range logs.Groups() {
		known[g] = true
	}
	var all []shard.GroupID
	for g := range shard.GroupID(shard.GroupsMax + 1) {
		if known[g] {
			all = append(all, g)
		}
	}
	return all
}

func (c *checker) look(g *CheckGroup) error {
	st, err := c.state.Group(g.Group)
	if err != nil {
		return err
	}
	g.Applied, g.Term = st.Applied()
	promise, _ := c.dir.Promise(g.Group)
	if c.cfg.Storage.Log == "bolt" {
		err = c.lookBolt(g.Group, promise)
	} else {
		err = c.lookLog(g, promise)
	}
	if err != nil {
		return err
	}
	v, err := st.View()
	if err != nil {
		return err
	}
	defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
	var machine fsm.Machine = meta.New()
	if g.Group != shard.Meta {
		machine = conv.New(uint32(g.Group), nil)
		verified, err := conv.Verify(v, uint32(g.Group))
		if err != nil {
			return err
		}
		g.Conversations, g.Entries = verified.Conversations, int(verified.Entries)
	}
	hash, err := machine.Fingerprint(v)
	if err != nil {
		return err
	}
	g.Hash = hex.EncodeToString(hash[:])
	return nil
}

// lookLog reads every entry, which verifies its checksum, and compares the log
// with the promise and the state as a start does.
func (c *checker) lookLog(g *CheckGroup, promise store.Promise) error {
	log, err := c.logs.Group(g.Group)
	if err != nil {
		return err
	}
	g.First, g.Last = log.FirstIndex(), log.LastIndex()
	mark, err := stable(log, markKey)
	if err != nil {
		return err
	}
	if err := promise.CheckMark(mark); err != nil {
		return err
	}
	term, err := stable(log, termKey)
	if err != nil {
		return err
	}
	if err := promise.Check(term, max(g.Last, g.Applied)); err != nil {
		return err
	}
	if g.First == 0 {
		return nil
	}
	// A start drops a log that ends before its state, and goes on from the state.
	if g.First > g.Applied+1 {
		return fmt.Errorf("the log begins at %d and the state ends at %d: entries are missing", g.First, g.Applied)
	}
	var e store.LogEntry
	for i := g.First; i <= g.Last; i++ {
		if err := log.Entry(i, &e); err != nil {
			return fmt.Errorf("log entry %d: %w", i, err)
		}
	}
	return nil
}

// lookBolt misses a log that the promise knows.
func (c *checker) lookBolt(g shard.GroupID, promise store.Promise) error {
	_, err := os.Stat(c.dir.Join(filepath.Join(boltDir, fmt.Sprintf("group-%d.bolt", g))))
	if errors.Is(err, os.ErrNotExist) {
		return promise.CheckMark(0)
	}
	return err
}

// stable reads a number among a log's stable values, 0 for none.
func stable(log store.GroupLog, key string) (uint64, error) {
	b, err := log.Get([]byte(key))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil
	case err == nil && len(b) != 8:
		err = store.ErrCorrupt
	}
	if err != nil {
		return 0, fmt.Errorf("stable value %s: %w", key, err)
	}
	return binary.BigEndian.Uint64(b), nil
}
