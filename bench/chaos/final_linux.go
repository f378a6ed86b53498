package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/internal/check"
	"github.com/chatnode/chatnode/wire"
)

// final reads every conversation from every node.
func (l *load) final(ctx context.Context) ([]check.Final, error) {
	var res []check.Final
	for _, conv := range l.convs {
		info, err := l.owner.Info(ctx, chat.ConvID(conv))
		if err != nil {
			return nil, fmt.Errorf("head of %s: %w", conv, err)
		}
		f := check.Final{Conv: conv, Replicas: map[string][]check.Entry{}, Roots: map[string]string{"its head": fmt.Sprintf("%x", info.Root[:])}}
		for i, cl := range l.byNode {
			name := l.c.nodes[i].ID()
			log, root, err := readLog(ctx, cl, conv, info.Head)
			if err != nil {
				return nil, fmt.Errorf("final read of %s from %s: %w", conv, name, err)
			}
			f.Replicas[name], f.Roots[name] = log, root
		}
		res = append(res, f)
	}
	return res, nil
}

// readLog reads a whole conversation from the replica of one node, which has to
// have reached head.
func readLog(ctx context.Context, cl *client.Client, conv string, head chat.Seq) ([]check.Entry, string, error) {
	var log []check.Entry
	tree := client.NewTree(chat.ConvID(conv))
	for after := chat.Seq(0); ; {
		page, err := cl.History(ctx, client.Query{Conv: chat.ConvID(conv), Page: wire.After, At: after, Level: wire.Stale, MinSeq: head})
		if err != nil {
			return nil, "", err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			if err := tree.Add(e); err != nil {
				return nil, "", err
			}
			log = append(log, finalEntry(e, tree.Root()))
			after = e.Seq
		}
		if !page.More || len(page.Entries) == 0 {
			root := tree.Root()
			return log, fmt.Sprintf("%x", root.Hash[:]), nil
		}
	}
}

func finalEntry(e *chat.Entry, root client.Root) check.Entry {
	res := check.Entry{Seen: seen(e), MsgID: e.ClientID.String(), Sender: string(e.Sender), Device: string(e.Device), MsgNo: uint64(e.MsgNo),
		Message: e.Type == chat.Message, All: e.Body.Policy == chat.AllHistory, Root: fmt.Sprintf("%x", root.Hash[:])}
	for _, ch := range e.Body.Changes {
		res.Changes = append(res.Changes, check.Change{User: string(ch.User), Role: uint8(ch.Role)})
	}
	return res
}

// checked is what the offline check of a data directory says.
type checked struct {
	Node   string `json:"node"`
	Groups []struct {
		Group   int    `json:"group"`
		Applied uint64 `json:"applied"`
		Hash    string `json:"hash"`
	} `json:"groups"`
}

// hashes stops the nodes in an orderly way and compares what their directories
// hold. The hash covers what clients wrote and not the applied index, which goes
// on by the leaders' own entries until the last node has stopped.
func (c *cluster) hashes(ctx context.Context) ([]check.Hashes, error) {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() {
			if err := n.stop(); err != nil {
				errs[i] = fmt.Errorf("stop %s: %w", n.ID(), err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	reports := map[string]checked{}
	for _, n := range c.nodes {
		out, err := n.command(ctx, "check", n.data(), "--json")
		if err != nil {
			return nil, fmt.Errorf("check of %s: %w", n.ID(), err)
		}
		var report checked
		if err := json.Unmarshal(out, &report); err != nil {
			return nil, fmt.Errorf("check of %s: %w", n.ID(), err)
		}
		if len(report.Groups) == 0 {
			return nil, fmt.Errorf("check of %s names no groups", n.ID())
		}
		reports[n.ID()] = report
	}
	return sideBySide(reports, c.cfg.Groups, c.replicas())
}

// sideBySide puts the hashes of each group together. A group that is not there is in
// accord with every other one, so each has to be in as many directories as it has
// replicas, at least: one that moved may have left another behind.
func sideBySide(reports map[string]checked, count, replicas int) ([]check.Hashes, error) {
	groups := map[int]map[string]string{}
	for node, report := range reports {
		for _, g := range report.Groups {
			if g.Group == 0 {
				continue // the map goes on by itself, as by leaders that are spread
			}
			if g.Hash == "" {
				return nil, fmt.Errorf("check of %s gives no hash of group %d", node, g.Group)
			}
			if groups[g.Group] == nil {
				groups[g.Group] = map[string]string{}
			}
			groups[g.Group][node] = g.Hash
		}
	}
	if len(groups) != count {
		return nil, fmt.Errorf("the directories hold %d groups, want %d", len(groups), count)
	}
	var res []check.Hashes
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		if len(groups[g]) < replicas {
			return nil, fmt.Errorf("group %d is in %d directories, want %d", g, len(groups[g]), replicas)
		}
		res = append(res, check.Hashes{Group: fmt.Sprint(g), Replicas: groups[g]})
	}
	return res, nil
}

// settle is the liveness phase: with everything healed, every worker has to get
// one more message into each conversation, every subscriber to the end, and every
// group to all its replicas.
func (l *load) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Liveness)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(l.workers))
	for i, w := range l.workers {
		wg.Go(func() { errs[i] = w.sendEverywhere(ctx) })
	}
	wg.Wait()
	if bad := slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(bad) > 0 {
		return fmt.Errorf("liveness: %d of %d clients do not get through within %v after the heal, such as %w",
			len(bad), len(l.workers), l.cfg.Liveness, bad[0])
	}
	if err := l.caughtUp(ctx); err != nil {
		return err
	}
	return l.c.awaitReplicas(ctx, l.c.replicas())
}

// sendEverywhere gets one message into each conversation. A client repeats what
// it is told to repeat by itself; a full disk is reported to the caller, who asks
// again here, since the node has to see by itself that there is space again.
func (w *worker) sendEverywhere(ctx context.Context) error {
	for _, conv := range w.l.convs {
		for {
			got := make(chan error, 1)
			w.send(ctx, conv, func(err error) { got <- err })
			var err error
			select {
			case err = <-got:
			case <-ctx.Done():
				return fmt.Errorf("%s to %s: no answer", w.user, conv)
			}
			if err == nil {
				break
			}
			if chat.CodeOf(err) != chat.DiskFull || ctx.Err() != nil {
				return fmt.Errorf("%s to %s: %w", w.user, conv, err)
			}
			wait(ctx, 200*time.Millisecond)
		}
	}
	return nil
}

// caughtUp waits until every subscription has reached the head of its
// conversation, and marks it as one that had to.
func (l *load) caughtUp(ctx context.Context) error {
	for _, w := range l.workers {
		for _, s := range w.streams {
			err := poll(ctx, fmt.Sprintf("liveness: %s follows %s", w.user, s.conv), func() (bool, string) {
				head := l.head(s.conv)
				return s.reached() >= head, fmt.Sprintf("reached %d of %d (%v)", s.reached(), head, s.sub.Err())
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// drain waits for the operations under way and ends the subscriptions.
func (l *load) drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("operations of the load have no answer and no error")
	}
}
