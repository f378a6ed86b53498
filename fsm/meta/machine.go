package meta

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// Machine applies the commands of the meta group. It keeps nothing in memory:
// its commands are few and its rows are small.
type Machine struct{}

// New makes the machine.
func New() *Machine { return &Machine{} }

var _ fsm.Machine = (*Machine)(nil)

// Apply implements [fsm.Machine].
func (m *Machine) Apply(w fsm.Writer, _ uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	batch, err := fsm.ReadBatch(payload)
	if err != nil {
		return dst, err
	}
	if batch.Level > fsm.LevelMax {
		return dst, chat.E("apply", chat.UnsupportedVer, "the log holds commands of a newer version", nil)
	}
	for {
		_, cmd, ok := batch.Next()
		if !ok {
			return dst, nil
		}
		res, err := apply(w, cmd)
		if err != nil {
			return dst, err
		}
		dst = append(dst, res)
	}
}

// Replay implements [fsm.Machine].
func (m *Machine) Replay(w fsm.Writer, index uint64, payload []byte) error {
	_, err := m.Apply(w, index, payload, nil)
	return err
}

// SetSink implements [fsm.Machine]. This machine has no events: nodes read the
// map when the applied index moves.
func (m *Machine) SetSink(fsm.Sink) {}

// Reset implements [fsm.Machine].
func (m *Machine) Reset() {}

// Fingerprint implements [fsm.Machine]: a hash of all rows in order.
func (m *Machine) Fingerprint(r fsm.Reader) (chat.Hash, error) {
	h := sha256.New()
	for _, area := range []byte{fsm.AreaGroup, fsm.AreaMeta} {
		lower := fsm.AppendPrefix(nil, uint32(shard.Meta), area)
		upper := fsm.AppendPrefix(nil, uint32(shard.Meta), area+1)
		err := r.Scan(lower, upper, false, func(k, v []byte) (bool, error) {
			val, err := fsm.Open(k, v)
			if err == nil {
				hashField(h, k[fsm.GroupBytes:])
				hashField(h, val)
			}
			return true, err
		})
		if err != nil {
			return chat.Hash{}, err
		}
	}
	return chat.Hash(h.Sum(nil)), nil
}

func hashField(h hash.Hash, b []byte) {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(b)))
	h.Write(n[:]) // a hash never fails
	h.Write(b)    // a hash never fails
}

func apply(w fsm.Writer, cmd []byte) (fsm.Result, error) {
	tag, _, err := fsm.Split(cmd)
	if err != nil {
		return fsm.Result{}, err
	}
	c, known, err := readCluster(w)
	if err != nil {
		return fsm.Result{}, err
	}
	var decoded Command
	if tag != fsm.TagRaiseLevel {
		if decoded, err = Decode(cmd); err != nil {
			return fsm.Result{}, err
		}
	}
	if boot, ok := decoded.(Bootstrap); ok {
		return applyBootstrap(w, boot, c, known)
	}
	if !known {
		return fsm.Refuse(chat.NotFound, "the cluster is not bootstrapped"), nil
	}
	var res fsm.Result
	var changed bool
	switch d := decoded.(type) {
	case nil:
		res, changed, err = applyRaise(w, cmd)
	case JoinNode:
		res, changed, err = applyJoin(w, d, c)
	case UpdateNode:
		res, changed, err = applyUpdate(w, d)
	case SetNodeState:
		res, changed, err = applyState(w, d)
	case RemoveNode:
		res, changed, err = applyRemove(w, d)
	case SetReplicas:
		res, changed, err = applyReplicas(w, d)
	case SetToken:
		changed, c.token = d.Token != c.token, d.Token
	}
	if err != nil || !changed {
		return res, err
	}
	c.epoch++
	return res, set(w, key(rowCluster, ""), c.append(nil))
}

func applyBootstrap(w fsm.Writer, b Bootstrap, c cluster, known bool) (fsm.Result, error) {
	if known {
		if c.id == b.Cluster {
			return fsm.Result{}, nil
		}
		return fsm.Refuse(chat.Exists, "this group belongs to another cluster"), nil
	}
	b.Founder.State = shard.Active
	if b.Groups < 1 || b.Groups > shard.GroupsMax || !shard.ValidCluster(b.Cluster) || b.Founder.Check() != nil {
		return fsm.Refuse(chat.Invalid, "cluster id, number of groups or founder is malformed"), nil //nolint:nilerr // a refusal is a result
	}
	if err := set(w, key(rowNode, string(b.Founder.ID)), b.Founder.Append(nil)); err != nil {
		return fsm.Result{}, err
	}
	for g := range b.Groups + 1 {
		row := shard.Group{Epoch: 1, Replicas: []shard.NodeID{b.Founder.ID}}
		if err := set(w, groupKey(shard.GroupID(g)), row.Append(nil)); err != nil {
			return fsm.Result{}, err
		}
	}
	if err := set(w, key(rowSlots, ""), shard.AppendSlots(nil, 1, shard.Spread(int(b.Groups)))); err != nil {
		return fsm.Result{}, err
	}
	if err := writeLevel(w, fsm.Level1); err != nil {
		return fsm.Result{}, err
	}
	c = cluster{id: b.Cluster, epoch: 1, token: b.Token}
	return fsm.Result{}, set(w, key(rowCluster, ""), c.append(nil))
}

func applyRaise(w fsm.Writer, cmd []byte) (fsm.Result, bool, error) {
	c, err := fsm.Decode(cmd)
	if err != nil {
		return fsm.Result{}, false, err
	}
	raise, ok := c.(fsm.RaiseLevel)
	if !ok {
		return fsm.Result{}, false, fsm.UnknownTag(c.Tag())
	}
	have, err := readLevel(w)
	if err != nil || raise.To <= have {
		return fsm.Result{}, false, err // a level only rises; what is reached is reached
	}
	var behind bool
	err = rows(w, rowNode, func(val []byte) error {
		n, err := shard.DecodeNode(val)
		behind = behind || fsm.Level(n.Level) < raise.To
		return err
	})
	if err != nil {
		return fsm.Result{}, false, err
	}
	if behind {
		return fsm.Refuse(chat.UnsupportedVer, "a node runs a version that cannot read this level"), false, nil
	}
	return fsm.Result{}, true, writeLevel(w, raise.To)
}

func applyReplicas(w fsm.Writer, d SetReplicas) (fsm.Result, bool, error) {
	g, ok, err := readGroup(w, d.Group)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if !ok {
		return fsm.Refuse(chat.NotFound, "no such group"), false, nil
	}
	if slices.Equal(g.Replicas, d.Replicas) {
		return fsm.Result{}, false, nil
	}
	if g.Epoch != d.Epoch {
		return fsm.Refuse(chat.Conflict, "the group's replicas were changed meanwhile"), false, nil
	}
	if len(d.Replicas) < 1 || len(d.Replicas) > shard.ReplicasMax {
		return fsm.Refuse(chat.Invalid, "a group has 1 to 9 replicas"), false, nil
	}
	for i, id := range d.Replicas {
		if slices.Contains(d.Replicas[:i], id) {
			return fsm.Refuse(chat.Invalid, "a node holds at most one replica of a group"), false, nil
		}
		if _, ok, err := readNode(w, id); err != nil || !ok {
			return fsm.Refuse(chat.NotFound, "no such node"), false, err
		}
	}
	g.Replicas, g.Epoch = d.Replicas, g.Epoch+1
	return fsm.Result{}, true, set(w, groupKey(d.Group), g.Append(nil))
}
