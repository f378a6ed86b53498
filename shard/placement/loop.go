package placement

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
)

// Config paces the loop. Start from [DefaultConfig].
type Config struct {
	Rules       Rules         `mapstructure:"-"`
	Idle        time.Duration `mapstructure:"idle"`         // between rounds with nothing to do
	Busy        time.Duration `mapstructure:"busy"`         // between rounds of steps
	StatusTime  time.Duration `mapstructure:"status_time"`  // for a node to tell its status
	StepTime    time.Duration `mapstructure:"step_time"`    // for one step
	Settle      time.Duration `mapstructure:"settle"`       // without any change before leaders are spread
	SpreadEvery time.Duration `mapstructure:"spread_every"` // between two transfers
}

// DefaultConfig spreads leaders from five seconds after the last change on.
func DefaultConfig() Config {
	return Config{
		Rules:       DefaultRules(),
		Idle:        time.Second,
		Busy:        25 * time.Millisecond,
		StatusTime:  time.Second,
		StepTime:    10 * time.Second,
		Settle:      5 * time.Second,
		SpreadEvery: 500 * time.Millisecond,
	}
}

// Validate reports every fault under its key.
func (c Config) Validate() error {
	var errs []error
	for key, d := range map[string]time.Duration{
		"idle": c.Idle, "busy": c.Busy, "status_time": c.StatusTime, "step_time": c.StepTime,
		"settle": c.Settle, "spread_every": c.SpreadEvery,
	} {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: %v is not above 0", key, d))
		}
	}
	if c.Rules.Replicas < 1 || c.Rules.MetaVoters < 1 || c.Rules.MovesMax < 1 ||
		c.Rules.Replicas >= shard.ReplicasMax || c.Rules.MetaVoters >= shard.ReplicasMax {
		errs = append(errs, fmt.Errorf("replicas and voters must be within 1 and %d, moves at least 1", shard.ReplicasMax-1))
	}
	return errors.Join(errs...)
}

// Cluster is what the loop acts on.
type Cluster interface {
	// LeadsMeta reports whether this node leads the meta group.
	LeadsMeta() bool
	// Map reads the map as of now from the meta group.
	Map(ctx context.Context) (*shard.Map, error)
	// ProposeMeta brings a command to the meta group.
	ProposeMeta(ctx context.Context, cmd meta.Command) (fsm.Result, error)
	// Status asks a node, which may be this one, how its replicas are.
	Status(ctx context.Context, node shard.NodeID) (shard.NodeStatus, error)
	// Change has a group's leader change its membership or leadership.
	Change(ctx context.Context, leader shard.NodeID, c shard.Change) error
}

// Loop is the control loop of one node.
type Loop struct {
	cfg     Config
	cluster Cluster
	log     *slog.Logger
	kick    chan struct{}

	// Only the goroutine of Run uses these.
	seen    map[shard.NodeID]time.Time // when a node answered last
	leaders map[shard.GroupID]shard.NodeID
	up      map[shard.NodeID]bool
	changed time.Time // when a leader or the life of a node changed last
	spread  time.Time // when a leader was moved last
}

// New makes a loop; Run runs it.
func New(cfg Config, cluster Cluster, log *slog.Logger) (*Loop, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Loop{cfg: cfg, cluster: cluster, log: log, kick: make(chan struct{}, 1)}, nil
}

// Kick makes the loop look now: the map or a leader has changed. It does not
// block.
func (l *Loop) Kick() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run acts while this node leads the meta group, until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	timer := time.NewTimer(l.cfg.Busy)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.kick:
		}
		timer.Reset(l.turn(ctx))
	}
}

// turn does what there is to do now and says when to look again.
func (l *Loop) turn(ctx context.Context) time.Duration {
	if !l.cluster.LeadsMeta() {
		l.forget()
		return l.cfg.Idle
	}
	next, err := l.Round(ctx)
	if err != nil && ctx.Err() == nil {
		l.log.DebugContext(ctx, "placement round failed", "err", err)
	}
	return next
}

func (l *Loop) forget() {
	l.seen, l.leaders, l.up = nil, nil, nil
}

// Round looks once and carries out what the plan says. It gives the time to the
// next round.
func (l *Loop) Round(ctx context.Context) (next time.Duration, err error) {
	m, err := l.cluster.Map(ctx)
	if err != nil {
		return l.cfg.Idle, err
	}
	v := l.look(ctx, m, time.Now())
	steps := Plan(v, l.cfg.Rules)
	if len(steps) == 0 {
		return l.even(ctx, v), nil
	}
	var wg sync.WaitGroup
	for _, s := range steps {
		wg.Go(func() { l.carryOut(ctx, v, s) })
	}
	wg.Wait()
	return l.cfg.Busy, nil
}

// even moves one leader, when all has been calm for a while. With many groups
// it goes on sooner: each has its one short pause.
func (l *Loop) even(ctx context.Context, v *View) (next time.Duration) {
	pace := min(l.cfg.SpreadEvery/time.Duration(1+len(v.Map.Groups)/spreadGroups), l.cfg.Idle)
	now := time.Now()
	if now.Sub(l.changed) < l.cfg.Settle || now.Sub(l.spread) < pace {
		return l.cfg.Idle
	}
	s, ok := Spread(v, l.cfg.Rules)
	if !ok {
		return l.cfg.Idle
	}
	l.carryOut(ctx, v, s)
	l.spread = time.Now()
	l.leaders[s.Group] = s.Node // our own doing is no reason to settle again
	return pace
}

// spreadGroups is how many groups share the pace of SpreadEvery.
const spreadGroups = 32

// look asks every node and makes a view of the answers.
func (l *Loop) look(ctx context.Context, m *shard.Map, now time.Time) *View {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StatusTime)
	defer cancel()
	type report struct {
		status shard.NodeStatus
		err    error
	}
	reports := make([]report, len(m.Nodes))
	var wg sync.WaitGroup
	for i := range m.Nodes {
		wg.Go(func() { reports[i].status, reports[i].err = l.cluster.Status(ctx, m.Nodes[i].ID) })
	}
	wg.Wait()
	if l.seen == nil {
		l.seen, l.up, l.leaders = map[shard.NodeID]time.Time{}, map[shard.NodeID]bool{}, map[shard.GroupID]shard.NodeID{}
		l.changed = now
		for i := range m.Nodes {
			l.seen[m.Nodes[i].ID] = now // a new leader gives everyone the benefit of the doubt
		}
	}
	v := &View{Map: m, Nodes: map[shard.NodeID]NodeView{}, Group: map[shard.GroupID]GroupView{}}
	terms := map[shard.GroupID]uint64{}
	for i := range reports {
		id := m.Nodes[i].ID
		n := NodeView{Up: reports[i].err == nil, Ending: reports[i].status.Stopping, Runs: map[shard.GroupID]uint64{}}
		if n.Up || l.seen[id].IsZero() {
			l.seen[id] = now
		}
		n.DownFor = now.Sub(l.seen[id])
		if l.up[id] != n.Up {
			l.up[id], l.changed = n.Up, now
		}
		for j := range reports[i].status.Groups {
			g := &reports[i].status.Groups[j]
			n.Runs[g.Group] = g.Last
			if g.Leads && g.Term >= terms[g.Group] {
				terms[g.Group] = g.Term
				v.Group[g.Group] = GroupView{
					Leader: id, Commit: g.Commit,
					Voters: slices.Clone(g.Voters), Nonvoters: slices.Clone(g.Nonvoters),
				}
			}
		}
		v.Nodes[id] = n
	}
	for i := range m.Groups {
		g := shard.GroupID(i)
		if now := v.Group[g].Leader; l.leaders[g] != now {
			l.leaders[g], l.changed = now, time.Now()
		}
	}
	return v
}

func (l *Loop) carryOut(ctx context.Context, v *View, s Step) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.StepTime)
	defer cancel()
	var err error
	var name string
	switch s.Kind {
	case Assign:
		name = "assign"
		err = l.propose(ctx, meta.SetReplicas{Group: s.Group, Epoch: s.Epoch, Replicas: s.Replicas})
	case Forget:
		name = "forget"
		err = l.propose(ctx, meta.RemoveNode{ID: s.Node})
	case Add:
		name, err = l.change(ctx, v, s, shard.AddNonvoter)
	case Promote:
		name, err = l.change(ctx, v, s, shard.Promote)
	case Drop:
		name, err = l.change(ctx, v, s, shard.Remove)
	case Transfer:
		name, err = l.change(ctx, v, s, shard.Transfer)
	}
	args := []any{"step", name, "group", uint32(s.Group), "node", s.Node}
	if s.Kind == Assign {
		args = append(args, "replicas", s.Replicas)
	}
	if err != nil {
		l.log.InfoContext(ctx, "placement step put off", append(args, "err", err)...)
		return
	}
	l.log.InfoContext(ctx, "placement step done", args...)
}

func (l *Loop) propose(ctx context.Context, cmd meta.Command) error {
	res, err := l.cluster.ProposeMeta(ctx, cmd)
	if err == nil && res.Code != chat.OK {
		err = res.Err("placement")
	}
	return err
}

func (l *Loop) change(ctx context.Context, v *View, s Step, op shard.Op) (name string, err error) {
	leader := v.Group[s.Group].Leader
	return string(op), l.cluster.Change(ctx, leader, shard.Change{Group: s.Group, Op: op, Node: s.Node, Peer: v.Map.Peer(s.Node)})
}
