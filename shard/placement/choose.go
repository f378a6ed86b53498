package placement

import (
	"slices"

	"github.com/chatnode/chatnode/shard"
)

// choose gives the nodes that shall hold the group's replicas: of those that
// have one, the fit; then others; then those that are silent for the moment. A
// move for the sake of zones or of balance shows as one node too many in the
// map, which a later round takes for the better one.
func (p *planner) choose(g *shard.Group) []shard.NodeID {
	copies := p.copies(g.ID)
	var keep, silent, leaving []shard.NodeID
	for _, id := range g.Replicas {
		switch n, ok := p.v.Map.Node(id); {
		case !ok:
		case n.State != shard.Active:
			leaving = append(leaving, id)
		case p.dead(id):
			silent = append(silent, id)
		default:
			keep = append(keep, id)
		}
	}
	for len(keep) > copies {
		keep = p.without(keep, g.ID)
	}
	room := shard.ReplicasMax - len(g.Replicas)
	for len(keep) < copies {
		id, ok := p.best(keep, g.Replicas)
		if !ok {
			break
		}
		if !g.Has(id) {
			if room == 0 {
				keep = p.fill(keep, leaving, copies)
				break
			}
			room--
		}
		keep = append(keep, id)
	}
	for _, id := range silent {
		if len(keep) < copies {
			keep = append(keep, id)
		}
	}
	if moving := len(g.Replicas) > copies; !moving && len(keep) == copies && len(silent)+len(leaving) == 0 {
		if id, ok := p.better(keep, g); ok {
			keep = append(keep, id)
		}
	}
	return keep
}

// fill keeps nodes that leave for the moment: the map has no room to replace all
// at once, and the places of the others come free first. Those that are up are of
// more use meanwhile.
func (p *planner) fill(keep, leaving []shard.NodeID, copies int) []shard.NodeID {
	slices.SortStableFunc(leaving, func(a, b shard.NodeID) int { return btoi(p.up(b)) - btoi(p.up(a)) })
	for _, id := range leaving {
		if len(keep) < copies {
			keep = append(keep, id)
		}
	}
	return keep
}

// without leaves out the node that is missed least: of a zone that is there
// twice, then the one with most replicas; but a node that is down rather than
// one that is up. The earliest goes first, so that a move ends.
func (p *planner) without(keep []shard.NodeID, g shard.GroupID) []shard.NodeID {
	worst := 0
	for i := 1; i < len(keep); i++ {
		if p.worse(keep, i, worst, g) {
			worst = i
		}
	}
	return slices.Delete(slices.Clone(keep), worst, worst+1)
}

func (p *planner) worse(keep []shard.NodeID, i, than int, g shard.GroupID) bool {
	a, b := keep[i], keep[than]
	if ua, ub := p.up(a), p.up(b); ua != ub {
		return !ua
	}
	if za, zb := p.shared(keep, a), p.shared(keep, b); za != zb {
		return za
	}
	return g != shard.Meta && p.load[a] > p.load[b]
}

// shared reports whether another node of the set is in id's zone.
func (p *planner) shared(set []shard.NodeID, id shard.NodeID) bool {
	return slices.ContainsFunc(set, func(o shard.NodeID) bool { return o != id && p.zone(o) == p.zone(id) })
}

// best is the live node with the fewest replicas that is not in the set, of a
// zone that is not in it when there is one.
func (p *planner) best(set, not []shard.NodeID) (best shard.NodeID, ok bool) {
	for _, id := range p.active {
		if !p.up(id) || slices.Contains(set, id) || slices.Contains(not, id) && p.dead(id) {
			continue
		}
		if !ok || p.preferred(set, id, best) {
			best, ok = id, true
		}
	}
	return best, ok
}

func (p *planner) preferred(set []shard.NodeID, a, b shard.NodeID) bool {
	if za, zb := p.shared(set, a), p.shared(set, b); za != zb {
		return !za
	}
	return p.load[a] < p.load[b]
}

// better is a node that would serve the group's zones or the balance of nodes
// better than one that it has.
func (p *planner) better(keep []shard.NodeID, g *shard.Group) (shard.NodeID, bool) {
	doubled := slices.ContainsFunc(keep, func(id shard.NodeID) bool { return p.shared(keep, id) })
	if !p.steady(g) {
		return "", false
	}
	id, ok := p.best(keep, nil)
	if !ok {
		return "", false
	}
	if p.shared(keep, id) {
		// It brings no zone. It may still take the place of its own zone's node.
		if !doubled && g.ID != shard.Meta {
			for _, old := range keep {
				if p.zone(old) == p.zone(id) && p.load[old]-p.load[id] >= 2 {
					return id, true
				}
			}
		}
		return "", false
	}
	if doubled {
		return id, true
	}
	if g.ID == shard.Meta {
		return "", false
	}
	return id, slices.ContainsFunc(keep, func(old shard.NodeID) bool { return p.load[old]-p.load[id] >= 2 })
}

// steady reports whether the group is as the map says: every replica votes and
// is up.
func (p *planner) steady(g *shard.Group) bool {
	c := p.v.Group[g.ID]
	for _, id := range g.Replicas {
		if !p.up(id) || !slices.Contains(c.Voters, id) {
			return false
		}
	}
	return len(c.Voters) == len(g.Replicas)
}
