package plan

import (
	"math"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func figures(t *testing.T) Figures {
	t.Helper()
	f, err := Measured()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestComputeByHand(t *testing.T) {
	f := Figures{
		AppendCPUMicros: 20, DeliveryCPUMicros: 10, HeartbeatMicros: 5, GroupAppendsMax: 10_000,
		EntryDiskBytes: 100, ConnectionBytes: 10_000, NodeBaseBytes: 1e6,
	}
	l := Load{
		DailyUsers: 86.4e6, MessagesPerUser: 10, MessageBytes: 200, MembersOnline: 3, OnlineShare: 0.5, DevicesPerUser: 2, PeakFactor: 2,
		CommandsPerSend: 1.5, Replicas: 3, RetentionDays: 10, HeartbeatSecs: 10, NodeCores: 10, NodeMemoryBytes: 101e9, NodeDiskBytes: 1e12, UtilisationMax: 1,
	}
	got, err := Compute(l, f)
	if err != nil {
		t.Fatal(err)
	}
	want := Row{
		DailyUsers: 86.4e6, SendsPerDay: 864e6, SendsPerSec: 20_000, CommandsPerSec: 30_000, Deliveries: 60_000,
		Connections: 86.4e6, Heartbeats: 8.64e6, Groups: 8, Clusters: 1, StoreCores: 1, FrontCores: 44,
		DiskPerDay: 864e6 * 900, DiskBytes: 864e6 * 9000, MemoryBytes: 864e9, Nodes: 9, Bound: "memory",
	}
	if got != want {
		t.Errorf("Compute =\n%+v, want\n%+v", got, want)
	}
}

func TestComputeGrowsWithUsers(t *testing.T) {
	l, f := DefaultLoad(), figures(t)
	var last Row
	for _, users := range []float64{1e3, 50e6, 500e6, 1e9, 10e9} {
		l.DailyUsers = users
		r, err := Compute(l, f)
		if err != nil {
			t.Fatal(err)
		}
		if r.Nodes < last.Nodes || r.Groups < last.Groups || r.DiskBytes <= last.DiskBytes {
			t.Errorf("%v users need %+v, less than fewer users: %+v", users, r, last)
		}
		if r.Nodes < l.Replicas || r.Groups < groupsMin {
			t.Errorf("%v users: %v nodes and %v groups, want at least %v and %v", users, r.Nodes, r.Groups, l.Replicas, groupsMin)
		}
		last = r
	}
}

func TestComputeRefuses(t *testing.T) {
	tests := []struct {
		name string
		set  func(*Load)
		want string
	}{
		{"no users", func(l *Load) { l.DailyUsers = 0 }, "--users"},
		{"not a number", func(l *Load) { l.MessageBytes = math.NaN() }, "--bytes"},
		{"share over one", func(l *Load) { l.OnlineShare = 1.5 }, "--online"},
		{"peak without end", func(l *Load) { l.PeakFactor = math.Inf(1) }, "--peak"},
		{"half a replica", func(l *Load) { l.Replicas = 2.5 }, "--replicas"},
		{"peak below the average", func(l *Load) { l.PeakFactor = 0.5 }, "--peak"},
		{"node too small", func(l *Load) { l.NodeMemoryBytes = 1 << 20 }, "--node-memory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := DefaultLoad()
			tt.set(&l)
			if _, err := Compute(l, figures(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Compute = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestParseFigures(t *testing.T) {
	for _, bad := range []string{``, `{}`, `{"append_cpu_us": 1, "typo": 2}`, `{"append_cpu_us": -1}`} {
		if _, err := ParseFigures([]byte(bad)); err == nil {
			t.Errorf("ParseFigures(%q) found nothing wrong", bad)
		}
	}
}

func TestPrint(t *testing.T) {
	l, f := DefaultLoad(), figures(t)
	r, err := Compute(l, f)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Print(&b, []Row{r, r}, f); err != nil {
		t.Fatal(err)
	}
	for _, want := range append(Formulas(), "50.0 M", f.Machine) {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1.00 k"}, {Count(999_999), "1.00 M"}, {Count(50e6), "50.0 M"}, {Count(1e9), "1.00 G"},
		{Bytes(512), "512 B"}, {Bytes(27e15), "27.0 PB"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
