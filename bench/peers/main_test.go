package main

import (
	"io"
	"strings"
	"testing"
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
