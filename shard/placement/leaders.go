package placement

import (
	"slices"

	"github.com/chatnode/chatnode/shard"
)

// Spread gives the one transfer that makes the leaders most even, if any. It
// counts conversation groups only; the meta group may be led anywhere.
func Spread(v *View, r Rules) (Step, bool) {
	p := &planner{v: v, r: r}
	p.measure()
	leads := make(map[shard.NodeID]int)
	for i := range v.Map.Groups {
		if c, ok := v.Group[shard.GroupID(i)]; ok && i != int(shard.Meta) {
			leads[c.Leader]++
		}
	}
	var best Step
	gain := 1 // a difference of one is even
	for i := 1; i < len(v.Map.Groups); i++ {
		g := shard.GroupID(i)
		c, ok := v.Group[g]
		if !ok {
			continue
		}
		for _, to := range c.Voters {
			d := leads[c.Leader] - leads[to]
			if d > gain && slices.Contains(p.active, to) && p.mayLead(to, g, &c) {
				best, gain = Step{Kind: Transfer, Group: g, Node: to}, d
			}
		}
	}
	return best, gain > 1
}
