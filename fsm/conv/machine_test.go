package conv_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/fsmtest"
)

func TestWhatHaltsTheGroup(t *testing.T) {
	var w fsm.BatchWriter
	batch := func(cmds ...[]byte) []byte {
		for _, c := range cmds {
			w.Add(chat.Salt{}, c)
		}
		return bytes.Clone(w.Finish(fsm.Stamp{TimeMS: now}))
	}
	flipped := batch(fsm.Encode(nil, fsm.RaiseLevel{To: 1}))
	flipped[len(flipped)-1] ^= 1
	tests := []struct {
		name    string
		payload []byte
	}{
		{"nothing", nil},
		{"a flipped bit", flipped},
		{"an unknown command", batch(fsm.Wrap(nil, 99, nil))},
		{"a meta command", batch(fsm.Wrap(nil, fsm.TagMetaMin, nil))},
		{"a malformed command", batch([]byte{0x0a, 5, 1})},
		{"a level from the future", batch(fsm.Encode(nil, fsm.RaiseLevel{To: fsm.LevelMax + 1}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := conv.New(group, nil).Apply(fsmtest.NewStore(), 1, tt.payload, nil); err == nil {
				t.Error("Apply succeeded, want an error that halts the group")
			}
			if err := conv.New(group, nil).Replay(fsmtest.NewStore(), 1, tt.payload); err == nil {
				t.Error("Replay succeeded, want an error that halts the group")
			}
		})
	}
}

// TestEveryFlippedByteIsSeen changes each byte of each row and wants that
// whatever reads the row says so.
func TestEveryFlippedByteIsSeen(t *testing.T) {
	l, s := room(t)
	for i := range uint64(20) {
		l.Must(t, now+10, fsmtest.Send("g", "bob", id(10+i), "text"))
	}
	var keys [][]byte
	if err := s.Scan(nil, []byte{0xff}, false, func(k, _ []byte) (bool, error) {
		keys = append(keys, bytes.Clone(k))
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		val, _, _ := s.Get(k)
		good := bytes.Clone(val)
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0x41
			if err := s.Set(k, bad); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Machine.Fingerprint(s); chat.CodeOf(err) != chat.Corrupt {
				t.Fatalf("byte %d of row %x flipped: %v, want corrupt", i, k, err)
			}
		}
		err := readAll(s)
		if kind := k[21]; kind < 0x05 && chat.CodeOf(err) != chat.Corrupt { // rows of ids and refusals serve appends only
			t.Errorf("row %x is bad, but everything was read: %v, want corrupt", k, err)
		}
		l.Machine.Reset()
		_, applyErr := l.Apply(now+20, fsmtest.Send("g", "bob", id(3), "one"), fsmtest.Change("g", "rae", id(900), chat.NoRole, "dee"),
			fsmtest.Send("g", "bob", fsmtest.ID(now-1000, 5), "x"), fsmtest.Send("none", "bob", id(901), "x"))
		_ = applyErr // the rows that this batch needs are a part of them; it may not panic
		if err := s.Set(k, good); err != nil {
			t.Fatal(err)
		}
	}
}

func readAll(s fsm.Reader) error {
	_, err := conv.ReadPage(s, group, conv.Query{Conv: "g", User: "ann"})
	errs := []error{err}
	for _, u := range []chat.UserID{"abe", "bob", "cy", "dee", "rae"} {
		_, err := conv.ReadAccess(s, group, "g", u)
		errs = append(errs, err)
	}
	_, err = conv.ReadInfo(s, group, "g", "ann")
	return errors.Join(append(errs, err)...)
}

func TestCorruptRowHaltsApply(t *testing.T) {
	l, s := room(t)
	var head []byte
	if err := s.Scan(nil, []byte{0xff}, false, func(k, _ []byte) (bool, error) {
		if k[21] == 0x02 {
			head = bytes.Clone(k)
		}
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	val, _, _ := s.Get(head)
	bad := bytes.Clone(val)
	bad[3] ^= 1
	if err := s.Set(head, bad); err != nil {
		t.Fatal(err)
	}
	l.Machine.Reset()
	if _, err := l.Apply(now, fsmtest.Send("g", "bob", id(100), "x")); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("Apply on a corrupt head = %v, want corrupt", err)
	}
}

// recorder keeps what a sink is given.
type recorder struct {
	t       *testing.T
	entries []chat.Entry
	roles   []chat.Role // of bob
	counts  []int
}

func (r *recorder) Appended(e *chat.Entry, m fsm.MemberView) {
	role, err := m.Role("bob")
	if err != nil {
		r.t.Error(err)
	}
	r.entries, r.roles, r.counts = append(r.entries, *e), append(r.roles, role), append(r.counts, m.Len())
}

func TestSinkIsToldOfEveryEntryOnce(t *testing.T) {
	s := fsmtest.NewStore()
	m := conv.New(group, nil)
	l := fsmtest.Log{Machine: m, Store: s}
	l.Must(t, now, fsmtest.Group("g", "ann", id(0), chat.Change{User: "bob", Role: chat.Writer}))
	r := &recorder{t: t}
	m.SetSink(r)
	l.Must(t, now, fsmtest.Send("g", "bob", id(1), "one"))
	l.Must(t, now, fsmtest.Send("g", "bob", id(1), "one")) // a retry is no event
	if _, err := l.Apply(now, fsmtest.Send("g", "eve", id(2), "no")); err != nil {
		t.Fatal(err)
	}
	l.Must(t, now, fsmtest.Change("g", "ann", id(3), chat.NoRole, "bob"))
	m.SetSink(nil)
	l.Must(t, now, fsmtest.Send("g", "ann", id(4), "alone"))
	p, err := conv.ReadPage(s, group, conv.Query{Conv: "g", All: true, Mode: conv.After, Seq: 1, Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Entries, r.entries); diff != "" {
		t.Errorf("events (-rows +sink):\n%s", diff)
	}
	if diff := cmp.Diff([]chat.Role{chat.Writer, chat.NoRole}, r.roles); diff != "" {
		t.Errorf("bob's role in the events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{2, 1}, r.counts); diff != "" {
		t.Errorf("members in the events (-want +got):\n%s", diff)
	}
}

// picky is a recorder that wants one conversation only.
type picky struct {
	recorder
	want chat.ConvID
}

func (p *picky) Listens(c chat.ConvID) bool { return c == p.want }

func TestSinkIsToldOfWhatItListensTo(t *testing.T) {
	m := conv.New(group, nil)
	l := fsmtest.Log{Machine: m, Store: fsmtest.NewStore()}
	l.Must(t, now, fsmtest.Group("g", "ann", id(0)))
	l.Must(t, now, fsmtest.Group("h", "ann", id(1)))
	p := &picky{recorder: recorder{t: t}, want: "h"}
	m.SetSink(p)
	l.Must(t, now, fsmtest.Send("g", "ann", id(2), "unheard"))
	l.Must(t, now, fsmtest.Send("h", "ann", id(3), "heard"))
	p.want = "g"
	l.Must(t, now, fsmtest.Send("h", "ann", id(4), "unheard"))
	l.Must(t, now, fsmtest.Send("g", "ann", id(5), "heard"))
	var got []string
	for i := range p.entries {
		got = append(got, string(p.entries[i].Conv)+" "+p.entries[i].Body.Text)
	}
	if diff := cmp.Diff([]string{"h heard", "g heard"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestPageBytes(t *testing.T) {
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	l.Must(t, now, fsmtest.Group("g", "ann", id(0)))
	for i := range uint64(8) {
		l.Must(t, now, fsmtest.Send("g", "ann", id(i+1), strings.Repeat("x", 90_000)))
	}
	tests := []struct {
		name string
		q    conv.Query
		want []chat.Seq
	}{
		{"the newest that fit", conv.Query{Bytes: 200_000}, []chat.Seq{8, 9}},
		{"the oldest that fit", conv.Query{Mode: conv.After, Seq: 1, Bytes: 200_000}, []chat.Seq{2, 3}},
		{"around", conv.Query{Mode: conv.Around, Seq: 5, Bytes: 400_000}, []chat.Seq{3, 4, 5, 6}},
		{"one at least, backwards", conv.Query{Mode: conv.Before, Seq: 5, Bytes: 1}, []chat.Seq{4}},
		{"one at least, forwards", conv.Query{Mode: conv.After, Seq: 5, Bytes: 1}, []chat.Seq{6}},
		{"nothing above the head", conv.Query{Mode: conv.After, Seq: 9}, nil},
		{"far above the head", conv.Query{Mode: conv.After, Seq: 1 << 60}, nil},
		{"before the first", conv.Query{Mode: conv.Before, Seq: 1}, nil},
		{"before nothing", conv.Query{Mode: conv.Before}, nil},
		{"before what is to come", conv.Query{Mode: conv.Before, Seq: 1 << 60, Limit: 1}, []chat.Seq{9}},
		{"around what is to come", conv.Query{Mode: conv.Around, Seq: 1 << 60, Limit: 4}, []chat.Seq{6, 7, 8, 9}},
		{"around the head", conv.Query{Mode: conv.Around, Seq: 9, Limit: 4}, []chat.Seq{6, 7, 8, 9}},
		{"around what is to come, one", conv.Query{Mode: conv.Around, Seq: 1 << 60, Limit: 1}, []chat.Seq{9}},
		{"around the first", conv.Query{Mode: conv.Around, Seq: 1, Limit: 4}, []chat.Seq{1, 2, 3, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.q.Conv, tt.q.User = "g", "ann"
			p, err := conv.ReadPage(s, group, tt.q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, seqs(p)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := conv.ReadPage(s, group, conv.Query{Conv: "g", User: "ann", Mode: 9}); chat.CodeOf(err) != chat.Invalid {
		t.Errorf("an unknown mode = %v, want invalid", err)
	}
	for _, q := range []conv.Query{{Conv: "g", User: "eve"}, {Conv: "g"}, {Conv: "none", User: "ann"}, {Conv: "a/b", All: true}} {
		if _, err := conv.ReadPage(s, group, q); chat.CodeOf(err) != chat.NotFound || err.Error() != notFoundText {
			t.Errorf("ReadPage(%+v) = %v, want %q", q, err, notFoundText)
		}
	}
}

const notFoundText = "history: not_found: no such conversation for this user"

// TestForgottenIDs walks over the memory of ids: what is in it is answered again,
// what has left it is refused when its own time tells, and is new when not.
func TestForgottenIDs(t *testing.T) {
	const day = int64(24 * 3600 * 1000)
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	l.Must(t, now, fsmtest.Group("g", "ann", id(0)))
	timed, untimed := fsmtest.Send("g", "ann", id(1), "timed"), fsmtest.Send("g", "ann", fsmtest.IDv4(1), "untimed")
	first, second := l.Must(t, now, timed), l.Must(t, now, untimed)
	if ack := l.Must(t, now+8*day, timed); ack.Seq != first.Seq || !ack.Dup {
		t.Errorf("a retry after 8 days without traffic = %+v, want the first answer", ack)
	}
	rows := s.Len()
	for i := range uint64(200) { // more than any window, so that checkpoints forget
		at := now + 8*day + 1 + int64(i)
		l.Must(t, at, fsmtest.Send("g", "ann", fsmtest.ID(at, 100+i), "later"))
	}
	if got := s.Len() - rows; got > 2*200 {
		t.Errorf("200 messages left %d rows, want at most 400: old ids stay", got)
	}
	res, err := l.Apply(now+9*day, timed, untimed)
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Code != chat.Expired {
		t.Errorf("a very late retry with a timed id = %+v, want expired", res[0])
	}
	if res[1].Code != chat.OK || res[1].Ack.Seq <= second.Seq || res[1].Ack.Dup {
		t.Errorf("a very late retry without a time = %+v, want a new entry, as documented", res[1])
	}
}

// TestMoreConversationsThanMemory applies to more conversations than the cache
// holds, so that each comes back cold.
func TestMoreConversationsThanMemory(t *testing.T) {
	s := fsmtest.NewStore()
	l := fsmtest.Log{Machine: conv.New(group, nil), Store: s}
	const n = conv.HotConversationsMax + 50
	name := func(i int) chat.ConvID { return chat.ConvID(fmt.Sprintf("c%d", i)) }
	for round := range 2 {
		for i := range n {
			if round == 0 {
				l.Must(t, now, fsmtest.Group(name(i), "ann", id(0)))
			} else if ack := l.Must(t, now, fsmtest.Send(name(i), "ann", id(1), "x")); ack.Seq != 2 {
				t.Fatalf("conversation %d appends %d, want 2", i, ack.Seq)
			}
		}
	}
}

// TestBatchesOverMoreConversationsThanMemory applies batches whose conversations
// displace each other within the batch, and the same commands one by one.
func TestBatchesOverMoreConversationsThanMemory(t *testing.T) {
	const n = conv.HotConversationsMax + 200
	name := func(i int) chat.ConvID { return chat.ConvID(fmt.Sprintf("c%d", i)) }
	together := fsmtest.Log{Machine: conv.New(group, nil), Store: fsmtest.NewStore()}
	apart := fsmtest.Log{Machine: conv.New(group, nil), Store: fsmtest.NewStore()}
	do := func(cmds ...fsm.Command) {
		t.Helper()
		results, err := together.Apply(now, cmds...)
		if err != nil || slices.ContainsFunc(results, func(r fsm.Result) bool { return r.Code != chat.OK }) {
			t.Fatal(results, err)
		}
		for _, c := range cmds {
			apart.Must(t, now, c)
		}
	}
	for i := range n {
		do(fsmtest.Group(name(i), "ann", id(0)))
	}
	rng := rand.New(rand.NewPCG(5, 0))
	next := uint64(0)
	for round := range 120 {
		if round%8 == 0 {
			apart.Machine.Reset()
		}
		var cmds []fsm.Command
		for range 40 {
			i := rng.IntN(n)
			for range 1 + rng.IntN(3) {
				next++
				cmds = append(cmds, fsmtest.Send(name(i), "ann", id(next), "x"))
			}
		}
		do(cmds...)
	}
	var prints [2]chat.Hash
	for i, l := range []*fsmtest.Log{&together, &apart} {
		var err error
		if prints[i], err = l.Machine.Fingerprint(l.Store); err != nil {
			t.Fatal(err)
		}
	}
	if prints[0] != prints[1] {
		t.Errorf("the state of batches is %x, that of single commands %x", prints[0], prints[1])
	}
}

func TestPlaceTakenByAnotherID(t *testing.T) {
	l, s := room(t)
	var row, val []byte
	if err := s.Scan(nil, []byte{0xff}, false, func(k, v []byte) (bool, error) {
		row, val = bytes.Clone(k), bytes.Clone(v[:len(v)-fsm.SumBytes])
		return false, nil
	}); err != nil {
		t.Fatal(err)
	}
	val[1] = 'G' // as if the ids "G" and "g" had the same hashes
	if err := s.Set(row, fsm.Seal(row, val)); err != nil {
		t.Fatal(err)
	}
	l.Machine.Reset()
	res, err := l.Apply(now, fsmtest.Group("g", "ann", id(50)), fsmtest.Send("g", "bob", id(51), "x"))
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Code != chat.Exists || res[1].Code != chat.NotFound {
		t.Errorf("create and append = %q, %q, want exists, not_found", res[0].Code, res[1].Code)
	}
	if _, err := conv.ReadHead(s, group, "g"); chat.CodeOf(err) != chat.NotFound {
		t.Errorf("ReadHead = %v, want not_found", err)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	m := conv.New(group, nil)
	void := &fsmtest.Void{}
	l := fsmtest.Log{Machine: m, Store: void}
	l.Must(t, now, fsmtest.Group("conversation-aa", "ann", id(0)))
	batches := payloads(30, 1)
	next := 0
	var res []fsm.Result
	perBatch := testing.AllocsPerRun(20, func() {
		var err error
		if res, err = m.Apply(void, 1, batches[next], res[:0]); err != nil {
			t.Fatal(err)
		}
		next++
	})
	if perMessage := perBatch / 64; perMessage > 4 {
		t.Errorf("%.1f allocations per message, want at most 4", perMessage)
	}
}
