package shard

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHash pins what is part of stored keys.
func TestHash(t *testing.T) {
	tests := []struct {
		key  string
		hash uint64
		slot Slot
	}{
		{"", 0xef46db3751d8e999, 3828},
		{"a", 0xd24ec4f1a98c6e5b, 3364},
		{"room", Hash("room"), SlotOfHash(Hash("room"))},
	}
	for _, tt := range tests {
		if got := Hash(tt.key); got != tt.hash {
			t.Errorf("Hash(%q) = %#x, want %#x", tt.key, got, tt.hash)
		}
		if got := SlotOf(tt.key); got != tt.slot || got >= Slots {
			t.Errorf("SlotOf(%q) = %d, want %d", tt.key, got, tt.slot)
		}
	}
}

func TestSpreadIsEven(t *testing.T) {
	for _, groups := range []int{1, 2, 3, 8, 100, 255, 256} {
		n := make([]int, groups+1)
		last := GroupID(1)
		for s, g := range Spread(groups) {
			if g < last || int(g) > groups {
				t.Fatalf("%d groups: slot %d in group %d after %d", groups, s, g, last)
			}
			last = g
			n[g]++
		}
		for g := 1; g <= groups; g++ {
			if n[g] < Slots/groups || n[g] > Slots/groups+1 {
				t.Errorf("%d groups: group %d has %d slots", groups, g, n[g])
			}
		}
	}
}

func sample(tb testing.TB) *Map {
	tb.Helper()
	m, err := New(Map{
		Cluster: "c1", Epoch: 9, Level: 1,
		Nodes: []Node{
			{ID: "n1", Client: "h1:1", Peer: "h1:2", Zone: "east", State: Active, Level: 1, Incarnation: [16]byte{1}},
			{ID: "n2", Client: "h2:1", Peer: "h2:2", State: Leaving, Level: 1},
		},
		Groups: []Group{
			{ID: 0, Epoch: 3, Replicas: []NodeID{"n1"}},
			{ID: 1, Epoch: 1, Replicas: []NodeID{"n2", "n1"}},
			{ID: 2, Epoch: 1},
		},
	}, Spread(2))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestMapCodec(t *testing.T) {
	m := sample(t)
	b := m.Append(nil)
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(Map{})); diff != "" {
		t.Error(diff)
	}
	const golden = "0a02633110091801220610031a026e31220a10011a026e321a026e31220210012a2c0a026e311204" +
		"68313a311a0468313a32220465617374280130013a10010000000000000000000000000000002a26" +
		"0a026e32120468323a311a0468323a32280230013a10000000000000000000000000000000003081" +
		"8080403082808040"
	if h := hex.EncodeToString(b); h != golden {
		t.Errorf("encoded as\n%s, want\n%s", h, golden)
	}
	if m.GroupOfKey("a") != m.GroupOf(SlotOf("a")) || m.Peer("n2") != "h2:2" || m.Peer("n3") != "" {
		t.Error("look-ups disagree")
	}
}

func TestMapRefuses(t *testing.T) {
	node := func(id NodeID) Node { return Node{ID: id, Client: "x:1", Peer: "x:2", State: Active} }
	base := func() Map {
		return Map{Cluster: "c", Nodes: []Node{node("a"), node("b")}, Groups: []Group{{ID: 0}, {ID: 1}}}
	}
	tests := []struct {
		name string
		bend func(m *Map)
	}{
		{"no cluster", func(m *Map) { m.Cluster = "" }},
		{"no conversation group", func(m *Map) { m.Groups = m.Groups[:1] }},
		{"nodes out of order", func(m *Map) { m.Nodes[0], m.Nodes[1] = m.Nodes[1], m.Nodes[0] }},
		{"a node twice", func(m *Map) { m.Nodes[1] = m.Nodes[0] }},
		{"replica on an unknown node", func(m *Map) { m.Groups[1].Replicas = []NodeID{"z"} }},
		{"two replicas on a node", func(m *Map) { m.Groups[1].Replicas = []NodeID{"a", "a"} }},
		{"a group in another's place", func(m *Map) { m.Groups[1].ID = 5 }},
		{"address with a space", func(m *Map) { m.Nodes[0].Peer = "a b" }},
		{"long zone", func(m *Map) { m.Nodes[0].Zone = strings.Repeat("z", ZoneBytesMax+1) }},
		{"no state", func(m *Map) { m.Nodes[0].State = 0 }},
	}
	if _, err := New(base(), Spread(1)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		m := base()
		tt.bend(&m)
		if _, err := New(m, Spread(1)); err == nil {
			t.Errorf("%s: was taken", tt.name)
		}
	}
	if _, err := New(base(), Spread(2)); err == nil {
		t.Error("slots of a group that is not there were taken")
	}
	if _, err := New(base(), Spread(1)[1:]); err == nil {
		t.Error("a slot too few was taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(sample(f).Append(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		one := m.Append(nil)
		again, err := Decode(one)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Append(nil), one) {
			t.Error("a map changes on its way")
		}
	})
}

func BenchmarkGroupOfKey(b *testing.B) {
	m := sample(b)
	keys := make([]string, 64)
	for i := range keys {
		keys[i] = fmt.Sprintf("conversation-%d", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		m.GroupOfKey(keys[i%len(keys)])
	}
}
