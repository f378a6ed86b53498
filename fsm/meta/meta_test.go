package meta

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func node(id shard.NodeID) shard.Node {
	return shard.Node{ID: id, Client: string(id) + ":1", Peer: string(id) + ":2", Level: 1, Incarnation: [16]byte{1}}
}

func boot() Bootstrap {
	return Bootstrap{Cluster: "c1", Groups: 2, Token: HashToken("secret"), Founder: node("n1")}
}

type log struct {
	t *testing.T
	s *fsmtest.Store
	m *Machine
}

func newLog(t *testing.T) *log {
	t.Helper()
	return &log{t, fsmtest.NewStore(), New()}
}

func (l *log) raw(cmd []byte) fsm.Result {
	l.t.Helper()
	var w fsm.BatchWriter
	w.Add(chat.Salt{}, cmd)
	res, err := l.m.Apply(l.s, 1, w.Finish(fsm.Stamp{TimeMS: 1}), nil)
	if err != nil || len(res) != 1 {
		l.t.Fatalf("apply: %v, %v", res, err)
	}
	return res[0]
}

func (l *log) apply(c Command) fsm.Result { l.t.Helper(); return l.raw(Encode(nil, c)) }

func (l *log) read() *shard.Map {
	l.t.Helper()
	m, ok, err := Read(l.s)
	if err != nil || !ok {
		l.t.Fatalf("read: %v, %v", ok, err)
	}
	return m
}

func TestMachine(t *testing.T) {
	moved, wiped := node("n2"), node("n2")
	moved.Peer = "elsewhere:2"
	wiped.Incarnation = [16]byte{2}
	old, squatter := node("n3"), node("n3")
	old.Level = 0
	squatter.Peer = "n1:2"
	ids := func(ids ...shard.NodeID) []shard.NodeID { return ids }
	token := HashToken("secret")
	steps := []struct {
		name    string
		cmd     Command
		want    chat.Code
		changed bool
	}{
		{"join before the bootstrap", JoinNode{token, node("n2")}, chat.NotFound, false},
		{"bootstrap of no groups", Bootstrap{Cluster: "c1", Founder: node("n1")}, chat.Invalid, false},
		{"bootstrap", boot(), chat.OK, true},
		{"bootstrap again", boot(), chat.OK, false},
		{"bootstrap of another cluster", Bootstrap{Cluster: "c2", Groups: 2, Founder: node("n1")}, chat.Exists, false},
		{"join with a wrong token", JoinNode{HashToken("guess"), node("n2")}, chat.BadToken, false},
		{"join", JoinNode{token, node("n2")}, chat.OK, true},
		{"join again", JoinNode{token, node("n2")}, chat.OK, false},
		{"join from a wiped disk", JoinNode{token, wiped}, chat.Exists, false},
		{"join at another's address", JoinNode{token, squatter}, chat.Conflict, false},
		{"join of an old version", JoinNode{token, old}, chat.UnsupportedVer, false},
		{"new address", UpdateNode{moved}, chat.OK, true},
		{"new address again", UpdateNode{moved}, chat.OK, false},
		{"new address of a wiped disk", UpdateNode{wiped}, chat.NotFound, false},
		{"replicas", SetReplicas{1, 1, ids("n1", "n2")}, chat.OK, true},
		{"replicas again", SetReplicas{1, 1, ids("n1", "n2")}, chat.OK, false},
		{"replicas against an old epoch", SetReplicas{1, 1, ids("n2")}, chat.Conflict, false},
		{"replicas on one node", SetReplicas{1, 2, ids("n2", "n2")}, chat.Invalid, false},
		{"replicas on an unknown node", SetReplicas{1, 2, ids("n9")}, chat.NotFound, false},
		{"no replicas", SetReplicas{1, 2, nil}, chat.Invalid, false},
		{"replicas of no group", SetReplicas{9, 1, ids("n1")}, chat.NotFound, false},
		{"remove a holder", RemoveNode{"n2"}, chat.Conflict, false},
		{"leave", SetNodeState{"n2", shard.Leaving}, chat.OK, true},
		{"leave again", SetNodeState{"n2", shard.Leaving}, chat.OK, false},
		{"no such state", SetNodeState{"n2", 7}, chat.Invalid, false},
		{"state of nobody", SetNodeState{"n9", shard.Leaving}, chat.NotFound, false},
		{"replicas without it", SetReplicas{1, 2, ids("n1")}, chat.OK, true},
		{"remove", RemoveNode{"n2"}, chat.OK, true},
		{"remove again", RemoveNode{"n2"}, chat.OK, false},
		{"remove nobody", RemoveNode{"n9"}, chat.NotFound, false},
		{"join with a removed id", JoinNode{token, node("n2")}, chat.Exists, false},
		{"another token", SetToken{HashToken("new")}, chat.OK, true},
		{"join with the old token", JoinNode{token, node("n4")}, chat.BadToken, false},
		{"join with the new token", JoinNode{HashToken("new"), node("n4")}, chat.OK, true},
	}
	l := newLog(t)
	var epoch uint64
	for _, st := range steps {
		before, err := l.m.Fingerprint(l.s)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.apply(st.cmd); got.Code != st.want {
			t.Errorf("%s: %+v, want %q", st.name, got, st.want)
		}
		after, err := l.m.Fingerprint(l.s)
		if err != nil {
			t.Fatal(err)
		}
		if (before != after) != st.changed {
			t.Errorf("%s: changed the state: %v, want %v", st.name, before != after, st.changed)
		}
		if st.changed {
			epoch++
			if got := l.read().Epoch; got != epoch {
				t.Errorf("%s: epoch %d, want %d", st.name, got, epoch)
			}
		}
	}
	m := l.read()
	if len(m.Nodes) != 2 || len(m.Groups) != 3 || m.Groups[1].Epoch != 3 || m.GroupOf(4095) != 2 {
		t.Errorf("the end: %+v", m)
	}
}

func TestRaiseLevel(t *testing.T) {
	l := newLog(t)
	raise := func(to fsm.Level) chat.Code { return l.raw(fsm.Encode(nil, fsm.RaiseLevel{To: to})).Code }
	if got := raise(2); got != chat.NotFound {
		t.Errorf("before the bootstrap: %q", got)
	}
	l.apply(boot())
	if got := raise(1); got != chat.OK || l.read().Epoch != 1 {
		t.Errorf("to what it is: %q", got)
	}
	if got := raise(2); got != chat.UnsupportedVer {
		t.Errorf("above a node: %q", got)
	}
	n := node("n1")
	n.Level = 2
	l.apply(UpdateNode{n})
	if got := raise(2); got != chat.OK || l.read().Level != 2 {
		t.Errorf("with every node ready: %q, level %d", got, l.read().Level)
	}
}

// TestGolden pins the bytes of level 1 in logs and rows.
func TestGolden(t *testing.T) {
	n := shard.Node{ID: "n", Client: "c", Peer: "p", State: shard.Active, Level: 1}
	tests := []struct {
		cmd  Command
		want string
	}{
		{SetNodeState{"n1", shard.Leaving}, "ba0606" + "0a026e31" + "1002"},
		{RemoveNode{"n1"}, "c20604" + "0a026e31"},
		{SetReplicas{3, 7, []shard.NodeID{"a", "b"}}, "ca060a" + "0803" + "1007" + "1a0161" + "1a0162"},
		{SetToken{TokenHash{1}}, "d20622" + "0a2001" + hex.EncodeToString(make([]byte, 31))},
		{UpdateNode{n}, "b20621" + "0a1f" + "0a016e" + "120163" + "1a0170" + "2801" + "3001" + "3a10" + hex.EncodeToString(make([]byte, 16))},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(Encode(nil, tt.cmd)); got != tt.want {
			t.Errorf("%T: %s, want %s", tt.cmd, got, tt.want)
		}
	}
	l := newLog(t)
	l.apply(boot())
	l.apply(JoinNode{HashToken("secret"), node("n2")})
	l.apply(SetReplicas{1, 1, []shard.NodeID{"n1", "n2"}})
	h, err := l.m.Fingerprint(l.s)
	if err != nil {
		t.Fatal(err)
	}
	const want = "aa970f6f9f1c556bdce8f31ad3337bc65cb663b8d83445a93de1e1f9a1345cb7"
	if got := hex.EncodeToString(h[:]); got != want {
		t.Errorf("fingerprint of the rows = %s, want %s", got, want)
	}
}

// TestRandomHistories replays seeded commands: two replicas agree, the map is
// always well-formed, and refused commands change nothing.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		a, b := newLog(t), newLog(t)
		ids := []shard.NodeID{"n1", "n2", "n3", "n4", "n5"}
		pick := func() shard.NodeID { return ids[rng.IntN(len(ids))] }
		for i := range 200 {
			var c Command
			switch rng.IntN(6) {
			case 0:
				c = boot()
			case 1:
				c = JoinNode{HashToken("secret"), node(pick())}
			case 2:
				c = SetNodeState{pick(), shard.NodeState(rng.IntN(4))}
			case 3:
				c = RemoveNode{pick()}
			default:
				c = SetReplicas{shard.GroupID(rng.IntN(4)), uint64(rng.IntN(6)), []shard.NodeID{pick(), pick()}[:1+rng.IntN(2)]}
			}
			if ra, rb := a.apply(c), b.apply(c); !cmp.Equal(ra, rb) {
				t.Fatalf("seed %d, command %d: %+v and %+v", seed, i, ra, rb)
			}
			ha, _ := a.m.Fingerprint(a.s)
			hb, _ := b.m.Fingerprint(b.s)
			if ha != hb {
				t.Fatalf("seed %d, command %d %T: replicas differ", seed, i, c)
			}
			if _, _, err := Read(a.s); err != nil {
				t.Fatalf("seed %d, command %d %+v: %v", seed, i, c, err)
			}
		}
	}
}

func TestDamageHalts(t *testing.T) {
	l := newLog(t)
	l.apply(boot())
	k := key(rowCluster, "")
	v, _, _ := l.s.Get(k)
	v = bytes.Clone(v)
	v[0] ^= 1
	if err := l.s.Set(k, v); err != nil {
		t.Fatal(err)
	}
	var w fsm.BatchWriter
	w.Add(chat.Salt{}, Encode(nil, SetToken{}))
	if _, err := l.m.Apply(l.s, 2, w.Finish(fsm.Stamp{}), nil); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("a damaged row: %v", err)
	}
	w.Reset()
	w.Add(chat.Salt{}, fsm.Wrap(nil, 150, []byte("from the future")))
	if _, err := newLog(t).m.Apply(fsmtest.NewStore(), 2, w.Finish(fsm.Stamp{}), nil); chat.CodeOf(err) != chat.UnknownType {
		t.Errorf("an unknown command: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range []Command{boot(), JoinNode{TokenHash{}, node("n2")}, UpdateNode{node("n")}, SetNodeState{"n", 1}, RemoveNode{"n"}, SetReplicas{1, 2, []shard.NodeID{"a"}}, SetToken{}} {
		f.Add(Encode(nil, c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		if got := Encode(nil, c); !bytes.Equal(got, b) {
			t.Errorf("%x decodes and encodes as %x", b, got)
		}
	})
}
