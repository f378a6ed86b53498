package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

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
	Sound      bool         `json:"sound"`       // as far as it was read
	LogsUnread bool         `json:"logs_unread"` // the logs are kept by Bolt: only the state was read
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

// Check verifies the data directory of a stopped node and changes nothing in
// it that matters: the files are opened as the node would open them. Logs in Bolt's
// files are not read.
func Check(ctx context.Context, path, storage string) (CheckReport, error) {
	var r CheckReport
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
	r.Node, r.Cluster, r.Sound = id.Node, id.Cluster, true
	cfg := Default()
	if cfg.Storage.Log = storage; storage == "" {
		cfg.Storage.Log = storageFound(dir)
	}
	r.LogsUnread = cfg.Storage.Log == "bolt"
	m, err := readMapFile(path)
	if err != nil {
		return r, err
	}
	logs, err := openLog(cfg, dir, store.LogOptions{})
	if err != nil {
		return r, fmt.Errorf("open the log: %w", err)
	}
	state, err := store.OpenState(dir.Join(stateDir), store.StateOptions{})
	if err != nil {
		return r, errors.Join(fmt.Errorf("open the state: %w", err), logs.Close())
	}
	for _, g := range groupsOf(id.Node, m, dir, logs) {
		if err := ctx.Err(); err != nil {
			return r, errors.Join(err, state.Close(), logs.Close())
		}
		one := checkGroup(g, logs, state, dir)
		r.Sound = r.Sound && one.Fault == ""
		r.Groups = append(r.Groups, one)
	}
	return r, errors.Join(state.Close(), logs.Close())
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

func checkGroup(g shard.GroupID, logs store.Log, state *store.State, dir *store.Dir) CheckGroup {
	out := CheckGroup{Group: g}
	if err := out.look(logs, state, dir); err != nil {
		out.Fault = err.Error()
	}
	return out
}

func (c *CheckGroup) look(logs store.Log, state *store.State, dir *store.Dir) error {
	st, err := state.Group(c.Group)
	if err != nil {
		return err
	}
	c.Applied, c.Term = st.Applied()
	if err := c.lookLog(logs); err != nil {
		return err
	}
	if p, ok := dir.Promise(c.Group); ok && c.Last != 0 {
		if err := p.Check(max(c.Term, p.Term), max(c.Last, c.Applied)); err != nil {
			return err
		}
	}
	v, err := st.View()
	if err != nil {
		return err
	}
	defer v.Close() //nolint:errcheck // a view holds nothing that could be lost
	var machine fsm.Machine = meta.New()
	if c.Group != shard.Meta {
		machine = conv.New(uint32(c.Group), nil)
		verified, err := conv.Verify(v, uint32(c.Group))
		if err != nil {
			return err
		}
		c.Conversations, c.Entries = verified.Conversations, int(verified.Entries)
	}
	hash, err := machine.Fingerprint(v)
	if err != nil {
		return err
	}
	c.Hash = hex.EncodeToString(hash[:])
	return nil
}

// lookLog reads every entry, which verifies its checksum, and the batches in
// them.
func (c *CheckGroup) lookLog(logs store.Log) error {
	log, err := logs.Group(c.Group)
	if err != nil {
		return err
	}
	c.First, c.Last = log.FirstIndex(), log.LastIndex()
	if c.First == 0 {
		return nil
	}
	var e store.LogEntry
	for i := c.First; i <= c.Last; i++ {
		if err := log.Entry(i, &e); err != nil {
			return fmt.Errorf("log entry %d: %w", i, err)
		}
	}
	return nil
}
