package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
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
	if c.cfg.Storage.Log, err = storageOf(dir, storage); err != nil {
		return r, err
	}
	r.LogsUnread = c.cfg.Storage.Log == "bolt"
	if err := c.open(); err != nil {
		return r, err
	}
	return r, errors.Join(c.check(ctx, &r), c.state.Close(), c.logs.Close())
}

// storageOf gives the kind of log in a directory, unless it is said.
func storageOf(dir *store.Dir, said string) (string, error) {
	if said != "" {
		if !slices.Contains(logKinds(), said) {
			return "", chat.E("check", chat.Invalid, fmt.Sprintf("%q is no kind of log: %s", said, strings.Join(logKinds(), ", ")), nil)
		}
		return said, nil
	}
	kept, err := storageKept(dir)
	switch {
	case err != nil:
		return "", err
	case len(kept) == 0:
		return Default().Storage.Log, nil
	case len(kept) > 1:
		return "", chat.E("check", chat.Invalid, fmt.Sprintf(
			"the directory has logs of the kinds %s; say which are in use (--storage-log)", strings.Join(kept, " and ")), nil)
	}
	return kept[0], nil
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
	if c.state, err = store.OpenState(c.place(stateDir), store.StateOptions{Number: conv.EntryNumber}); err != nil {
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
		err = c.lookLog(g, st, promise)
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

func (c *checker) lookLog(g *CheckGroup, st *store.GroupState, promise store.Promise) error {
	log, err := c.logs.Group(g.Group)
	if err != nil {
		return err
	}
	g.First, g.Last = log.FirstIndex(), log.LastIndex()
	return raftgroup.CheckLog(log, st, promise)
}

// lookBolt misses a log that the promise knows.
func (c *checker) lookBolt(g shard.GroupID, promise store.Promise) error {
	_, err := os.Stat(raftgroup.BoltFile(c.dir.Join(boltDir), g))
	if errors.Is(err, os.ErrNotExist) {
		return promise.CheckMark(0)
	}
	return err
}
