package router

import (
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
	"github.com/chatnode/chatnode/wire"
)

// TestProofBeyondTheReplica asks for proofs at a replica whose newest entry of
// the conversation is 3, the third being bob's removal.
// room is the rows of a conversation that bob, added at first, has been removed from
// by entry 3, with an entry after it.
func room(t *testing.T) fsm.Reader {
	t.Helper()
	rows := fsmtest.NewStore()
	log := fsmtest.Log{Machine: conv.New(1, nil), Store: rows}
	for _, cmd := range []fsm.Command{
		fsm.Create{Conv: "room", Creator: "ann", Device: "d", ClientID: chat.ClientID{1}, Kind: chat.Group, Members: []chat.Change{{User: "bob", Role: chat.Writer}}},
		fsm.Append{Conv: "room", Sender: "ann", Device: "d", ClientID: chat.ClientID{2}, Text: "x"},
		fsm.ChangeMembers{Conv: "room", Actor: "ann", Device: "d", ClientID: chat.ClientID{3}, Changes: []chat.Change{{User: "bob", Role: chat.NoRole}}},
		fsm.Append{Conv: "room", Sender: "ann", Device: "d", ClientID: chat.ClientID{4}, Text: "y"},
	} {
		res, err := log.Apply(fsmtest.Epoch, cmd)
		if err != nil || res[0].Code != chat.OK {
			t.Fatalf("%T: %v, %v", cmd, res, err)
		}
	}
	return rows
}

// What somebody may not see, min_seq must not tell either.
func TestMinSeqTellsNothingElse(t *testing.T) {
	rows := room(t)
	tests := []struct {
		user         chat.UserID
		minSeq       chat.Seq
		stale, fresh chat.Code
	}{
		{"ann", 4, chat.OK, chat.OK},
		{"ann", 5, chat.Behind, chat.Behind},
		{"bob", 3, chat.OK, chat.OK},
		{"bob", 4, chat.Behind, chat.Behind}, // there is a 4
		{"bob", 5, chat.Behind, chat.Behind}, // there is none
		{"eve", 1, chat.Behind, chat.NotFound},
		{"eve", 4, chat.Behind, chat.NotFound},
		{"eve", 5, chat.Behind, chat.NotFound},
	}
	for _, tt := range tests {
		for level, want := range map[wire.Level]chat.Code{wire.Stale: tt.stale, wire.Leader: tt.fresh, wire.Linearizable: tt.fresh} {
			q := Request{Kind: ReadPage, Level: level, Conv: "room", User: tt.user, MinSeq: tt.minSeq}
			_, err := execute(rows, 1, &q)
			_, sent := appendAnswer(nil, rows, 1, &q)
			if got, other := chat.CodeOf(err), chat.CodeOf(sent); got != want || other != want {
				t.Errorf("%s from %d, level %d: %q here, %q for another node, want %q", tt.user, tt.minSeq, level, got, other, want)
			}
		}
	}
}

func TestProofBeyondTheReplica(t *testing.T) {
	rows := room(t)
	tests := []struct {
		name               string
		user               chat.UserID
		seq, oldSize, size chat.Seq
		stale, fresh       chat.Code
	}{
		{"all there", "ann", 2, 0, 3, chat.OK, chat.OK},
		{"size beyond", "ann", 2, 0, 5, chat.Behind, chat.Invalid},
		{"seq beyond", "ann", 5, 0, 0, chat.Behind, chat.Invalid},
		{"old size beyond", "ann", 0, 5, 0, chat.Behind, chat.Invalid},
		{"old size and size beyond", "ann", 0, 5, 9, chat.Behind, chat.Invalid},
		{"seq above the size", "ann", 3, 0, 2, chat.Invalid, chat.Invalid},
		{"seq above the size, both beyond", "ann", 9, 0, 8, chat.Invalid, chat.Invalid},
		{"old size above the size", "ann", 0, 9, 8, chat.Invalid, chat.Invalid},
		{"what bob saw", "bob", 1, 0, 3, chat.OK, chat.OK},
		{"what bob may not see", "bob", 1, 0, 4, chat.Behind, chat.Invalid},
		{"a stranger", "eve", 2, 0, 4, chat.NotFound, chat.NotFound},
	}
	for _, tt := range tests {
		for level, want := range map[wire.Level]chat.Code{wire.Stale: tt.stale, wire.Leader: tt.fresh, wire.Linearizable: tt.fresh} {
			q := Request{Kind: ReadProof, Level: level, Conv: "room", User: tt.user, Seq: tt.seq, OldSize: tt.oldSize, Size: tt.size}
			_, err := execute(rows, 1, &q)
			_, sent := appendAnswer(nil, rows, 1, &q)
			if got, other := chat.CodeOf(err), chat.CodeOf(sent); got != want || other != want {
				t.Errorf("%s, level %d: %q here, %q for another node, want %q", tt.name, level, got, other, want)
			}
		}
	}
}
