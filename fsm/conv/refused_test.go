package conv_test

import (
	"bytes"
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
	backAndNew := []chat.Change{{User: "rae", Role: chat.Writer}, {User: "new", Role: chat.Writer}}
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
			"changes that are of several sorts",
			fsm.ChangeMembers{Conv: "g", Actor: "ann", Device: "phone", ClientID: id(100), Changes: backAndNew}, chat.Invalid,
			fsmtest.Change("g", "ann", id(101), chat.NoRole, "rae"),
			func(id chat.ClientID) fsm.Command {
				return fsm.ChangeMembers{Conv: "g", Actor: "ann", Device: "phone", ClientID: id, Changes: backAndNew}
			},
		},
		{
			"a change without the right to it", fsmtest.Change("g", "bob", id(100), chat.Writer, "new"), chat.Forbidden,
			fsmtest.Change("g", "ann", id(101), chat.Admin, "bob"),
			func(id chat.ClientID) fsm.Command { return fsmtest.Change("g", "bob", id, chat.Writer, "new") },
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
		l, s := room(t) // dee has a refusal
		stranger := func(n int) chat.UserID { return chat.UserID(fmt.Sprintf("eve%04d", n)) }
		for n := range conv.RefusersMax - 1 {
			once(t, l, fsmtest.Send("g", stranger(n), id(100), "x"))
		}
		once(t, l, fsmtest.Send("g", "eve0000a", id(100), "x")) // eve0001 has to go
		once(t, l, fsmtest.Send("g", "zoe", id(100), "x"))      // dee has to go, who is the first
		once(t, l, fsmtest.Change("g", "ann", id(99), chat.Writer, "eve0000", "eve0000a", "eve0001", "eve0002", "zoe", "dee"))
		for user, want := range map[chat.UserID]chat.Code{
			"eve0000": chat.NotFound, "eve0000a": chat.NotFound, "eve0001": chat.OK, "eve0002": chat.NotFound, "zoe": chat.NotFound,
		} {
			if got := once(t, l, fsmtest.Send("g", user, id(100), "x")); got.Code != want {
				t.Errorf("%s gets %+v, want code %q", user, got, want)
			}
		}
		if got := once(t, l, fsmtest.Send("g", "dee", id(5), "late")); got.Code != chat.OK {
			t.Errorf("dee gets %+v, want that the refusal is forgotten", got)
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

// Verify finds what was refused and is in the log all the same, also behind the
// last checkpoint.
func TestVerifyFindsARefusedEntry(t *testing.T) {
	l, s := room(t)
	key, row := refusalsOf(t, s, "dee")
	if err := s.Delete(key); err != nil {
		t.Fatal(err)
	}
	l.Machine.Reset()
	l.Must(t, now+10, fsmtest.Change("g", "ann", id(99), chat.Writer, "dee"))
	l.Must(t, now+11, fsmtest.Send("g", "dee", id(5), "late"))
	if err := s.Set(key, row); err != nil {
		t.Fatal(err)
	}
	if _, err := conv.Verify(s, group); err == nil {
		t.Error("Verify is content, want a fault")
	}
}

// refusalsOf is the row of what of a user was refused.
func refusalsOf(t *testing.T, s *fsmtest.Store, user string) (key, row []byte) {
	t.Helper()
	if err := s.Scan(nil, []byte{0xff}, false, func(k, v []byte) (bool, error) {
		if k[21] == 0x06 && string(k[22:]) == user {
			key, row = bytes.Clone(k), bytes.Clone(v)
		}
		return key == nil, nil
	}); err != nil {
		t.Fatal(err)
	}
	if key == nil {
		t.Fatalf("%s has no refusals", user)
	}
	return key, row
}

// A conversation of the time before refusals were kept has a shorter row.
func TestRowOfBeforeRefusals(t *testing.T) {
	l, s := room(t)
	key, _ := refusalsOf(t, s, "dee")
	if err := s.Delete(key); err != nil {
		t.Fatal(err)
	}
	own := append(bytes.Clone(key[:21]), 0x01)
	row, ok, err := s.Get(own)
	if err != nil || !ok {
		t.Fatalf("the row of the conversation: %v, %v", ok, err)
	}
	before := bytes.Clone(row[:len(row)-fsm.SumBytes-1])
	if err := s.Set(own, fsm.Seal(own, before)); err != nil {
		t.Fatal(err)
	}
	l.Machine.Reset()
	if _, err := conv.Verify(s, group); err != nil {
		t.Error(err)
	}
	if got := once(t, l, fsmtest.Send("g", "dee", id(6), "later")); got.Code != chat.NotFound {
		t.Errorf("dee's message gets %+v, want not_found", got)
	}
	if _, err := conv.Verify(s, group); err != nil {
		t.Error(err)
	}
}
