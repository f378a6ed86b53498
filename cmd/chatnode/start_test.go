package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/chatnode/chatnode/node"
)

// fakeNode is a node whose quorum comes when the test says so.
type fakeNode struct {
	serving chan struct{}
	failed  chan error
}

func (f *fakeNode) Addresses() node.Addresses { return node.Addresses{Client: "h:1", Peer: "h:2"} }
func (f *fakeNode) Serving() <-chan struct{}  { return f.serving }
func (f *fakeNode) Failed() <-chan error      { return f.failed }

// TestReadyIsSaidWhenItServes: at once, or as late as the quorum comes, and never
// without one.
func TestReadyIsSaidWhenItServes(t *testing.T) {
	const waits, ready = "started, and waits for a quorum: client=h:1 peer=h:2\n", "ready client=h:1 peer=h:2\n"
	broken := errors.New("broken")
	tests := []struct {
		name        string
		first, late bool // when it serves
		fails       error
		want        string
	}{
		{"at once", true, false, nil, ready},
		{"late", false, true, nil, waits + ready},
		{"never", false, false, nil, waits},
		{"late, and fails", false, true, broken, waits + ready},
		{"fails", false, false, broken, waits},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &fakeNode{serving: make(chan struct{}), failed: make(chan error, 1)}
				if tt.first {
					close(n.serving)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var out bytes.Buffer
				a := &app{stdout: &out}
				done := make(chan error, 1)
				go func() { done <- a.untilEnd(ctx, n) }()
				synctest.Wait()
				if tt.late {
					close(n.serving)
				}
				synctest.Wait()
				if tt.fails != nil {
					n.failed <- tt.fails
				} else {
					cancel()
				}
				if err := <-done; !errors.Is(err, tt.fails) {
					t.Errorf("untilEnd = %v, want %v", err, tt.fails)
				}
				if out.String() != tt.want {
					t.Errorf("it said %q, want %q", out.String(), tt.want)
				}
			})
		})
	}
}
