package conv_test

import (
	"fmt"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

// once applies one command and returns its result.
func once(tb testing.TB, l *fsmtest.Log, c fsm.Command) fsm.Result {
	tb.Helper()
	res, err := l.Apply(now+10, c)
	if err != nil {
		tb.Fatal(err)
	}
	return res[0]
}

// Between two attempts of the same command what refused the first goes away. The
// answer must stay, or a message that its sender takes for refused appears later.
func TestRefusalIsFinal(t *testing.T) {
	tests := []struct {
		name    string
		cmd     fsm.Command
		want    chat.Code
		between fsm.Command
		again   func(id chat.ClientID) fsm.Command
	}{
		{
			"a message of one who left", fsmtest.Send("g", "dee", id(100), "x"), chat.NotFound,
			fsmtest.Change("g", "ann", id(101), chat.Writer, "dee"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Send("g", "dee", id, "x") },
		},
		{
			"a message of a stranger", fsmtest.Send("g", "eve", id(100), "x"), chat.NotFound,
			fsmtest.Change("g", "ann", id(101), chat.Writer, "eve"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Send("g", "eve", id, "x") },
		},
		{
			"a message of a reader", fsmtest.Send("g", "rae", id(100), "x"), chat.Forbidden,
			fsmtest.Change("g", "ann", id(101), chat.Writer, "rae"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Send("g", "rae", id, "x") },
		},
		{
			"adding a member again", fsmtest.Change("g", "ann", id(100), chat.Writer, "bob"), chat.AlreadyMember,
			fsmtest.Change("g", "ann", id(101), chat.NoRole, "bob"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Change("g", "ann", id, chat.Writer, "bob") },
		},
		{
			"removing one who left", fsmtest.Change("g", "ann", id(100), chat.NoRole, "dee"), chat.NotMember,
			fsmtest.Change("g", "ann", id(101), chat.Writer, "dee"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Change("g", "ann", id, chat.NoRole, "dee") },
		},
		{
			"leaving as the last owner", fsmtest.Change("g", "ann", id(100), chat.NoRole, "ann"), chat.LastOwner,
			fsmtest.Change("g", "ann", id(101), chat.Owner, "abe"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Change("g", "ann", id, chat.NoRole, "ann") },
		},
	}
	for _, tt := range tests {
		for _, cold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cold=%v", tt.name, cold), func(t *testing.T) {
				l, s := room(t)
				if got := once(t, l, tt.cmd); got.Code != tt.want {
					t.Fatalf("refused with %q, want %q", got.Code, tt.want)
				}
				if got := once(t, l, tt.between); got.Code != chat.OK {
					t.Fatalf("between: %+v", got)
				}
				if cold {
					l.Machine.Reset()
				}
				for range 2 {
					if got := once(t, l, tt.again(id(100))); got.Code != tt.want {
						t.Fatalf("a later attempt gets %+v, want code %q", got, tt.want)
					}
				}
				if got := once(t, l, tt.again(id(102))); got.Code != chat.OK {
					t.Errorf("the same under a new id gets %+v, want that it is accepted", got)
				}
				if _, err := conv.Verify(s, group); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// What is kept is bounded: of one user, and in users.
func TestRefusalsAreBounded(t *testing.T) {
	t.Run("of one user", func(t *testing.T) {
		l, s := room(t)
		for n := range conv.RefusalsMax + 1 {
			once(t, l, fsmtest.Send("g", "dee", id(uint64(100+n)), "x"))
		}
		once(t, l, fsmtest.Change("g", "ann", id(99), chat.Writer, "dee"))
		if got := once(t, l, fsmtest.Send("g", "dee", id(101), "x")); got.Code != chat.NotFound {
			t.Errorf("the second of %d gets %+v, want not_found", conv.RefusalsMax+1, got)
		}
		if got := once(t, l, fsmtest.Send("g", "dee", id(100), "x")); got.Code != chat.OK {
			t.Errorf("the first of %d gets %+v, want that it is forgotten", conv.RefusalsMax+1, got)
		}
		if _, err := conv.Verify(s, group); err != nil {
			t.Error(err)
		}
	})
	t.Run("in users", func(t *testing.T) {
		l, s := room(t)
		stranger := func(n int) chat.UserID { return chat.UserID(fmt.Sprintf("eve%d", n)) }
		for n := range conv.RefusersMax + 1 {
			once(t, l, fsmtest.Send("g", stranger(n), id(100), "x"))
		}
		last := []chat.UserID{stranger(conv.RefusersMax - 1), stranger(conv.RefusersMax)}
		once(t, l, fsmtest.Change("g", "ann", id(99), chat.Writer, last...))
		for i, want := range []chat.Code{chat.NotFound, chat.OK} {
			if got := once(t, l, fsmtest.Send("g", last[i], id(100), "x")); got.Code != want {
				t.Errorf("%s gets %+v, want code %q", last[i], got, want)
			}
		}
		if _, err := conv.Verify(s, group); err != nil {
			t.Error(err)
		}
	})
}

// A user without refusals is told from one with them after any order of the two.
func TestRefusalOfOneWhoWasClean(t *testing.T) {
	l, _ := room(t)
	once(t, l, fsmtest.Send("g", "eve", id(100), "x"))                         // somebody has refusals
	once(t, l, fsmtest.Send("g", "ann", id(101), "x"))                         // ann is known to have none
	once(t, l, fsmtest.Change("g", "ann", id(102), chat.NoRole, "eve"))        // refused
	once(t, l, fsmtest.Change("g", "ann", id(103), chat.Writer, "eve"))        // now it would do
	got := once(t, l, fsmtest.Change("g", "ann", id(102), chat.NoRole, "eve")) // an earlier attempt
	if got.Code != chat.NotMember {
		t.Errorf("the earlier attempt gets %+v, want not_member", got)
	}
}
