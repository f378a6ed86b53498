package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Cut parts a node from the other nodes of a cluster that was spawned with a
// network of its own. With oneWay it does not hear them, but they hear it. The
// load reaches every node meanwhile.
func (t *Target) Cut(n *Node, oneWay bool) error {
	if t.network == nil {
		return errors.New("the cluster has no network of its own")
	}
	return t.network.cut(n.place, oneWay)
}

// Heal takes back every cut.
func (t *Target) Heal() error {
	if t.network == nil {
		return nil
	}
	return t.network.heal()
}

// Replace lets a new node join, removes the old one from the cluster, and
// returns when every group has its replicas again. The old process is ended
// once the cluster knows it no more, and its data is deleted.
func (t *Target) Replace(ctx context.Context, old *Node) (*Node, error) {
	via := t.other(old)
	if old.args == nil || via == nil {
		return nil, errors.New("replace: needs a spawned cluster of several nodes")
	}
	n, err := t.newNode(old.place)
	if err != nil {
		return nil, fmt.Errorf("replace %s: %w", old.ID, err)
	}
	n.args = append([]string{"join", "--peer", via.peer}, n.args...)
	if err := n.Start(); err != nil {
		return nil, err
	}
	t.Nodes[old.place] = n
	t.leaving = old // Close ends it, too
	if err := t.WaitReady(ctx, n); err != nil {
		return nil, err
	}
	if err := t.remove(ctx, via, old.ID); err != nil {
		return nil, fmt.Errorf("remove %s: %w", old.ID, err)
	}
	if err := old.Stop(); err != nil {
		return nil, err
	}
	t.leaving = nil
	if err := t.WaitHealthy(ctx); err != nil {
		return nil, err
	}
	return n, os.RemoveAll(old.Data)
}

// other gives a node that is not n.
func (t *Target) other(n *Node) *Node {
	for _, o := range t.Nodes {
		if o != n {
			return o
		}
	}
	return nil
}

// remove asks for the removal until it is taken, since the moment may have no
// leader, and waits until the node is gone.
func (t *Target) remove(ctx context.Context, via *Node, id string) error {
	asked := false
	var last error
	for {
		if !asked {
			last = t.admin(ctx, http.MethodPost, via.URL+"/v1/admin/remove", map[string]any{"node": id}, nil)
			asked = last == nil
		}
		s, err := t.Status(ctx, via)
		if err == nil && !s.has(id) {
			return nil
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return errors.Join(err, last)
		}
	}
}

func (s Status) has(id string) bool {
	for _, n := range s.Nodes {
		if n.Node == id {
			return true
		}
	}
	return false
}
