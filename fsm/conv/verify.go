package conv

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
	"github.com/chatnode/chatnode/merkle"
)

// Verified is what [Verify] looked at.
type Verified struct {
	Conversations int
	Entries       uint64
}

// Verify checks everything that can be checked about the conversations of a
// group without its log: each row's checksum, dense seqs, times and counts, the
// Merkle tree recomputed from the entries against every stored node and peak,
// members and their intervals against the entries, that the memory of ids is
// complete, and that nothing that was refused is there. It stops at the first
// fault. It needs memory for a chunk of ids, and for the users and the refusals of
// one conversation.
func Verify(r fsm.Reader, group uint32) (Verified, error) {
	var out Verified
	next := fsm.AppendPrefix(nil, group, fsm.AreaConv)
	upper := fsm.AppendPrefix(nil, group, fsm.AreaConv+1)
	for {
		var p prefix
		found := false
		err := r.Scan(next, upper, false, func(k, _ []byte) (bool, error) {
			found = copy(p[:], k) == prefixBytes && len(k) > prefixBytes
			return false, nil
		})
		if err != nil {
			return out, err
		}
		if p == (prefix{}) {
			return out, nil
		}
		if !found {
			return out, corrupt(opVerify, "a key is too short")
		}
		v := verifier{r: r, prefix: p, users: map[chat.UserID]*memberRow{}}
		if err := v.conversation(); err != nil {
			return out, err
		}
		out.Conversations++
		out.Entries += uint64(v.seq)
		next = p.appendKind(next[:0], 0xff)
	}
}

const opVerify = "verify"

// verifyChunk is the number of entries whose ids are looked up at once.
const verifyChunk = 1024

// verifier walks one conversation.
type verifier struct {
	r      fsm.Reader
	prefix prefix
	row    convRow
	end    *tail

	seq     chat.Seq
	msgNo   chat.MsgNo
	timeMS  int64
	tree    merkle.Range
	scratch leafScratch
	ids     []recentID
	idRows  uint64                     // that should be there
	users   map[chat.UserID]*memberRow // as the entries tell
	refused map[recentID]bool          // without the seq
}

func (v *verifier) conversation() error {
	key := v.prefix.appendKind(nil, kindConv)
	val, ok, err := v.r.Get(key)
	if err != nil {
		return err
	}
	if !ok {
		return corrupt(opVerify, "rows of a conversation without its own")
	}
	body, err := fsm.Open(key, val)
	if err != nil {
		return err
	}
	if v.row, err = decodeConvRow(body); err != nil {
		return err
	}
	group := binary.BigEndian.Uint32(v.prefix[:])
	if v.prefix != prefixOf(group, string(v.row.id)) {
		return corrupt(opVerify, "a conversation is not in its place")
	}
	if v.end, err = loadTail(v.r, &v.prefix, v.row.id); err != nil {
		return err
	}
	if err := v.refusals(); err != nil {
		return err
	}
	for more := true; more; {
		if more, err = v.entries(); err != nil {
			return err
		}
	}
	if v.seq != v.end.seq || v.msgNo != v.end.msgNo || v.tree.Root() != v.end.tree.Root() {
		return invariant.Broken("the tree of the checkpoints is that of the entries", "conv", v.row.id, "seq", v.seq)
	}
	if err := v.members(); err != nil {
		return err
	}
	return v.countIDs()
}

// entries walks the next chunk of entries and looks their ids up.
func (v *verifier) entries() (more bool, err error) {
	first := v.seq
	lower, upper := v.prefix.appendEntry(nil, first+1), v.prefix.appendKind(nil, kindEntry+1)
	v.ids = v.ids[:0]
	err = v.r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		if err := v.entry(k, val); err != nil {
			return false, err
		}
		return v.seq-first < verifyChunk, nil
	})
	if err != nil {
		return false, err
	}
	for i := range v.ids {
		if err := v.id(&v.ids[i]); err != nil {
			return false, err
		}
	}
	return v.seq-first == verifyChunk, nil
}

func (v *verifier) entry(k, val []byte) error {
	seq, form, c, err := openEntry(k, val)
	if err != nil {
		return err
	}
	e := parseEntry(&c)
	var cp checkpoint
	if form == formCheckpoint {
		cp = decodeCheckpoint(&c, seq)
	}
	if c.bad || len(c.b) != 0 {
		return corrupt(opVerify, "the row of an entry is malformed")
	}
	msgNo := v.msgNo
	if e.typ == chat.Message {
		msgNo++
	}
	if seq != v.seq+1 || e.msgNo != msgNo || e.timeMS < v.timeMS || (seq == 1) != (e.typ == chat.Created) {
		return invariant.Broken("entries follow each other", "conv", v.row.id, "seq", seq, "after", v.seq)
	}
	v.seq, v.msgNo, v.timeMS = seq, e.msgNo, e.timeMS
	nodes := v.tree.AppendNodes(v.scratch.hash(string(v.row.id), seq, &e), nodeLevel, nil)
	if form == formCheckpoint {
		peaks := v.tree.Peaks()
		if !slices.Equal(nodes, cp.nodes) || !slices.Equal(peaks[:len(peaks)-1], cp.peaks) {
			return invariant.Broken("the nodes of a checkpoint are those of the entries", "conv", v.row.id, "seq", seq)
		}
	}
	if err := v.changes(seq, &e); err != nil {
		return err
	}
	if e.clientID.IsZero() || seq < v.end.keptSeq {
		return nil
	}
	if len(v.refused) > 0 && v.refused[recentID{id: e.clientID, sender: chat.UserID(e.sender)}] {
		return invariant.Broken("what was refused is not in the log", "conv", v.row.id, "seq", seq)
	}
	if saved := v.end.seq - v.end.seq%checkpointEvery; seq <= saved {
		v.ids = append(v.ids, recentID{e.clientID, chat.UserID(e.sender), seq})
	}
	return nil
}

func (v *verifier) id(want *recentID) error {
	key := appendIDKey(nil, &v.prefix, &want.id, want.sender)
	val, ok, err := v.r.Get(key)
	if err != nil {
		return err
	}
	if !ok {
		return invariant.Broken("the memory of ids is complete", "conv", v.row.id, "seq", want.seq)
	}
	body, err := fsm.Open(key, val)
	if err != nil {
		return err
	}
	if !bytes.Equal(body, binary.AppendUvarint(nil, uint64(want.seq))) {
		return invariant.Broken("the row of an id names its entry", "conv", v.row.id, "seq", want.seq)
	}
	v.idRows++
	return nil
}

func (v *verifier) countIDs() error {
	var rows uint64
	lower, upper := v.prefix.appendKind(nil, kindID), v.prefix.appendKind(nil, kindID+1)
	err := v.r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		rows++
		_, err := fsm.Open(k, val)
		return true, err
	})
	if err == nil && rows != v.idRows {
		return invariant.Broken("forgotten ids have no row", "conv", v.row.id, "rows", rows, "want", v.idRows)
	}
	return err
}

// changes follows who is a member.
func (v *verifier) changes(seq chat.Seq, e *view[[]byte]) error {
	for _, ch := range changeList(e) {
		row := v.users[ch.User]
		if row == nil {
			row = &memberRow{}
			v.users[ch.User] = row
		}
		last := len(row.intervals) - 1
		switch {
		case e.typ == chat.Created, e.typ == chat.MemberAdded && v.row.policy == chat.AllHistory:
			row.intervals = []Interval{{From: 1}}
		case e.typ == chat.MemberAdded:
			row.intervals = append(row.intervals, Interval{From: seq})
		case last < 0 || row.intervals[last].To != 0:
			return invariant.Broken("only members are removed or change", "conv", v.row.id, "seq", seq, "user", ch.User)
		case e.typ == chat.MemberRemoved:
			row.intervals[last].To = seq
		}
		row.role, row.seq = ch.Role, seq
	}
	return nil
}

func (v *verifier) members() error {
	rows, members, owners := 0, 0, 0
	lower, upper := v.prefix.appendKind(nil, kindMember), v.prefix.appendKind(nil, kindMember+1)
	err := v.r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		body, err := fsm.Open(k, val)
		if err != nil {
			return false, err
		}
		user := chat.UserID(k[prefixBytes+1:])
		want := v.users[user]
		if want == nil || !bytes.Equal(body, want.append(nil)) {
			return false, invariant.Broken("the row of a member is what the entries tell", "conv", v.row.id, "user", user)
		}
		rows++
		if want.role != chat.NoRole {
			members++
		}
		if want.role == chat.Owner {
			owners++
		}
		return true, nil
	})
	if err == nil && (rows != len(v.users) || members != v.row.members || owners != v.row.owners) {
		return invariant.Broken("members are counted", "conv", v.row.id, "rows", rows, "members", members, "owners", owners)
	}
	return err
}
