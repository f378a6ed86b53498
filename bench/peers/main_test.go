package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		args string
		want string // part of the error, "" for none
	}{
		{name: "least", args: "--binary etcd --system etcd"},
		{name: "no binary", args: "--system etcd", want: "--binary is missing"},
		{name: "unknown system", args: "--binary x --system kafka", want: `--system "kafka"`},
		{name: "unknown work", args: "--binary x --work dance", want: `--work "dance"`},
		{name: "unknown sync", args: "--binary x --sync never", want: `--sync "never"`},
		{name: "too many in flight", args: "--binary x --outstanding 5000", want: "--outstanding 5000"},
		{name: "two faults at once", args: "--bytes 0", want: "--bytes 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(strings.Fields(tt.args), io.Discard)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("parse = %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("parse = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestOwnStreams: every stream has connections, and a connection has one stream
// wherever there are enough of them.
func TestOwnStreams(t *testing.T) {
	for _, tt := range []struct{ streams, conns int }{{1, 1}, {1, 32}, {8, 32}, {5, 32}, {8, 3}, {64, 32}, {8, 8}} {
		j := &jetstream{streams: tt.streams}
		for i := range tt.streams {
			j.subjects = append(j.subjects, subjectOf(i))
		}
		used := map[string]bool{}
		for c := range tt.conns {
			own := j.own(c, tt.conns)
			if len(own) == 0 || tt.conns >= tt.streams && len(own) != 1 {
				t.Errorf("%d streams, connection %d of %d has %v", tt.streams, c, tt.conns, own)
			}
			for _, s := range own {
				used[s] = true
			}
		}
		if len(used) != tt.streams {
			t.Errorf("%d connections use %d of %d streams", tt.conns, len(used), tt.streams)
		}
	}
}

func TestParseStolen(t *testing.T) {
	const line = "cpu  1728776 227388 675705 3568131 104221 0 107233 331070 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
	if got, want := parseStolen([]byte(line)), 3_310_700*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"", "cpu", "cpu0 1 2 3 4 5 6 7 8"} {
		if got := parseStolen([]byte(bad)); got != 0 {
			t.Errorf("%q gives %v", bad, got)
		}
	}
}
