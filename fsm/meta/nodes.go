package meta

import (
	"crypto/subtle"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

func applyJoin(w fsm.Writer, d JoinNode, c cluster) (fsm.Result, bool, error) {
	if subtle.ConstantTimeCompare(d.Token[:], c.token[:]) != 1 {
		return fsm.Refuse(chat.BadToken, "the join token is not this cluster's"), false, nil
	}
	d.Node.State = shard.Active
	if d.Node.Check() != nil {
		return fsm.Refuse(chat.Invalid, "the node's id, addresses or zone are malformed"), false, nil //nolint:nilerr // a refusal is a result
	}
	if _, gone, err := get(w, key(rowRemoved, string(d.Node.ID))); err != nil || gone {
		return fsm.Refuse(chat.Exists, "this node id was removed from the cluster; join with another one and an empty data directory"), false, err
	}
	old, ok, err := readNode(w, d.Node.ID)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if ok && old.Incarnation != d.Node.Incarnation {
		return fsm.Refuse(chat.Exists, "this node id is in use by another data directory; choose another one"), false, nil
	}
	if ok {
		d.Node.State = old.State
	} else if full, err := nodesFull(w); err != nil || full {
		return fsm.Refuse(chat.MemberLimit, "the cluster has as many nodes as it can have"), false, err
	}
	if taken, err := addressTaken(w, &d.Node); err != nil || taken {
		return fsm.Refuse(chat.Conflict, "another node has this peer address"), false, err
	}
	level, err := readLevel(w)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if fsm.Level(d.Node.Level) < level {
		return fsm.Refuse(chat.UnsupportedVer, "this node's version is older than the cluster's level"), false, nil
	}
	if ok && old == d.Node {
		return fsm.Result{}, false, nil
	}
	return fsm.Result{}, true, set(w, key(rowNode, string(d.Node.ID)), d.Node.Append(nil))
}

func applyUpdate(w fsm.Writer, d UpdateNode) (fsm.Result, bool, error) {
	old, ok, err := readNode(w, d.Node.ID)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if !ok || old.Incarnation != d.Node.Incarnation {
		return fsm.Refuse(chat.NotFound, "this node is no member of the cluster"), false, nil
	}
	d.Node.State = old.State
	if d.Node.Check() != nil {
		return fsm.Refuse(chat.Invalid, "the node's addresses or zone are malformed"), false, nil //nolint:nilerr // a refusal is a result
	}
	if taken, err := addressTaken(w, &d.Node); err != nil || taken {
		return fsm.Refuse(chat.Conflict, "another node has this peer address"), false, err
	}
	level, err := readLevel(w)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if fsm.Level(d.Node.Level) < level {
		return fsm.Refuse(chat.UnsupportedVer, "this node's version is older than the cluster's level"), false, nil
	}
	if old == d.Node {
		return fsm.Result{}, false, nil
	}
	return fsm.Result{}, true, set(w, key(rowNode, string(d.Node.ID)), d.Node.Append(nil))
}

func applyState(w fsm.Writer, d SetNodeState) (fsm.Result, bool, error) {
	if d.State != shard.Active && d.State != shard.Leaving {
		return fsm.Refuse(chat.Invalid, "no such state of a node"), false, nil
	}
	n, ok, err := readNode(w, d.ID)
	if err != nil || !ok {
		return fsm.Refuse(chat.NotFound, "no such node"), false, err
	}
	if n.State == d.State {
		return fsm.Result{}, false, nil
	}
	n.State = d.State
	return fsm.Result{}, true, set(w, key(rowNode, string(d.ID)), n.Append(nil))
}

func applyRemove(w fsm.Writer, d RemoveNode) (fsm.Result, bool, error) {
	_, ok, err := readNode(w, d.ID)
	if err != nil {
		return fsm.Result{}, false, err
	}
	if !ok {
		_, gone, err := get(w, key(rowRemoved, string(d.ID)))
		if err != nil || gone {
			return fsm.Result{}, false, err
		}
		return fsm.Refuse(chat.NotFound, "no such node"), false, nil
	}
	var holds bool
	err = rows(w, rowGroup, func(val []byte) error {
		g, err := shard.DecodeGroup(val)
		holds = holds || g.Has(d.ID)
		return err
	})
	if err != nil {
		return fsm.Result{}, false, err
	}
	if holds {
		return fsm.Refuse(chat.Conflict, "the node still holds replicas; let it leave first"), false, nil
	}
	if err := w.Delete(key(rowNode, string(d.ID))); err != nil {
		return fsm.Result{}, false, err
	}
	return fsm.Result{}, true, set(w, key(rowRemoved, string(d.ID)), nil)
}

func nodesFull(w fsm.Writer) (bool, error) {
	n := 0
	err := rows(w, rowNode, func([]byte) error { n++; return nil })
	return n >= shard.NodesMax, err
}

func addressTaken(w fsm.Writer, n *shard.Node) (taken bool, err error) {
	err = rows(w, rowNode, func(val []byte) error {
		other, err := shard.DecodeNode(val)
		taken = taken || other.ID != n.ID && other.Peer == n.Peer
		return err
	})
	return taken, err
}
