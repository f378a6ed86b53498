package session_test

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/session/sessiontest"
	"github.com/chatnode/chatnode/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() *session.Config {
	c := session.DefaultConfig()
	c.RetryWait = time.Millisecond
	return &c
}

func sendFrame(ref, id uint64, conv, text string) string {
	return fmt.Sprintf(`{"type":"send","ref":%d,"conv":%q,"id":%q,"text":%q}`, ref, conv, sessiontest.ID(id), text)
}

func upTo(n chat.Seq, from chat.Seq) []chat.Seq {
	var seqs []chat.Seq
	for s := from; s <= n; s++ {
		seqs = append(seqs, s)
	}
	return seqs
}

func TestFirstFrameIsHello(t *testing.T) {
	c := sessiontest.New(t)
	d := sessiontest.Connect(t, config(), c.Deps())
	d.Send(`{"type":"ping","ref":1}`)
	if end := d.Ending(); end.Code != chat.Unauthenticated {
		t.Errorf("ended with %q, want unauthenticated", end.Code)
	}
}

func TestHello(t *testing.T) {
	c := sessiontest.New(t)
	deps := c.Deps()
	deps.Verify = func(token string) (auth.Principal, error) {
		p, err := sessiontest.Verify(token)
		if token == "fixed" {
			p.User, p.Device = "ann", "phone"
		}
		return p, err
	}
	tests := []struct {
		name, frame string
		want        wire.Type
		device      chat.DeviceID
		code        chat.Code
	}{
		{"device of the frame", `{"type":"hello","ref":1,"token":"ann","device":"tab"}`, wire.Welcome, "tab", ""},
		{"device of the token", `{"type":"hello","ref":1,"token":"fixed"}`, wire.Welcome, "phone", ""},
		{"both the same", `{"type":"hello","ref":1,"token":"fixed","device":"phone"}`, wire.Welcome, "phone", ""},
		{"they differ", `{"type":"hello","ref":1,"token":"fixed","device":"tab"}`, wire.Error, "", chat.Forbidden},
		{"bad token", `{"type":"hello","ref":1,"token":"no user"}`, wire.Error, "", chat.Unauthenticated},
		{"no token", `{"type":"hello","ref":1}`, wire.Error, "", chat.Unauthenticated},
		{"bad device", `{"type":"hello","ref":1,"token":"ann","device":"a/b"}`, wire.Error, "", chat.Invalid},
		{"other version", `{"type":"hello","ref":1,"token":"ann","version":2}`, wire.Error, "", chat.UnsupportedVer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := sessiontest.Connect(t, config(), deps)
			d.Send(tt.frame)
			r := d.Answer(1)
			if r.Type != tt.want || r.Hello.Device != tt.device || r.Code != tt.code {
				t.Errorf("answer %v device %q code %q, want %v %q %q", r.Type, r.Hello.Device, r.Code, tt.want, tt.device, tt.code)
			}
		})
	}
}

func TestNewerConnectionReplacesOlder(t *testing.T) {
	c := sessiontest.New(t)
	deps := c.Deps()
	old := sessiontest.Login(t, config(), deps, "ann", "phone")
	other := sessiontest.Login(t, config(), deps, "ann", "tab")
	sessiontest.Login(t, config(), deps, "ann", "phone")
	if end := old.Ending(); end.Code != chat.Replaced {
		t.Errorf("the older one ended with %q, want replaced", end.Code)
	}
	if other.S.Ended() != nil {
		t.Error("another device was ended too")
	}
	old.Close()
	if n := deps.Registry.Len(); n != 2 {
		t.Errorf("%d sessions are registered, want 2", n)
	}
}

// A client gave a connection up, since no welcome came in time, and made another
// one. When its node goes on, the hello of the first one may come last.
func TestOlderConnectionDoesNotReplaceNewer(t *testing.T) {
	deps := sessiontest.New(t).Deps()
	older := sessiontest.Connect(t, config(), deps)
	newer := sessiontest.Login(t, config(), deps, "ann", "phone")
	older.Send(`{"type":"hello","ref":1,"token":"ann","device":"phone"}`)
	if end := older.Ending(); end.Code != chat.Replaced {
		t.Errorf("the older one ended with %q, want replaced", end.Code)
	}
	if newer.S.Ended() != nil {
		t.Error("the newer one was ended")
	}
	older.Close()
	if n := deps.Registry.Len(); n != 1 {
		t.Errorf("%d sessions are registered, want the newer one", n)
	}
}

func TestClock(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	now := time.Now()
	t.Run("no hello", func(t *testing.T) {
		d := sessiontest.Connect(t, config(), c.Deps())
		d.S.Tick(now.Add(9 * time.Second))
		if d.S.Ended() != nil {
			t.Fatal("ended too early")
		}
		d.S.Tick(now.Add(time.Minute))
		if end := d.Ending(); end.Code != chat.Timeout {
			t.Errorf("ended with %q, want timeout", end.Code)
		}
	})
	t.Run("token ends", func(t *testing.T) {
		d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
		d.S.Tick(now.Add(60*time.Minute + auth.Leeway - time.Second)) // as long as a login with it is taken
		if d.S.Ended() != nil {
			t.Fatal("ended too early")
		}
		d.S.Tick(now.Add(61 * time.Minute))
		if end := d.Ending(); end.Code != chat.Unauthenticated {
			t.Errorf("ended with %q, want unauthenticated", end.Code)
		}
	})
	t.Run("stands still", func(t *testing.T) {
		d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
		d.Send(`{"type":"subscribe","ref":2,"conv":"r","from":1}`)
		d.Answer(2)
		d.Stall(true)
		d.Send(`{"type":"ping","ref":3}`)
		d.S.Tick(now.Add(10 * time.Second))
		d.S.Tick(now.Add(39 * time.Second))
		if d.S.Ended() != nil {
			t.Fatal("ended too early")
		}
		d.S.Tick(now.Add(41 * time.Second))
		d.Stall(false)
		bye := d.Find("bye", func(r *wire.Reply) bool { return r.Type == wire.Bye })
		if bye.Code != chat.SlowReader || len(bye.Resume) != 1 || bye.Resume[0] != (wire.Cursor{Conv: "r", Seq: 1}) {
			t.Errorf("bye = %+v, want slow_reader with the cursor 1 of r", bye)
		}
	})
	t.Run("idle is no standstill", func(t *testing.T) {
		d := sessiontest.Login(t, config(), c.Deps(), "bob", "e")
		for i := range 10 {
			d.S.Tick(now.Add(time.Duration(i) * time.Minute))
		}
		if end := d.S.Ended(); end != nil {
			t.Errorf("ended with %q", end.Code)
		}
	})
}

func TestSendsAreAckedInOrder(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	frame := "["
	for i := range uint64(32) {
		if i > 0 {
			frame += ","
		}
		frame += sendFrame(10+i, i, "r", "x")
	}
	d.Send(frame + "]")
	for i := range uint64(32) {
		if r := d.Answer(10 + i); r.Type != wire.Ack || r.Ack.Seq != chat.Seq(2+i) || r.Ack.MsgNo != chat.MsgNo(1+i) || r.Conv != "" {
			t.Errorf("answer to %d = %+v, want an ack of seq %d", 10+i, r, 2+i)
		}
	}
	d.Send(sendFrame(50, 3, "r", "x"))
	if r := d.Answer(50); r.Type != wire.Ack || !r.Ack.Dup || r.Ack.Seq != 5 {
		t.Errorf("the retry got %+v, want the ack of seq 5 again", r)
	}
	d.Send(sendFrame(51, 3, "r", "y"))
	if r := d.Answer(51); r.Code != chat.Conflict {
		t.Errorf("another body under the same id got %+v, want conflict", r)
	}
}

func TestUnansweredSendsAreChained(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	var after []chat.ClientID
	c.Refuse(func(cmd []byte) error {
		_, body, _ := fsm.Split(cmd)
		v, err := fsm.ReadAppend(body)
		if err == nil {
			after = append(after, v.After)
		}
		return nil
	})
	c.Hold()
	d.Send("[" + sendFrame(1, 1, "r", "a") + "," + sendFrame(2, 2, "r", "b") + "," + sendFrame(3, 3, "other", "c") + "]")
	d.Send(fmt.Sprintf(`{"type":"send","ref":4,"conv":"r","id":%q,"after":%q,"text":"d"}`, sessiontest.ID(4), sessiontest.ID(9)))
	want := []chat.ClientID{{}, sessiontest.ID(1), {}, sessiontest.ID(9)}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("predecessors (-want +got):\n%s", diff)
	}
	c.Release()
	if r := d.Answer(4); r.Code != chat.PredecessorAbsent {
		t.Errorf("a send after a message that is not there got %+v, want predecessor_missing", r)
	}
	if r := d.Answer(2); r.Type != wire.Ack {
		t.Errorf("the chained send got %+v, want an ack", r)
	}
	d.Send(sendFrame(5, 5, "r", "e"))
	d.Answer(5)
	if last := after[len(after)-1]; !last.IsZero() {
		t.Errorf("a send with nothing unanswered was chained to %v", last)
	}
}

func TestUnackedLimit(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	cfg := config()
	cfg.UnackedMax = 4
	d := sessiontest.Login(t, cfg, c.Deps(), "bob", "d")
	c.Hold()
	for i := range uint64(5) {
		d.Send(sendFrame(10+i, i, "r", "x"))
	}
	if r := d.Answer(14); r.Code != chat.Busy || r.RetryAfterMS == 0 {
		t.Errorf("the fifth got %+v, want busy with a wait", r)
	}
	c.Release()
	for i := range uint64(4) {
		if r := d.Answer(10 + i); r.Type != wire.Ack {
			t.Errorf("send %d got %+v, want an ack", i, r)
		}
	}
}

func TestDirect(t *testing.T) {
	c := sessiontest.New(t)
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(fmt.Sprintf(`{"type":"send","ref":1,"to":"ann","id":%q,"text":"hi"}`, sessiontest.ID(1)))
	if r := d.Answer(1); r.Type != wire.Ack || r.Conv != "d~ann~bob" || r.Ack.Seq != 2 {
		t.Errorf("the first message got %+v, want an ack of seq 2 in d~ann~bob", r)
	}
	d.Send(fmt.Sprintf(`{"type":"send","ref":2,"to":"bob","id":%q,"text":"hi"}`, sessiontest.ID(2)))
	if r := d.Answer(2); r.Code != chat.Invalid {
		t.Errorf("a message to oneself got %+v, want invalid", r)
	}
}

func TestReads(t *testing.T) {
	c := sessiontest.New(t)
	c.Room(t, "r", "bob")
	for i := range uint64(9) {
		c.Say(t, "r", i, fmt.Sprint("text ", i))
	}
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(`[{"type":"history","ref":1,"conv":"r","before":5,"limit":2},{"type":"info","ref":2,"conv":"r"},` +
		`{"type":"proof","ref":3,"conv":"r","seq":3},{"type":"proof","ref":4,"conv":"r","from_size":4,"size":9},` +
		`{"type":"history","ref":5,"conv":"nowhere"},{"type":"history","ref":6,"conv":"r","level":"stale","min_seq":11},{"type":"ping","ref":7}]`)
	if r := d.Answer(1); len(r.Entries) != 2 || r.Entries[0].Seq != 3 || r.Entries[1].Body.Text != "text 2" || !r.More || r.Head != 10 {
		t.Errorf("history = %+v", r)
	}
	if r := d.Answer(2); r.Info.Head != 10 || r.Info.Role != chat.Writer || len(r.Info.Members) != 2 {
		t.Errorf("info = %+v", r.Info)
	}
	if r := d.Answer(3); r.Proof.Size != 10 || r.Proof.Seq != 3 || len(r.Proof.Path) == 0 {
		t.Errorf("inclusion = %+v", r.Proof)
	}
	if r := d.Answer(4); r.Proof.FromSize != 4 || r.Proof.Size != 9 || len(r.Proof.Path) == 0 {
		t.Errorf("consistency = %+v", r.Proof)
	}
	if r := d.Answer(5); r.Code != chat.NotFound {
		t.Errorf("history of nothing = %+v, want not_found", r)
	}
	if r := d.Answer(6); r.Code != chat.Behind {
		t.Errorf("history beyond the head = %+v, want behind", r)
	}
	if r := d.Answer(7); r.Type != wire.Pong {
		t.Errorf("ping = %+v, want a pong", r)
	}
}

func TestBrokenFrames(t *testing.T) {
	c := sessiontest.New(t)
	d := sessiontest.Login(t, config(), c.Deps(), "bob", "d")
	d.Send(`[{"type":"ping","ref":5},{"type":"nonsense","ref":6},{"type":"send","ref":7},{"ref":8},7,{"type":"ping","ref":9}]`)
	for ref, want := range map[uint64]chat.Code{6: chat.UnknownType, 7: chat.Invalid, 8: chat.Invalid} {
		if r := d.Answer(ref); r.Code != want {
			t.Errorf("answer to %d = %+v, want %s", ref, r, want)
		}
	}
	if r := d.Answer(9); r.Type != wire.Pong {
		t.Errorf("after refusals: %+v, want a pong", r)
	}
	for i := range 20 { // JSON, and refused: none of these counts as broken
		d.Send(fmt.Sprintf(`[{"type":"send","ref":%d,"conv":"r","id":%q,"text":"cut \ud83d"},{"type":"info","x":[[[[[[[[[]]]]]]]]],"ref":%d},{"type":"ping","ref":%d}]`,
			100+i, sessiontest.ID(1), 200+i, 300+i))
		if a, b, c := d.Answer(uint64(100+i)), d.Answer(uint64(200+i)), d.Answer(uint64(300+i)); a.Code != chat.InvalidUTF8 || b.Code != chat.Invalid || c.Type != wire.Pong {
			t.Fatalf("got %+v, %+v and %+v", a, b, c)
		}
	}
	for range 15 {
		d.Send(`{"type":`)
	}
	if d.S.Ended() != nil {
		t.Fatal("ended after 15 broken frames")
	}
	d.Send(`}`)
	if end := d.Ending(); end.Code != chat.Invalid {
		t.Errorf("ended with %q, want invalid", end.Code)
	}
}
