package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/chatnode/chatnode/shard"
)

// sim is a cluster as the planner may see one. Steps are carried out by the
// rules of Raft: a change needs a leader and a live quorum, before and after.
type sim struct {
	t     *testing.T
	rng   *rand.Rand
	m     shard.Map
	conf  []GroupView // by group
	log   []map[shard.NodeID]uint64
	up    map[shard.NodeID]bool
	down  map[shard.NodeID]time.Duration
	rules Rules
}

func newSim(t *testing.T, seed uint64, groups int) *sim {
	t.Helper()
	s := &sim{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)),
		up: map[shard.NodeID]bool{}, down: map[shard.NodeID]time.Duration{}, rules: DefaultRules(),
	}
	s.m = shard.Map{Cluster: "c", Epoch: 1, Level: 1}
	s.join("n00", "")
	for g := range groups + 1 {
		s.m.Groups = append(s.m.Groups, shard.Group{ID: shard.GroupID(g), Epoch: 1, Replicas: []shard.NodeID{"n00"}})
		s.conf = append(s.conf, GroupView{Leader: "n00", Commit: 1000, Voters: []shard.NodeID{"n00"}})
		s.log = append(s.log, map[shard.NodeID]uint64{"n00": 1000})
	}
	return s
}

func (s *sim) join(id shard.NodeID, zone string) {
	s.m.Nodes = append(s.m.Nodes, shard.Node{ID: id, Client: string(id) + ":1", Peer: string(id) + ":2", Zone: zone, State: shard.Active, Level: 1})
	slices.SortFunc(s.m.Nodes, func(a, b shard.Node) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	s.up[id] = true
}

func (s *sim) leave(id shard.NodeID) {
	for i := range s.m.Nodes {
		if s.m.Nodes[i].ID == id {
			s.m.Nodes[i].State = shard.Leaving
		}
	}
}

func (s *sim) quorum(voters []shard.NodeID) bool {
	n := 0
	for _, id := range voters {
		if s.up[id] {
			n++
		}
	}
	return n > len(voters)/2
}

// settle elects leaders where they are missing, starts assigned replicas and
// lets the followers take entries.
func (s *sim) settle() {
	for g := range s.conf {
		c := &s.conf[g]
		for _, id := range s.m.Groups[g].Replicas {
			if _, ok := s.log[g][id]; !ok && s.up[id] {
				s.log[g][id] = 0
			}
		}
		if !s.quorum(c.Voters) {
			c.Leader = ""
			continue
		}
		if c.Leader == "" || !s.up[c.Leader] || !slices.Contains(c.Voters, c.Leader) {
			var live []shard.NodeID
			for _, id := range c.Voters {
				if s.up[id] && s.log[g][id] >= c.Commit {
					live = append(live, id)
				}
			}
			if len(live) == 0 {
				c.Leader = ""
				continue
			}
			c.Leader = live[s.rng.IntN(len(live))]
		}
		for _, id := range append(slices.Clone(c.Voters), c.Nonvoters...) {
			if s.up[id] && s.rng.IntN(3) > 0 {
				s.log[g][id] = c.Commit
			}
		}
	}
}

func (s *sim) view() *View {
	m, err := shard.New(s.m, shard.Spread(len(s.m.Groups)-1))
	if err != nil {
		s.t.Fatalf("the map broke: %v", err)
	}
	v := &View{Map: m, Nodes: map[shard.NodeID]NodeView{}, Group: map[shard.GroupID]GroupView{}}
	for _, n := range s.m.Nodes {
		nv := NodeView{Up: s.up[n.ID], DownFor: s.down[n.ID], Runs: map[shard.GroupID]uint64{}}
		for g := range s.log {
			if last, ok := s.log[g][n.ID]; ok && nv.Up {
				nv.Runs[shard.GroupID(g)] = last
			}
		}
		v.Nodes[n.ID] = nv
	}
	for g, c := range s.conf {
		if c.Leader != "" {
			v.Group[shard.GroupID(g)] = c
		}
	}
	return v
}

// do carries a step out and checks that it is a safe one.
func (s *sim) do(st Step) {
	if st.Kind == Forget {
		for _, g := range s.m.Groups {
			if g.Has(st.Node) {
				s.t.Fatalf("forgets %s, which holds group %d", st.Node, g.ID)
			}
		}
		s.m.Nodes = slices.DeleteFunc(s.m.Nodes, func(n shard.Node) bool { return n.ID == st.Node })
		return
	}
	g, c := &s.m.Groups[st.Group], &s.conf[st.Group]
	member := slices.Contains(c.Voters, st.Node) || slices.Contains(c.Nonvoters, st.Node)
	switch st.Kind {
	case Assign:
		for _, id := range append(slices.Clone(c.Voters), c.Nonvoters...) {
			if !slices.Contains(st.Replicas, id) && g.Has(id) {
				s.t.Fatalf("group %d: %s leaves the map before the configuration", g.ID, id)
			}
		}
		for _, id := range g.Replicas {
			if !slices.Contains(st.Replicas, id) {
				delete(s.log[g.ID], id) // its node wipes it
			}
		}
		g.Replicas, g.Epoch = st.Replicas, g.Epoch+1
		s.m.Epoch++
		return
	case Add:
		if member || !g.Has(st.Node) {
			s.t.Fatalf("group %d: adds %s, member %v, replicas %v", g.ID, st.Node, member, g.Replicas)
		}
		c.Nonvoters = append(slices.Clone(c.Nonvoters), st.Node)
	case Promote:
		if !slices.Contains(c.Nonvoters, st.Node) || s.log[g.ID][st.Node]+s.rules.LagMax < c.Commit {
			s.t.Fatalf("group %d: promotes %s, which is not ready", g.ID, st.Node)
		}
		c.Nonvoters = slices.DeleteFunc(slices.Clone(c.Nonvoters), func(id shard.NodeID) bool { return id == st.Node })
		c.Voters = append(slices.Clone(c.Voters), st.Node)
	case Drop:
		if !member || st.Node == c.Leader {
			s.t.Fatalf("group %d: drops %s, member %v, leader %s", g.ID, st.Node, member, c.Leader)
		}
		other := func(id shard.NodeID) bool { return id == st.Node }
		c.Nonvoters = slices.DeleteFunc(slices.Clone(c.Nonvoters), other)
		c.Voters = slices.DeleteFunc(slices.Clone(c.Voters), other)
	case Transfer:
		if !slices.Contains(c.Voters, st.Node) || !s.up[st.Node] {
			s.t.Fatalf("group %d: transfers to %s, voters %v", g.ID, st.Node, c.Voters)
		}
		s.log[g.ID][st.Node] = c.Commit
		c.Leader = st.Node
	}
	if !s.quorum(c.Voters) {
		s.t.Fatalf("group %d lost its quorum by step %+v: voters %v", g.ID, st, c.Voters)
	}
}

// run plans and acts until nothing is left to do.
func (s *sim) run() (rounds int) {
	calm := 0
	for calm < 8 {
		if rounds++; rounds > 4000 {
			s.t.Fatalf("does not converge: next %+v", Plan(s.view(), s.rules))
		}
		s.settle()
		v := s.view()
		steps := Plan(v, s.rules)
		if len(steps) == 0 {
			if st, ok := Spread(v, s.rules); ok {
				steps = []Step{st}
			}
		}
		groups := map[shard.GroupID]bool{}
		for _, st := range steps {
			if st.Kind != Forget && groups[st.Group] {
				s.t.Fatalf("two steps for group %d in one round: %+v", st.Group, steps)
			}
			groups[st.Group] = true
			if s.rng.IntN(10) > 0 { // a step may fail
				s.do(st)
			}
		}
		if calm++; len(steps) > 0 {
			calm = 0
		}
	}
	return rounds
}

// check asserts the end state.
func (s *sim) check() {
	s.t.Helper()
	var active []shard.NodeID
	zones := map[string]bool{}
	for _, n := range s.m.Nodes {
		if n.State == shard.Leaving {
			s.t.Errorf("node %s never left", n.ID)
		}
		active = append(active, n.ID)
		zones[s.zone(n.ID)] = true
	}
	load, leads := map[shard.NodeID]int{}, map[shard.NodeID]int{}
	for g := range s.conf {
		c, row := s.conf[g], s.m.Groups[g]
		want := min(s.rules.Replicas, len(active))
		if g == 0 {
			if want = min(5, len(active)); want > 2 && want%2 == 0 {
				want--
			}
		}
		if len(row.Replicas) != want || len(c.Voters)+len(c.Nonvoters) != want {
			s.t.Errorf("group %d: replicas %v, configuration %+v, want %d", g, row.Replicas, c, want)
		}
		if want != 2 && len(c.Nonvoters) > 0 {
			s.t.Errorf("group %d: non-voters %v", g, c.Nonvoters)
		}
		have := map[string]bool{}
		for _, id := range row.Replicas {
			load[id]++
			have[s.zone(id)] = true
		}
		if len(have) != min(want, len(zones)) {
			s.t.Errorf("group %d: %d zones of %d: %v", g, len(have), len(zones), row.Replicas)
		}
		if g > 0 {
			leads[c.Leader]++
		}
	}
	if len(zones) != len(active) || len(active) < 3 {
		return // balance yields to zones; of two nodes one votes
	}
	for _, a := range active {
		for _, b := range active {
			if load[a]-load[b] > 3 || leads[a]-leads[b] > 2 {
				s.t.Errorf("uneven: replicas %v, leaders %v", load, leads)
				return
			}
		}
	}
}

func (s *sim) zone(id shard.NodeID) string {
	for _, n := range s.m.Nodes {
		if n.ID == id && n.Zone != "" {
			return n.Zone
		}
	}
	return string(id)
}

func TestPlanConverges(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := newSim(t, seed, 1+int(seed*7)%40)
			zoned := seed%4 == 3
			next := 1
			for step := range 8 {
				switch {
				case len(s.m.Nodes) < 3 || s.rng.IntN(2) == 0 && len(s.m.Nodes) < 8:
					zone := ""
					if zoned {
						zone = fmt.Sprintf("z%d", next%3)
					}
					if zoned && next == 1 {
						s.m.Nodes[0].Zone = "z0"
					}
					s.join(shard.NodeID(fmt.Sprintf("n%02d", next)), zone)
					next++
				default:
					i := s.rng.IntN(len(s.m.Nodes))
					s.leave(s.m.Nodes[i].ID)
				}
				rounds := s.run()
				s.check()
				if t.Failed() {
					t.Fatalf("seed %d, after change %d, %d rounds", seed, step, rounds)
				}
			}
		})
	}
}

// TestPlanReplacesAllAtOnce puts new nodes in the place of all old ones by one
// order: old and new replicas together are more than the map takes of a group.
func TestPlanReplacesAllAtOnce(t *testing.T) {
	for _, replicas := range []int{3, 5, 7} { // the meta group has five
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("replicas=%d,seed=%d", replicas, seed), func(t *testing.T) {
				s := newSim(t, seed, 4)
				s.rules.Replicas = replicas
				name := func(i int) shard.NodeID { return shard.NodeID(fmt.Sprintf("n%02d", i)) }
				for i := 1; i < 7; i++ {
					s.join(name(i), "")
				}
				s.run()
				s.check()
				for i := range 7 {
					s.join(name(7+i), "")
					s.leave(name(i))
				}
				if seed%2 == 1 { // one of them does not live to see it
					s.up[name(3)], s.down[name(3)] = false, time.Minute
				}
				s.run()
				s.check()
			})
		}
	}
}

// TestPlanReplacesTheDead kills nodes for good and asks for them to be replaced
// by spare ones, by themselves and when told to leave.
func TestPlanReplacesTheDead(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := newSim(t, seed, 8)
			for _, id := range []shard.NodeID{"n01", "n02"} {
				s.join(id, "")
				s.run()
			}
			victim := s.m.Nodes[s.rng.IntN(3)].ID
			s.up[victim], s.down[victim] = false, time.Hour
			s.run() // there is nobody else: nothing may change
			for g := range s.conf {
				if len(s.conf[g].Voters) != 3 {
					t.Fatalf("seed %d: group %d shrank to %v without being told", seed, g, s.conf[g].Voters)
				}
			}
			if seed%2 == 0 { // told to leave: two voters stay, and the newcomer makes three
				s.leave(victim)
				s.run()
				for g := range s.conf {
					if len(s.conf[g].Voters) != 2 || slices.Contains(s.conf[g].Voters, victim) {
						t.Fatalf("seed %d: group %d has %v", seed, g, s.conf[g].Voters)
					}
				}
			}
			s.join("n09", "")
			s.run()
			for g := range s.conf {
				if c := s.conf[g]; len(c.Voters) != 3 || slices.Contains(c.Voters, victim) {
					t.Fatalf("seed %d: group %d has %v, dead is %s", seed, g, c.Voters, victim)
				}
			}
		})
	}
}

func TestManyGroupsNeedFewRounds(t *testing.T) {
	s := newSim(t, 1, 256)
	s.join("n01", "")
	s.join("n02", "")
	if rounds := s.run(); rounds > 500 {
		t.Errorf("256 groups from one node to three took %d rounds of at most %d steps", rounds, s.rules.MovesMax)
	}
	s.check()
}

func TestPlanIsAFunction(t *testing.T) {
	s := newSim(t, 3, 12)
	s.join("n01", "")
	s.join("n02", "")
	for range 20 {
		s.settle()
		a, b := Plan(s.view(), s.rules), Plan(s.view(), s.rules)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("two plans of one view: %v and %v", a, b)
		}
		for _, st := range a {
			s.do(st)
		}
	}
}
