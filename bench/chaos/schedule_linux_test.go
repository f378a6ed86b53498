package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/check"
	"github.com/chatnode/chatnode/internal/fault/proc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func steps(cfg Config, n int) []step {
	s := newSchedule(cfg)
	var res []step
	for range n {
		res = append(res, s.next())
	}
	return res
}

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Faults, cfg.Pairs, cfg.Seed = Names(), true, 11
	allow := cmp.AllowUnexported(step{})
	if d := cmp.Diff(steps(cfg, 100), steps(cfg, 100), allow); d != "" {
		t.Errorf("the same seed gave another schedule:\n%s", d)
	}
	other := cfg
	other.Seed = 12
	if cmp.Equal(steps(cfg, 100), steps(other, 100), allow) {
		t.Error("another seed gave the same schedule")
	}
}

func TestEveryFaultComesOnceARound(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Faults = Names()
	var got []string
	for _, s := range steps(cfg, len(cfg.Faults)) {
		got = append(got, s.faults...)
		if s.pause < 0 || s.pause > cfg.Calm {
			t.Errorf("pause of %v is not within 0 and %v", s.pause, cfg.Calm)
		}
	}
	want := Names()
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("faults of a round (-want +got):\n%s", d)
	}
}

func TestFaultsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Faults() {
		if f.Name == "" || f.About == "" || f.do == nil || names[f.Name] {
			t.Errorf("fault %+v has no name, says nothing, does nothing or comes twice", f)
		}
		names[f.Name] = true
	}
}

func TestValidate(t *testing.T) {
	good := DefaultConfig()
	good.Binary, good.Dir = "x", "y"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		want string
		edit func(*Config)
	}{
		{"nodes", func(c *Config) { c.Nodes = 0 }},
		{"clients", func(c *Config) { c.Clients = 61 }},
		{"binary", func(c *Config) { c.Binary = "" }},
		{"load", func(c *Config) { c.Load = 0 }},
		{"rate", func(c *Config) { c.Rate, c.Load = 1e6, time.Hour }},
		{"rate", func(c *Config) { c.Rate = math.NaN() }},
		{"faults", func(c *Config) { c.Faults = []string{"kill", "earthquake"} }},
		{"wipe", func(c *Config) { c.Faults, c.Nodes = []string{"wipe"}, 2 }},
	}
	for _, tt := range tests {
		c := good
		tt.edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want a fault of %s, got %v", tt.want, err)
		}
	}
}

// TestOutcome: only what the log holds every later attempt to is taken as without
// effect.
func TestOutcome(t *testing.T) {
	tests := []struct {
		err  error
		want check.Outcome
	}{
		{nil, check.OK},
		{chat.E("send", chat.TooLarge, "", nil), check.Refused},
		{chat.E("send", chat.NotFound, "", nil), check.Refused},
		{chat.E("change members", chat.AlreadyMember, "", nil), check.Refused},
		{chat.E("send", chat.Unavailable, "", nil), check.Unknown},
		{chat.E("send", chat.Timeout, "", nil), check.Unknown},
		{chat.E("send", chat.Busy, "", nil), check.Unknown},
		{errors.New("connection reset"), check.Unknown},
	}
	for _, tt := range tests {
		if got := outcome(tt.err); got != tt.want {
			t.Errorf("outcome(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

// TestNoMajorityIsLost: two nodes of three that lose their data are more than the
// promises cover, and a run with them could not be judged.
func TestNoMajorityIsLost(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Pairs = true
	for seed := range uint64(200) {
		cfg.Faults, cfg.Seed = []string{"wipe", "corrupt", "rollback", "clock"}, seed
		alone := 0
		for s := newSchedule(cfg); alone < 3; {
			st := s.next()
			if len(st.faults) == 1 {
				alone++
				continue
			}
			if clash(st.faults[0], st.faults[1]) {
				t.Fatalf("seed %d: %v at once", seed, st.faults)
			}
		}
	}
}

// TestIdleFaultIsNotInjected: a fault that finds every node taken does nothing, and
// the result must not say that the run stood it.
func TestIdleFaultIsNotInjected(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Logger = slog.New(slog.DiscardHandler)
	c := &cluster{cfg: cfg, spare: &node{place: 4}}
	m := newNemesis(cfg, c, check.NewRecorder(io.Discard), func() int64 { return 1 })
	for place := range 3 {
		c.nodes = append(c.nodes, &node{place: place + 1, c: c})
	}
	for _, n := range append(slices.Clone(c.nodes), c.spare) {
		m.busy[n] = true
	}
	whole := []string{"split", "loss", "delay"} // of the network, whoever is taken
	for _, f := range Faults() {
		if slices.Contains(whole, f.Name) {
			continue
		}
		m.inject(f, &env{nemesis: m, ctx: t.Context(), name: f.Name, rnd: rand.New(rand.NewPCG(1, 4))})
		if m.done[f.Name] != 0 {
			t.Errorf("%s counts as injected, and every node was taken", f.Name)
		}
	}
	if bad := m.failures(); len(bad) > 0 {
		t.Errorf("an idle fault is no failure: %v", bad)
	}
}

// TestGroupsThatAreNotThere: no hash differs from one that nobody has.
func TestGroupsThatAreNotThere(t *testing.T) {
	dirs := func(texts ...string) map[string]checked {
		res := map[string]checked{}
		for i, text := range texts {
			var c checked
			if err := json.Unmarshal([]byte(text), &c); err != nil {
				t.Fatal(err)
			}
			res[fmt.Sprintf("n%d", i+1)] = c
		}
		return res
	}
	const both, one = `{"groups":[{"group":0},{"group":1,"hash":"a"},{"group":2,"hash":"b"}]}`, `{"groups":[{"group":1,"hash":"a"}]}`
	if got, err := sideBySide(dirs(both, both, both), 2, 3); err != nil || len(got) != 2 || len(got[1].Replicas) != 3 {
		t.Errorf("three whole directories: %v, %v", got, err)
	}
	for _, tt := range []struct {
		dirs map[string]checked
		want string
	}{
		{dirs(both, one, both), "group 2 is in 2 directories, want 3"},
		{dirs(one, one, one), "hold 1 groups, want 2"},
		{dirs(both, both, `{"groups":[{"group":1},{"group":2,"hash":"b"}]}`), "no hash of group 1"},
	} {
		if got, err := sideBySide(tt.dirs, 2, 3); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("sideBySide = %v, %v; want %q", got, err, tt.want)
		}
	}
}

// TestKillDoesNotHideACrash: a fault may come for a node between its end and the
// next look at it.
func TestKillDoesNotHideACrash(t *testing.T) {
	for name, end := range map[string]func(*node){"kill": (*node).kill, "stop": func(n *node) { _ = n.stop() }} {
		for _, excuse := range []string{"", "wiped"} {
			n := &node{id: "n1", log: filepath.Join(t.TempDir(), "log"), excuse: excuse}
			p, err := proc.Start(proc.Spec{Name: "n1", Path: "/bin/sh", Args: []string{"-c", "echo no quorum of sanity"}, Log: n.log})
			if err != nil {
				t.Fatal(err)
			}
			n.proc = p
			<-p.Done()
			end(n)
			how, ended := n.endedAlone()
			if ended != (excuse == "") || ended && !strings.Contains(how, "no quorum of sanity") {
				t.Errorf("%s, excuse %q: endedAlone = %q, %v", name, excuse, how, ended)
			}
			if _, again := n.endedAlone(); again {
				t.Errorf("%s: reported twice", name)
			}
		}
	}
}
