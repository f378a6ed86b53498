package conv_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

const now = fsmtest.Epoch

// room is a group "g" with an owner ann, an admin abe, writers bob and cy, a
// reader rae; dee was a writer and left. bob has sent two messages, and one of dee
// was refused.
//
//	1 created  2 dee leaves  3 bob: one  4 bob: two
func room(tb testing.TB) (*fsmtest.Log, *fsmtest.Store) {
	tb.Helper()
	s := fsmtest.NewStore()
	l := &fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	l.Must(tb, now, fsmtest.Group("g", "ann", id(1),
		chat.Change{User: "abe", Role: chat.Admin}, chat.Change{User: "bob", Role: chat.Writer},
		chat.Change{User: "cy", Role: chat.Writer}, chat.Change{User: "rae", Role: chat.Reader},
		chat.Change{User: "dee", Role: chat.Writer}))
	l.Must(tb, now+1, fsmtest.Change("g", "dee", id(2), chat.NoRole, "dee"))
	l.Must(tb, now+2, fsmtest.Send("g", "bob", id(3), "one"))
	l.Must(tb, now+3, fsmtest.Send("g", "bob", id(4), "two"))
	if got := once(tb, l, fsmtest.Send("g", "dee", id(5), "late")); got.Code != chat.NotFound {
		tb.Fatalf("dee's message gets %+v, want not_found", got)
	}
	return l, s
}

func id(n uint64) chat.ClientID { return fsmtest.ID(now, n) }

// with changes a message.
func with(a fsm.Append, change func(*fsm.Append)) fsm.Append {
	change(&a)
	return a
}

// rule is one command in a room and its answer.
type rule struct {
	name string
	cmd  fsm.Command
	want chat.Code
	seq  chat.Seq // when accepted
	dup  bool
}

// kept tells that a rule refuses for what the room is, so that the answer is kept.
func (r *rule) kept() bool {
	if _, creation := r.cmd.(fsm.Create); creation {
		return false
	}
	switch r.want {
	case chat.NotFound:
		return !strings.HasPrefix(r.name, "no such") && !strings.HasPrefix(r.name, "again")
	case chat.Invalid:
		return r.name == "two sorts of change"
	case chat.Forbidden, chat.NotMember, chat.AlreadyMember, chat.MemberLimit, chat.LastOwner:
		return true
	default:
		return false
	}
}

// checkRules applies each command to a fresh room, hot and cold, and wants that
// a repeated answer or a refusal leaves no trace in the rows, unless it is kept.
func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	for _, tt := range rules {
		for _, cold := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cold=%v", tt.name, cold), func(t *testing.T) {
				l, s := room(t)
				if cold {
					l.Machine.Reset()
				}
				before, err := l.Machine.Fingerprint(s)
				if err != nil {
					t.Fatal(err)
				}
				res, err := l.Apply(now+10, tt.cmd)
				if err != nil {
					t.Fatalf("Apply = %v, want no error", err)
				}
				got := res[0]
				if got.Code != tt.want || got.Ack.Seq != tt.seq || got.Ack.Dup != tt.dup {
					t.Fatalf("Apply = %+v, want code %q, seq %d, dup %v", got, tt.want, tt.seq, tt.dup)
				}
				after, err := l.Machine.Fingerprint(s)
				if err != nil {
					t.Fatal(err)
				}
				if trace := after != before; trace != (tt.kept() || tt.want == chat.OK && !tt.dup) {
					t.Errorf("the state changed: %v, want %v", trace, !trace)
				}
			})
		}
	}
}

func TestAppendRules(t *testing.T) {
	long := strings.Repeat("x", chat.TextRunesMax)
	send := func(from chat.UserID, text string) fsm.Append { return fsmtest.Send("g", from, id(100), text) }
	checkRules(t, []rule{
		{name: "a member appends", cmd: send("bob", "three"), seq: 5},
		{name: "a retry gets the first answer", cmd: fsmtest.Send("g", "bob", id(3), "one"), seq: 3, dup: true},
		{name: "a retry of the newest", cmd: fsmtest.Send("g", "bob", id(4), "two"), seq: 4, dup: true},
		{name: "another text under a used id", cmd: fsmtest.Send("g", "bob", id(3), "other"), want: chat.Conflict},
		{name: "another content type under a used id", cmd: with(fsmtest.Send("g", "bob", id(3), "one"), func(a *fsm.Append) { a.ContentType = "a/b" }), want: chat.Conflict},
		{name: "a message under the id of the creation", cmd: fsmtest.Send("g", "ann", id(1), "one"), want: chat.Conflict},
		{name: "the id of somebody else is free", cmd: fsmtest.Send("g", "cy", id(3), "one"), seq: 5},
		{name: "a retry under the id of leaving", cmd: fsmtest.Send("g", "dee", id(2), "x"), want: chat.Conflict},
		{name: "a stranger", cmd: send("eve", "hi"), want: chat.NotFound},
		{name: "one who left", cmd: send("dee", "hi"), want: chat.NotFound},
		{name: "again what was refused", cmd: fsmtest.Send("g", "dee", id(5), "late"), want: chat.NotFound},
		{name: "a reader", cmd: send("rae", "hi"), want: chat.Forbidden},
		{name: "no such conversation", cmd: fsmtest.Send("none", "bob", id(100), "hi"), want: chat.NotFound},
		{name: "the predecessor is there", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.After = id(4) }), seq: 5},
		{name: "the predecessor is not there", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.After = id(99) }), want: chat.PredecessorAbsent},
		{name: "the predecessor is another sender's", cmd: with(send("cy", "x"), func(a *fsm.Append) { a.After = id(4) }), want: chat.PredecessorAbsent},
		{name: "no client id", cmd: fsmtest.Send("g", "bob", chat.ClientID{}, "x"), want: chat.Invalid},
		{name: "an id of 7 days ago", cmd: fsmtest.Send("g", "bob", fsmtest.ID(now+10-7*24*3600_000, 9), "x"), seq: 5},
		{name: "an older id", cmd: fsmtest.Send("g", "bob", fsmtest.ID(now+9-7*24*3600_000, 9), "x"), want: chat.Expired},
		{name: "an id a day ahead", cmd: fsmtest.Send("g", "bob", fsmtest.ID(now+10+24*3600_000, 9), "x"), seq: 5},
		{name: "an id further ahead", cmd: fsmtest.Send("g", "bob", fsmtest.ID(now+11+24*3600_000, 9), "x"), want: chat.Invalid},
		{name: "an id without time", cmd: fsmtest.Send("g", "bob", fsmtest.IDv4(9), "x"), seq: 5},
		{name: "no text", cmd: send("bob", ""), want: chat.Invalid},
		{name: "no device", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.Device = "" }), want: chat.Invalid},
		{name: "a device with a space", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.Device = "a b" }), want: chat.Invalid},
		{name: "a content type with a newline", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.ContentType = "a\n" }), want: chat.Invalid},
		{name: "a long content type", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.ContentType = strings.Repeat("x", 65) }), want: chat.Invalid},
		{name: "not UTF-8", cmd: send("bob", "a\xff"), want: chat.InvalidUTF8},
		{name: "99,999 characters", cmd: send("bob", long), seq: 5},
		{name: "100,000 characters", cmd: send("bob", long+"x"), want: chat.TooLarge},
		{name: "99,999 characters in 300 KB", cmd: send("bob", strings.Repeat("你", chat.TextRunesMax)), seq: 5},
		{name: "100,000 characters in 300 KB", cmd: send("bob", strings.Repeat("你", chat.TextRunesMax+1)), want: chat.TooLarge},
		{name: "99,999 characters in 400 KB", cmd: send("bob", strings.Repeat("🙂", chat.TextRunesMax)), seq: 5},
		{name: "over 400 KB", cmd: send("bob", strings.Repeat("🙂", chat.TextBytesMax/4+1)), want: chat.TooLarge},
		{name: "direct, but not this one", cmd: with(send("bob", "x"), func(a *fsm.Append) { a.Direct = "cy" }), want: chat.Invalid},
	})
}

func TestMemberRules(t *testing.T) {
	change := func(actor chat.UserID, role chat.Role, users ...chat.UserID) fsm.ChangeMembers {
		return fsmtest.Change("g", actor, id(100), role, users...)
	}
	mixed := change("ann", chat.NoRole, "bob")
	mixed.Changes = append(mixed.Changes, chat.Change{User: "new", Role: chat.Writer})
	noDevice := change("ann", chat.Writer, "new")
	noDevice.Device = ""
	var many []chat.UserID
	for i := range 101 {
		many = append(many, chat.UserID(fmt.Sprintf("u%d", i)))
	}
	checkRules(t, []rule{
		{name: "the owner adds", cmd: change("ann", chat.Owner, "new"), seq: 5},
		{name: "the owner removes the admin", cmd: change("ann", chat.NoRole, "abe"), seq: 5},
		{name: "the owner changes a role", cmd: change("ann", chat.Reader, "bob", "cy"), seq: 5},
		{name: "the admin adds a writer", cmd: change("abe", chat.Writer, "new"), seq: 5},
		{name: "the admin adds one who left", cmd: change("abe", chat.Reader, "dee"), seq: 5},
		{name: "the admin adds an admin", cmd: change("abe", chat.Admin, "new"), want: chat.Forbidden},
		{name: "the admin removes a writer", cmd: change("abe", chat.NoRole, "bob"), seq: 5},
		{name: "the admin removes the owner", cmd: change("abe", chat.NoRole, "ann"), want: chat.Forbidden},
		{name: "the admin changes a role", cmd: change("abe", chat.Reader, "bob"), want: chat.Forbidden},
		{name: "a writer adds", cmd: change("bob", chat.Writer, "new"), want: chat.Forbidden},
		{name: "a writer removes", cmd: change("bob", chat.NoRole, "cy"), want: chat.Forbidden},
		{name: "a writer leaves", cmd: change("bob", chat.NoRole, "bob"), seq: 5},
		{name: "a reader leaves", cmd: change("rae", chat.NoRole, "rae"), seq: 5},
		{name: "the admin leaves", cmd: change("abe", chat.NoRole, "abe"), seq: 5},
		{name: "the last owner leaves", cmd: change("ann", chat.NoRole, "ann"), want: chat.LastOwner},
		{name: "the last owner steps down", cmd: change("ann", chat.Admin, "ann"), want: chat.LastOwner},
		{name: "all leave at once", cmd: change("ann", chat.NoRole, "ann", "abe", "bob", "cy", "rae"), seq: 5},
		{name: "a stranger", cmd: change("eve", chat.Writer, "new"), want: chat.NotFound},
		{name: "one who left", cmd: change("dee", chat.Writer, "dee"), want: chat.NotFound},
		{name: "no such conversation", cmd: fsmtest.Change("none", "ann", id(100), chat.Writer, "new"), want: chat.NotFound},
		{name: "a member again", cmd: change("ann", chat.Writer, "bob"), want: chat.AlreadyMember},
		{name: "removing a stranger", cmd: change("ann", chat.NoRole, "eve"), want: chat.NotMember},
		{name: "removing one who left", cmd: change("ann", chat.NoRole, "dee"), want: chat.NotMember},
		{name: "two sorts of change", cmd: mixed, want: chat.Invalid},
		{name: "nobody", cmd: change("ann", chat.Writer), want: chat.Invalid},
		{name: "one user twice", cmd: change("ann", chat.Writer, "new", "new"), want: chat.Invalid},
		{name: "a malformed user", cmd: change("ann", chat.Writer, "a~b"), want: chat.Invalid},
		{name: "an unknown role", cmd: change("ann", chat.Owner+1, "new"), want: chat.Invalid},
		{name: "no device", cmd: noDevice, want: chat.Invalid},
		{name: "no client id", cmd: fsmtest.Change("g", "ann", chat.ClientID{}, chat.Writer, "new"), want: chat.Invalid},
		{name: "101 at once", cmd: change("ann", chat.Writer, many...), want: chat.TooLarge},
		{name: "more than the conversation takes", cmd: change("ann", chat.Writer, many[:96]...), want: chat.MemberLimit},
		{name: "as many as the conversation takes", cmd: change("ann", chat.Writer, many[:95]...), seq: 5},
		{name: "a retry of leaving, by one who left", cmd: fsmtest.Change("g", "dee", id(2), chat.NoRole, "dee"), seq: 2, dup: true},
		{name: "another change under a used id", cmd: fsmtest.Change("g", "dee", id(2), chat.NoRole, "bob"), want: chat.Conflict},
		{name: "a change under the id of a message", cmd: fsmtest.Change("g", "bob", id(3), chat.NoRole, "bob"), want: chat.Conflict},
	})
}

func TestCreateRules(t *testing.T) {
	create := func(change func(*fsm.Create)) fsm.Create {
		c := fsmtest.Group("new", "ann", id(100), chat.Change{User: "bob", Role: chat.Writer})
		change(&c)
		return c
	}
	direct := func(change func(*fsm.Create)) fsm.Create {
		return create(func(c *fsm.Create) {
			c.Kind, c.Conv, c.Title = chat.Direct, chat.DirectID("ann", "bob"), ""
			change(c)
		})
	}
	again := fsmtest.Group("g", "ann", id(1),
		chat.Change{User: "abe", Role: chat.Admin}, chat.Change{User: "bob", Role: chat.Writer},
		chat.Change{User: "cy", Role: chat.Writer}, chat.Change{User: "rae", Role: chat.Reader},
		chat.Change{User: "dee", Role: chat.Writer})
	otherID := again
	otherID.ClientID = id(101)
	otherTitle := again
	otherTitle.Title = "another"
	manyMembers := func(n int) (out []chat.Change) {
		for i := range n {
			out = append(out, chat.Change{User: chat.UserID(fmt.Sprintf("u%d", i)), Role: chat.Writer})
		}
		return out
	}
	checkRules(t, []rule{
		{name: "a group", cmd: create(func(*fsm.Create) {}), seq: 1},
		{name: "a channel", cmd: create(func(c *fsm.Create) { c.Kind = chat.Channel }), seq: 1},
		{name: "alone", cmd: create(func(c *fsm.Create) { c.Members = nil }), seq: 1},
		{name: "the creator among the members", cmd: create(func(c *fsm.Create) { c.Members = []chat.Change{{User: "ann", Role: chat.Reader}} }), seq: 1},
		{name: "direct", cmd: direct(func(*fsm.Create) {}), seq: 1},
		{name: "direct, with another's id", cmd: direct(func(c *fsm.Create) { c.Conv = "other" }), want: chat.Invalid},
		{name: "direct, with oneself", cmd: direct(func(c *fsm.Create) { c.Conv, c.Members = chat.DirectID("ann", "ann"), []chat.Change{{User: "ann"}} }), want: chat.Invalid},
		{name: "direct, of three", cmd: direct(func(c *fsm.Create) { c.Members = manyMembers(2) }), want: chat.Invalid},
		{name: "direct, with a title", cmd: direct(func(c *fsm.Create) { c.Title = "x" }), want: chat.Invalid},
		{name: "a group in the place of a direct conversation", cmd: create(func(c *fsm.Create) { c.Conv = chat.DirectID("bob", "cy") }), want: chat.Invalid},
		{name: "again, the same id", cmd: again, seq: 1, dup: true},
		{name: "again, another id", cmd: otherID, seq: 1, dup: true},
		{name: "another title under a used id", cmd: otherTitle, want: chat.Conflict},
		{name: "another group of that id", cmd: create(func(c *fsm.Create) { c.Conv = "g" }), want: chat.Exists},
		{name: "a malformed id", cmd: create(func(c *fsm.Create) { c.Conv = "a/b" }), want: chat.Invalid},
		{name: "no id", cmd: create(func(c *fsm.Create) { c.Conv = "" }), want: chat.Invalid},
		{name: "a malformed creator", cmd: create(func(c *fsm.Create) { c.Creator = "a b" }), want: chat.Invalid},
		{name: "no device", cmd: create(func(c *fsm.Create) { c.Device = "" }), want: chat.Invalid},
		{name: "no client id", cmd: create(func(c *fsm.Create) { c.ClientID = chat.ClientID{} }), want: chat.Invalid},
		{name: "an unknown kind", cmd: create(func(c *fsm.Create) { c.Kind = 9 }), want: chat.Invalid},
		{name: "an unknown policy", cmd: create(func(c *fsm.Create) { c.Policy = 9 }), want: chat.Invalid},
		{name: "a long title", cmd: create(func(c *fsm.Create) { c.Title = strings.Repeat("x", 257) }), want: chat.TooLarge},
		{name: "a title that is not UTF-8", cmd: create(func(c *fsm.Create) { c.Title = "\xff" }), want: chat.InvalidUTF8},
		{name: "a member without a role", cmd: create(func(c *fsm.Create) { c.Members[0].Role = chat.NoRole }), want: chat.Invalid},
		{name: "a malformed member", cmd: create(func(c *fsm.Create) { c.Members[0].User = "" }), want: chat.Invalid},
		{name: "a member twice", cmd: create(func(c *fsm.Create) { c.Members = append(c.Members, c.Members[0]) }), want: chat.Invalid},
		{name: "101 members", cmd: create(func(c *fsm.Create) { c.Members = manyMembers(101) }), want: chat.TooLarge},
		{name: "more than the usual limit", cmd: create(func(c *fsm.Create) { c.Members = manyMembers(100) }), want: chat.MemberLimit},
		{name: "a higher limit", cmd: create(func(c *fsm.Create) { c.Members, c.MembersMax = manyMembers(100), 500 }), seq: 1},
		{name: "too high a limit", cmd: create(func(c *fsm.Create) { c.MembersMax = 501 }), want: chat.TooLarge},
	})
}

func TestFirstMessageCreatesDirectConversation(t *testing.T) {
	l, s := room(t)
	name := chat.DirectID("zoe", "bob")
	first := with(fsmtest.Send(name, "zoe", id(1), "hi"), func(a *fsm.Append) { a.Direct = "bob" })
	ack := l.Must(t, now, first)
	if ack.Seq != 2 || ack.MsgNo != 1 {
		t.Errorf("the first message is %+v, want seq 2 behind the creation", ack)
	}
	reply := with(fsmtest.Send(name, "bob", id(1), "hello"), func(a *fsm.Append) { a.Direct = "zoe" })
	if ack := l.Must(t, now, reply); ack.Seq != 3 {
		t.Errorf("the reply is %+v, want seq 3", ack)
	}
	if again := l.Must(t, now, first); again != (chat.Ack{Seq: 2, MsgNo: 1, TimeMS: ack.TimeMS, Root: ack.Root, Dup: true}) {
		t.Errorf("the retry is %+v, want the first answer %+v", again, ack)
	}
	if ack := l.Must(t, now, fsm.Create{
		Conv: name, Kind: chat.Direct, Creator: "bob", Device: "tab", ClientID: id(7), Members: []chat.Change{{User: "zoe"}},
	}); ack.Seq != 1 || !ack.Dup {
		t.Errorf("opening it from the other side = %+v, want the creation", ack)
	}
	res, err := l.Apply(now, fsmtest.Change(name, "zoe", id(9), chat.NoRole, "zoe"),
		with(fsmtest.Send(chat.DirectID("zoe", "zoe"), "zoe", id(10), "me"), func(a *fsm.Append) { a.Direct = "zoe" }))
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Code != chat.FixedMembers || res[1].Code != chat.Invalid {
		t.Errorf("leaving and writing to oneself = %q, %q, want fixed_members, invalid", res[0].Code, res[1].Code)
	}
	info, err := conv.ReadInfo(s, group, name, "bob")
	if err != nil {
		t.Fatal(err)
	}
	want := []chat.Member{{User: "bob", Role: chat.Writer, Seq: 1}, {User: "zoe", Role: chat.Writer, Seq: 1}}
	if diff := cmp.Diff(want, info.Members); diff != "" || info.Kind != chat.Direct {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	l, _ := room(t)
	for i, at := range []int64{now + 100, now + 50, now - 1_000_000, now + 101} {
		ack := l.Must(t, at, fsmtest.Send("g", "bob", id(uint64(200+i)), "x"))
		if want := max(at, now+100); ack.TimeMS != want {
			t.Errorf("time of an entry stamped %d = %d, want %d", at, ack.TimeMS, want)
		}
	}
}

func TestImpossibleStampsAreClamped(t *testing.T) {
	l, s := room(t)
	res, err := l.Apply(math.MinInt64, fsmtest.Send("g", "bob", id(200), "x"))
	if err != nil || res[0].Ack.TimeMS != now+3 {
		t.Errorf("stamped far below = %+v, %v, want the time of the entry before", res, err)
	}
	const last = 1<<48 - 1
	res, err = l.Apply(math.MaxInt64, fsmtest.Send("g", "bob", fsmtest.ID(last, 201), "x"))
	if err != nil || res[0].Ack.TimeMS != last {
		t.Errorf("stamped far above = %+v, %v, want the last possible time", res, err)
	}
	if _, err := conv.Verify(s, group); err != nil {
		t.Error(err)
	}
}

func TestHistoryIsCutByIntervals(t *testing.T) {
	for _, policy := range []chat.HistoryPolicy{chat.FromJoin, chat.AllHistory} {
		s := fsmtest.NewStore()
		l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
		g := fsmtest.Group("g", "ann", id(0))
		g.Policy = policy
		l.Must(t, now, g)
		n := uint64(0)
		say := func() { n++; l.Must(t, now, fsmtest.Send("g", "ann", id(n), "x")) }
		move := func(r chat.Role) { n++; l.Must(t, now, fsmtest.Change("g", "ann", id(n), r, "bob")) }
		say()             // 2
		move(chat.Writer) // 3
		say()             // 4
		move(chat.NoRole) // 5
		say()             // 6
		former, err := conv.ReadPage(s, group, conv.Query{Conv: "g", User: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		wantFormer, wantAgain := []chat.Seq{3, 4, 5}, []chat.Seq{3, 4, 5, 7, 8}
		if policy == chat.AllHistory {
			wantFormer, wantAgain = []chat.Seq{1, 2, 3, 4, 5}, []chat.Seq{1, 2, 3, 4, 5, 6, 7, 8}
		}
		if diff := cmp.Diff(wantFormer, seqs(former)); diff != "" || former.Head != 5 || former.After {
			t.Errorf("policy %d, removed: head %d, after %v (-want +got):\n%s", policy, former.Head, former.After, diff)
		}
		if _, err := conv.ReadInfo(s, group, "g", "bob"); chat.CodeOf(err) != chat.NotFound {
			t.Errorf("info for a former member = %v, want not_found", err)
		}
		if _, err := conv.ReadProof(s, group, conv.ProofQuery{Conv: "g", User: "bob", Size: 6}); chat.CodeOf(err) != chat.Invalid {
			t.Errorf("a proof of what followed = %v, want invalid", err)
		}
		move(chat.Reader) // 7
		say()             // 8
		again, err := conv.ReadPage(s, group, conv.Query{Conv: "g", User: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantAgain, seqs(again)); diff != "" || again.Head != 8 {
			t.Errorf("policy %d, added again: head %d (-want +got):\n%s", policy, again.Head, diff)
		}
		access, err := conv.ReadAccess(s, group, "g", "bob")
		if err != nil || access.Role != chat.Reader || access.Sees(6) != (policy == chat.AllHistory) || !access.Sees(9) {
			t.Errorf("policy %d: access %+v, %v", policy, access, err)
		}
	}
}

func seqs(p conv.Page) (out []chat.Seq) {
	for _, e := range p.Entries {
		out = append(out, e.Seq)
	}
	return out
}

// TestFormerMembersAreNotReadInVain lists the members of a conversation that many
// have left, with a reader that counts rows.
func TestFormerMembersAreNotReadInVain(t *testing.T) {
	const former, each = 300, 50
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	l.Must(t, now, fsmtest.Group("g", "ann", id(1), chat.Change{User: "bob", Role: chat.Writer}))
	for first := 0; first < former; first += each {
		var users []chat.UserID
		for i := range each {
			users = append(users, chat.UserID(fmt.Sprintf("left-%03d", first+i)))
		}
		l.Must(t, now, fsmtest.Change("g", "ann", id(uint64(first+2)), chat.Writer, users...))
		l.Must(t, now, fsmtest.Change("g", "ann", id(uint64(first+3)), chat.NoRole, users...))
	}
	r := &countingReader{Reader: s}
	info, err := conv.ReadInfo(r, group, "g", "bob")
	if err != nil {
		t.Fatal(err)
	}
	want := []chat.Member{{User: "ann", Role: chat.Owner, Seq: 1}, {User: "bob", Role: chat.Writer, Seq: 1}}
	if diff := cmp.Diff(want, info.Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if most := former / 10; r.rows > most {
		t.Errorf("%d rows were read for 2 members and %d former ones, want at most %d", r.rows, former, most)
	}
	// The pages of one member each have the same members, and an end.
	var paged []chat.Member
	for after, more := chat.UserID(""), true; more; {
		page, err := conv.ReadMembers(s, group, "g", "bob", after, 1)
		if err != nil {
			t.Fatal(err)
		}
		if more = len(page) > 0; more {
			paged, after = append(paged, page...), page[len(page)-1].User
		}
	}
	if diff := cmp.Diff(want, paged); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

// countingReader counts the rows that scans visit.
type countingReader struct {
	fsm.Reader
	rows int
}

func (r *countingReader) Scan(lower, upper []byte, reverse bool, fn func(k, v []byte) (bool, error)) error {
	return r.Reader.Scan(lower, upper, reverse, func(k, v []byte) (bool, error) {
		r.rows++
		return fn(k, v)
	})
}

func TestRejoinsAreBounded(t *testing.T) {
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	l.Must(t, now, fsmtest.Group("g", "ann", id(0)))
	n := uint64(0)
	for range chat.RejoinsMax {
		n += 2
		l.Must(t, now, fsmtest.Change("g", "ann", id(n-1), chat.Writer, "bob"))
		l.Must(t, now, fsmtest.Change("g", "ann", id(n), chat.NoRole, "bob"))
	}
	res, err := l.Apply(now, fsmtest.Change("g", "ann", id(n+1), chat.Writer, "bob"))
	if err != nil || res[0].Code != chat.MemberLimit {
		t.Errorf("one time more = %+v, %v, want member_limit", res, err)
	}
	if _, err := conv.ReadPage(s, group, conv.Query{Conv: "g", User: "bob"}); err != nil {
		t.Errorf("the page of a user with all intervals = %v, want no error", err)
	}
}
