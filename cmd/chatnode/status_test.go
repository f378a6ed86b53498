package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/node"
)

// TestGroupsWithoutLeader: who votes is the leader's word, and without one nobody
// is said to catch up.
func TestGroupsWithoutLeader(t *testing.T) {
	replicas := []node.ReplicaReport{
		{Node: "a", Role: "follower", Applied: 5}, {Node: "b", Role: "unreachable"}, {Node: "c", Role: "leader", Voter: true, Applied: 5},
	}
	for _, tt := range []struct {
		name   string
		group  node.GroupReport
		want   []string
		absent string
	}{
		{"led", node.GroupReport{Group: 1, Leader: "c", Replicas: replicas}, []string{"a (5, 0, catching up)", "b (unreachable)", "c (5, 0)"}, "unknown"},
		{"nobody leads", node.GroupReport{Group: 1, Replicas: replicas[:2]}, []string{"a (5, 0, vote unknown)", "b (unreachable)"}, "catching up"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := writeGroups(&out, node.ClusterReport{Groups: []node.GroupReport{tt.group}}); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), tt.absent) {
				t.Errorf("%q in\n%s", tt.absent, out.String())
			}
		})
	}
}
