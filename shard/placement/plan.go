package placement

import (
	"slices"
	"time"

	"github.com/chatnode/chatnode/shard"
)

// View is what the planner knows.
type View struct {
	Map   *shard.Map
	Nodes map[shard.NodeID]NodeView   // absent: never heard of
	Group map[shard.GroupID]GroupView // absent: no leader reports
}

// NodeView is what is known of a node.
type NodeView struct {
	Up      bool
	Ending  bool                     // it is up and about to stop
	DownFor time.Duration            // since it answered last
	Runs    map[shard.GroupID]uint64 // last log index of each replica that it runs
}

// GroupView is what a group's leader reports.
type GroupView struct {
	Leader    shard.NodeID
	Commit    uint64
	Voters    []shard.NodeID
	Nonvoters []shard.NodeID
}

// Rules are what the planner aims at. Start from [DefaultRules].
type Rules struct {
	Replicas   int           // of each conversation group, when there are nodes enough
	MetaVoters int           // at most
	DeadAfter  time.Duration // a node that is silent for as long is replaced, when there is another
	LagMax     uint64        // log entries behind which a replica still counts as caught up
	MovesMax   int           // groups that are changed in one round
}

// DefaultRules are three replicas and up to five voters of the meta group.
func DefaultRules() Rules {
	return Rules{Replicas: 3, MetaVoters: 5, DeadAfter: 10 * time.Minute, LagMax: 256, MovesMax: 16}
}

// Step is one thing to do.
type Step struct {
	Kind     StepKind
	Group    shard.GroupID
	Node     shard.NodeID
	Epoch    uint64         // Assign: of the group, as the plan saw it
	Replicas []shard.NodeID // Assign: the new set in the map
}

// StepKind is the kind of a step.
type StepKind uint8

// The kinds of steps.
const (
	Assign   StepKind = 1 // change the group's replicas in the map
	Add      StepKind = 2 // as a non-voter
	Promote  StepKind = 3
	Drop     StepKind = 4 // out of the configuration
	Transfer StepKind = 5 // the leadership to Node
	Forget   StepKind = 6 // the node leaves the cluster
)

// Plan gives the next steps, at most one for each group and MovesMax in all.
func Plan(v *View, r Rules) []Step {
	p := &planner{v: v, r: r}
	p.measure()
	var steps []Step
	for i := range v.Map.Groups {
		if len(steps) == r.MovesMax {
			return steps
		}
		if s, ok := p.group(&v.Map.Groups[i]); ok {
			steps = append(steps, s)
		}
	}
	for i := range v.Map.Nodes {
		n := &v.Map.Nodes[i]
		if n.State == shard.Leaving && p.held[n.ID] == 0 && len(steps) < r.MovesMax {
			steps = append(steps, Step{Kind: Forget, Node: n.ID})
		}
	}
	return steps
}

type planner struct {
	v      *View
	r      Rules
	active []shard.NodeID       // that may hold replicas, by id
	load   map[shard.NodeID]int // conversation replicas assigned, those planned in this round included
	held   map[shard.NodeID]int // replicas assigned, of all groups
}

func (p *planner) measure() {
	p.load, p.held = make(map[shard.NodeID]int), make(map[shard.NodeID]int)
	for i := range p.v.Map.Nodes {
		if n := &p.v.Map.Nodes[i]; n.State == shard.Active {
			p.active = append(p.active, n.ID)
		}
	}
	for i := range p.v.Map.Groups {
		for _, id := range p.v.Map.Groups[i].Replicas {
			p.held[id]++
			if i != int(shard.Meta) {
				p.load[id]++
			}
		}
	}
}

func (p *planner) up(id shard.NodeID) bool { return p.v.Nodes[id].Up }

func (p *planner) dead(id shard.NodeID) bool {
	n := p.v.Nodes[id]
	return !n.Up && n.DownFor >= p.r.DeadAfter
}

func (p *planner) zone(id shard.NodeID) string {
	n, ok := p.v.Map.Node(id)
	if !ok || n.Zone == "" {
		return "\x00" + string(id) // alone in its own
	}
	return n.Zone
}

// copies is how many replicas a group shall have.
func (p *planner) copies(g shard.GroupID) int {
	most := p.r.Replicas
	if g == shard.Meta {
		most = p.r.MetaVoters
		if n := min(most, len(p.active)); n > 2 && n%2 == 0 {
			most = n - 1 // an even voter more tolerates nothing more
		}
	}
	return max(min(most, len(p.active)), 1)
}

// voters is how many of a group's copies shall vote, given how many do.
func voters(copies, have int) int {
	if copies%2 == 0 && have < copies {
		return copies - 1
	}
	return copies
}

// group gives the next step for one group.
func (p *planner) group(g *shard.Group) (Step, bool) {
	c, ok := p.v.Group[g.ID]
	if !ok {
		return Step{}, false
	}
	members := append(slices.Clone(c.Voters), c.Nonvoters...)
	for _, id := range members {
		if _, known := p.v.Map.Node(id); known && !g.Has(id) {
			return p.assign(g, append(slices.Clone(g.Replicas), id)) // left by a step that was cut short
		}
	}
	keep := p.choose(g)
	want := slices.Clone(g.Replicas)
	for _, id := range keep {
		if !slices.Contains(want, id) {
			want = append(want, id)
		}
	}
	want = slices.DeleteFunc(want, func(id shard.NodeID) bool {
		return !slices.Contains(keep, id) && !slices.Contains(members, id)
	})
	if !slices.Equal(want, g.Replicas) {
		return p.assign(g, want)
	}
	for _, id := range keep {
		_, runs := p.v.Nodes[id].Runs[g.ID]
		if !slices.Contains(members, id) && p.up(id) && runs {
			return Step{Kind: Add, Group: g.ID, Node: id}, true
		}
	}
	if s, ok := p.promote(g, &c, keep); ok {
		return s, true
	}
	return p.drop(g, &c, keep)
}

func (p *planner) assign(g *shard.Group, replicas []shard.NodeID) (Step, bool) {
	if len(replicas) < 1 || len(replicas) > shard.ReplicasMax {
		return Step{}, false
	}
	if g.ID != shard.Meta {
		for _, id := range g.Replicas {
			p.load[id]--
		}
		for _, id := range replicas {
			p.load[id]++
		}
	}
	return Step{Kind: Assign, Group: g.ID, Epoch: g.Epoch, Replicas: replicas}, true
}

// promote makes a non-voter a voter, once as many have caught up as are needed
// for the number of voters to become right.
func (p *planner) promote(g *shard.Group, c *GroupView, keep []shard.NodeID) (Step, bool) {
	have := 0
	var ready []shard.NodeID
	for _, id := range keep {
		switch {
		case slices.Contains(c.Voters, id):
			have++
		case slices.Contains(c.Nonvoters, id) && p.caughtUp(id, g.ID, c):
			ready = append(ready, id)
		}
	}
	want := voters(len(keep), have)
	if have >= want || len(ready) == 0 || have+len(ready) < want {
		return Step{}, false
	}
	if !p.quorate(append(slices.Clone(c.Voters), ready[0])) {
		return Step{}, false
	}
	return Step{Kind: Promote, Group: g.ID, Node: ready[0]}, true
}

func (p *planner) caughtUp(id shard.NodeID, g shard.GroupID, c *GroupView) bool {
	last, runs := p.v.Nodes[id].Runs[g]
	return p.up(id) && runs && last+p.r.LagMax >= c.Commit
}

// mayLead reports whether the node could take the group's leadership now. One
// that stops would hand it on.
func (p *planner) mayLead(id shard.NodeID, g shard.GroupID, c *GroupView) bool {
	return !p.v.Nodes[id].Ending && p.caughtUp(id, g, c)
}

// quorate reports whether a quorum of these voters is up.
func (p *planner) quorate(voters []shard.NodeID) bool {
	up := 0
	for _, id := range voters {
		if p.up(id) {
			up++
		}
	}
	return up > len(voters)/2
}

// drop takes out of the configuration what is not kept, as soon as the group
// does without it.
func (p *planner) drop(g *shard.Group, c *GroupView, keep []shard.NodeID) (Step, bool) {
	for _, id := range c.Nonvoters {
		if !slices.Contains(keep, id) {
			return Step{Kind: Drop, Group: g.ID, Node: id}, true
		}
	}
	have := 0
	for _, id := range keep {
		if slices.Contains(c.Voters, id) {
			have++
		}
	}
	if have == 0 || have < voters(len(keep), have) {
		return Step{}, false
	}
	victims := slices.DeleteFunc(slices.Clone(c.Voters), func(id shard.NodeID) bool { return slices.Contains(keep, id) })
	// Those that are down go first: they help nobody.
	slices.SortStableFunc(victims, func(a, b shard.NodeID) int { return btoi(p.up(a)) - btoi(p.up(b)) })
	for _, id := range victims {
		rest := slices.DeleteFunc(slices.Clone(c.Voters), func(v shard.NodeID) bool { return v == id })
		if !p.quorate(rest) {
			continue
		}
		if id != c.Leader {
			return Step{Kind: Drop, Group: g.ID, Node: id}, true
		}
		for _, to := range keep {
			if slices.Contains(c.Voters, to) && p.mayLead(to, g.ID, c) {
				return Step{Kind: Transfer, Group: g.ID, Node: to}, true
			}
		}
	}
	return Step{}, false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
