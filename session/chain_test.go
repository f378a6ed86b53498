package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
)

// TestRefusedSendsBreakTheChain sends a good message, one that is refused and
// one behind it, in one frame and in three.
func TestRefusedSendsBreakTheChain(t *testing.T) {
	id := sessiontest.ID(2)
	send := func(fields string) string {
		return fmt.Sprintf(`{"type":"send","ref":2,"conv":"r",%s}`, fields)
	}
	named := func(fields string) string { return send(fmt.Sprintf(`"id":%q,%s`, id, fields)) }
	tests := []struct {
		name, frame string
		code        chat.Code
		lands       bool // the one behind it
	}{
		{"too large", named(`"text":"` + strings.Repeat("x", chat.TextRunesMax+1) + `"`), chat.TooLarge, false},
		{"text no string", named(`"text":7`), chat.Invalid, false},
		{"text no string before the id", fmt.Sprintf(`{"text":7,"id":%q,"conv":"r","ref":2,"type":"send"}`, id), chat.Invalid, false},
		{"no text", named(`"x":7`), chat.Invalid, false},
		{"empty text", named(`"text":""`), chat.Invalid, false},
		{"half a character", named(`"text":"\ud83d"`), chat.InvalidUTF8, false},
		{"content type too large", named(`"text":"x","content_type":"` + strings.Repeat("x", 65) + `"`), chat.TooLarge, false},
		{"content type malformed", named(`"text":"x","content_type":"\u0000"`), chat.Invalid, false},
		{"after no UUID", named(`"text":"x","after":"1"`), chat.Invalid, false},
		{"expired", send(`"id":"018f3c5e-7b1a-7000-8000-000000000003","text":"x"`), chat.Expired, false},
		{"no id", send(`"text":"x"`), chat.Invalid, true},
		{"id no UUID", send(`"id":"1","text":"x"`), chat.Invalid, true},
		{"conflict", send(fmt.Sprintf(`"id":%q,"text":"another"`, sessiontest.ID(9))), chat.Conflict, true},
	}
	for _, tt := range tests {
		for _, one := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/one frame %v", tt.name, one), func(t *testing.T) {
				c := sessiontest.New(t)
				c.Room(t, "r", "bob")
				d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
				d.Send(sendFrame(9, 9, "r", "there"))
				d.Answer(9)
				c.Hold()
				all := []string{sendFrame(1, 1, "r", "a"), tt.frame, sendFrame(3, 3, "r", "c")}
				if one {
					all = []string{"[" + strings.Join(all, ",") + "]"}
				}
				for _, f := range all {
					d.Send(f)
				}
				c.Release()
				a, b, behind := d.Answer(1), d.Answer(2), d.Answer(3)
				if a.Type != wire.Ack || b.Code != tt.code {
					t.Errorf("got %+v and %+v, want an ack and %s", a, b, tt.code)
				}
				if tt.lands != (behind.Type == wire.Ack) || !tt.lands && behind.Code != chat.PredecessorAbsent {
					t.Errorf("the one behind got %+v, lands should be %v", behind, tt.lands)
				}
				d.Send(sendFrame(4, 4, "r", "anew"))
				if r := d.Answer(4); r.Type != wire.Ack {
					t.Errorf("with every answer there, a send got %+v, want an ack", r)
				}
			})
		}
	}
}

// TestTheFirstOfAChainIsRefused: nothing before it is unanswered.
func TestTheFirstOfAChainIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := sessiontest.New(t)
		c.Room(t, "r", "bob")
		d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
		d.Send(fmt.Sprintf(`[{"type":"send","ref":1,"conv":"r","id":%q,"text":7},%s]`, sessiontest.ID(1), sendFrame(2, 2, "r", "b")))
		if r := d.Answer(2); r.Code != chat.PredecessorAbsent {
			t.Errorf("the one behind got %+v, want predecessor_missing", r)
		}
		synctest.Wait() // until the errors are taken
		d.Send("[" + sendFrame(3, 1, "r", "a") + "," + sendFrame(4, 2, "r", "b") + "]")
		if a, b := d.Answer(3), d.Answer(4); a.Ack.Seq != 2 || b.Ack.Seq != 3 {
			t.Errorf("sent again: %+v and %+v, want acks of 2 and 3", a, b)
		}
		d.Close()
	})
}

// TestBusyBreaksTheChain: a send over the limit of unanswered ones may be sent
// again at once; those behind it fail.
func TestBusyBreaksTheChain(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	cfg := config()
	cfg.UnackedMax = 2
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	c.Hold()
	d.Send("[" + sendFrame(1, 1, "r", "a") + "," + sendFrame(2, 2, "r", "b") + "," + sendFrame(3, 3, "r", "c") + "]")
	if r := d.Answer(3); r.Code != chat.Busy {
		t.Fatalf("one too many got %+v, want busy", r)
	}
	cfg.UnackedMax = 4
	d.Send("[" + sendFrame(4, 4, "r", "d") + "," + sendFrame(5, 4, "r", "d") + "]")
	c.Release()
	if r := d.Answer(4); r.Code != chat.PredecessorAbsent {
		t.Errorf("the one behind got %+v, want predecessor_missing", r)
	}
	if r := d.Answer(5); r.Code != chat.PredecessorAbsent {
		t.Errorf("the same again got %+v, want predecessor_missing", r)
	}
}
