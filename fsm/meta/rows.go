package meta

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// The rows of area fsm.AreaMeta, after its prefix. Every value is sealed.
const (
	rowCluster byte = 'c' // one row: cluster id, epoch, token
	rowGroup   byte = 'g' // ‖ group u32 BE
	rowNode    byte = 'n' // ‖ node id
	rowSlots   byte = 's' // one row: runs of slots
	rowRemoved byte = 'x' // ‖ node id that may never come back
)

func key(kind byte, id string) []byte {
	return append(append(fsm.AppendPrefix(nil, uint32(shard.Meta), fsm.AreaMeta), kind), id...)
}

func groupKey(g shard.GroupID) []byte {
	return binary.BigEndian.AppendUint32(key(rowGroup, ""), uint32(g))
}

// get reads a sealed row; the value is a copy.
func get(r fsm.Reader, key []byte) (val []byte, ok bool, err error) {
	val, ok, err = r.Get(key)
	if err != nil || !ok {
		return nil, false, err
	}
	if val, err = fsm.Open(key, val); err != nil {
		return nil, false, err
	}
	return slices.Clone(val), true, nil
}

func set(w fsm.Writer, key, val []byte) error { return w.Set(key, fsm.Seal(key, val)) }

// cluster is the row about the whole.
type cluster struct {
	id    string
	epoch uint64
	token TokenHash
}

func (c *cluster) append(b []byte) []byte {
	b = appendBytes(b, 1, []byte(c.id))
	b = appendUint(b, 2, c.epoch)
	return appendBytes(b, 3, c.token[:])
}

func readCluster(r fsm.Reader) (c cluster, ok bool, err error) {
	val, ok, err := get(r, key(rowCluster, ""))
	if err != nil || !ok {
		return c, false, err
	}
	err = shard.EachField(val, func(num protowire.Number, v uint64, data []byte) (err error) {
		switch num {
		case 1:
			c.id = string(data)
		case 2:
			c.epoch = v
		case 3:
			c.token, err = tokenOf(data)
		}
		return err
	})
	return c, true, corrupt(err)
}

func readNode(r fsm.Reader, id shard.NodeID) (n shard.Node, ok bool, err error) {
	val, ok, err := get(r, key(rowNode, string(id)))
	if err != nil || !ok {
		return n, false, err
	}
	n, err = shard.DecodeNode(val)
	return n, true, corrupt(err)
}

func readGroup(r fsm.Reader, id shard.GroupID) (g shard.Group, ok bool, err error) {
	val, ok, err := get(r, groupKey(id))
	if err != nil || !ok {
		return g, false, err
	}
	g, err = shard.DecodeGroup(val)
	g.ID = id
	return g, true, corrupt(err)
}

func readLevel(r fsm.Reader) (fsm.Level, error) {
	val, ok, err := get(r, fsm.LevelKey(uint32(shard.Meta)))
	switch {
	case err != nil:
		return 0, err
	case !ok:
		return fsm.Level1, nil
	case len(val) != 4:
		return 0, corrupt(errors.New("level row"))
	}
	return fsm.Level(binary.LittleEndian.Uint32(val)), nil
}

func writeLevel(w fsm.Writer, l fsm.Level) error {
	return set(w, fsm.LevelKey(uint32(shard.Meta)), binary.LittleEndian.AppendUint32(nil, uint32(l)))
}

func corrupt(err error) error {
	if err == nil {
		return nil
	}
	return chat.E("read meta row", chat.Corrupt, "a stored row cannot be read", err)
}

// rows calls fn for every sealed row of one kind.
func rows(r fsm.Reader, kind byte, fn func(val []byte) error) error {
	return r.Scan(key(kind, ""), key(kind+1, ""), false, func(k, v []byte) (bool, error) {
		val, err := fsm.Open(k, v)
		if err != nil {
			return false, err
		}
		return true, fn(val)
	})
}

// Read reads the map. ok is false before the bootstrap.
func Read(r fsm.Reader) (m *shard.Map, ok bool, err error) {
	c, ok, err := readCluster(r)
	if err != nil || !ok {
		return nil, false, err
	}
	level, err := readLevel(r)
	if err != nil {
		return nil, false, err
	}
	out := shard.Map{Cluster: c.id, Epoch: c.epoch, Level: uint32(level)}
	err = errors.Join(
		rows(r, rowNode, func(val []byte) error {
			n, err := shard.DecodeNode(val)
			out.Nodes = append(out.Nodes, n)
			return err
		}),
		rows(r, rowGroup, func(val []byte) error {
			g, err := shard.DecodeGroup(val)
			g.ID = shard.GroupID(min(len(out.Groups), math.MaxUint16))
			out.Groups = append(out.Groups, g)
			return err
		}))
	if err != nil {
		return nil, false, err
	}
	slots, err := readSlots(r)
	if err != nil {
		return nil, false, err
	}
	m, err = shard.New(out, slots)
	return m, err == nil, corrupt(err)
}

func readSlots(r fsm.Reader) ([]shard.GroupID, error) {
	val, _, err := get(r, key(rowSlots, ""))
	if err != nil {
		return nil, err
	}
	slots := make([]shard.GroupID, 0, shard.Slots)
	err = shard.EachField(val, func(_ protowire.Number, v uint64, _ []byte) (err error) {
		slots, err = shard.AddRun(slots, v)
		return err
	})
	return slots, corrupt(err)
}

// Token is the hash of the join token; ok is false before the bootstrap.
func Token(r fsm.Reader) (t TokenHash, ok bool, err error) {
	c, ok, err := readCluster(r)
	return c.token, ok, err
}
