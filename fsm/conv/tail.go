package conv

import (
	"crypto/sha256"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
	"github.com/chatnode/chatnode/merkle"
)

// tail is what the newest rows of a conversation tell: its head, its tree and
// the client ids since the last checkpoint.
type tail struct {
	seq    chat.Seq
	msgNo  chat.MsgNo
	timeMS int64
	tree   merkle.Range

	idTimeMax int64
	savedMax  int64 // idTimeMax as of the last checkpoint
	keptSeq   chat.Seq
	keptTime  int64
	recent    []recentID
}

// recentID is a client id whose own row waits for the next checkpoint.
type recentID struct {
	id     chat.ClientID
	sender chat.UserID
	seq    chat.Seq
}

// leafScratch is room to encode bodies and leaves in.
type leafScratch struct{ buf []byte }

// hash computes the leaf of a stored entry.
func (s *leafScratch) hash(conv string, seq chat.Seq, v *view[[]byte]) merkle.Hash {
	s.buf = append(s.buf[:0], v.salt[:]...)
	if v.kind == 0 && v.changes == 0 {
		s.buf = chat.AppendMessageBody(s.buf, v.contentType, v.text)
	} else {
		var e chat.Entry
		fill(&e, v)
		s.buf = chat.AppendBody(s.buf, &e.Body)
	}
	l := chat.Leaf{
		Conv: conv, Sender: v.sender, Device: v.device, Seq: seq, Target: v.target,
		TimeMS: v.timeMS, ClientID: v.clientID, Type: v.typ, Body: sha256.Sum256(s.buf),
	}
	s.buf = l.Append(s.buf[:0])
	return sha256.Sum256(s.buf)
}

// loadTail reads at most checkpointEvery rows from the end of a conversation.
func loadTail(r fsm.Reader, p *prefix, conv chat.ConvID) (*tail, error) {
	type row struct {
		seq  chat.Seq
		leaf merkle.Hash
	}
	var (
		t       = &tail{keptSeq: 1}
		scratch leafScratch
		rows    = make([]row, 0, checkpointEvery) // behind the checkpoint, the newest first
		base    *checkpoint
		baseSeq chat.Seq
	)
	err := r.Scan(p.appendKind(nil, kindEntry), p.appendKind(nil, kindEntry+1), true, func(k, val []byte) (bool, error) {
		seq, form, c, err := openEntry(k, val)
		if err != nil {
			return false, err
		}
		v := parseEntry(&c)
		if t.seq == 0 {
			t.seq, t.msgNo, t.timeMS = seq, v.msgNo, v.timeMS
		} else if seq+chat.Seq(len(rows)) != t.seq {
			return false, invariant.Broken("entries are dense", "conv", conv, "head", t.seq, "got", seq)
		}
		if form == formCheckpoint {
			cp := decodeCheckpoint(&c, seq)
			base, baseSeq = &cp, seq
		}
		if c.bad || len(c.b) != 0 {
			return false, corrupt(opRow, "the row of an entry is malformed")
		}
		if form == formCheckpoint {
			return false, nil
		}
		if seq == 1 {
			t.keptTime = v.timeMS
		}
		rows = append(rows, row{seq, scratch.hash(string(conv), seq, &v)})
		if !v.clientID.IsZero() {
			t.recent = append(t.recent, recentID{v.clientID, chat.UserID(v.sender), seq})
		}
		return seq > 1, nil
	})
	if err != nil {
		return nil, err
	}
	if t.seq == 0 || (base == nil && t.seq != chat.Seq(len(rows))) {
		return nil, invariant.Broken("a conversation has entries from the first on", "conv", conv, "head", t.seq)
	}
	if base != nil {
		peaks := append(base.peaks, base.nodes[len(base.nodes)-1])
		tree, ok := merkle.Restore(uint64(baseSeq), peaks)
		if !ok {
			return nil, invariant.Broken("a checkpoint has a peak per bit of its size", "conv", conv, "seq", baseSeq)
		}
		t.tree, t.savedMax, t.keptSeq, t.keptTime = tree, base.idTimeMax, base.keptSeq, base.keptTime
	}
	for _, row := range slices.Backward(rows) {
		t.tree.Append(row.leaf)
	}
	t.idTimeMax = t.savedMax
	for i := range t.recent {
		if ms, ok := t.recent[i].id.TimeMS(); ok {
			t.idTimeMax = max(t.idTimeMax, ms)
		}
	}
	return t, nil
}

// readConvRow reads the row of a conversation. taken tells that another
// conversation has the same prefix, which no two ids were ever seen to have.
func readConvRow[T bytestring](r fsm.Reader, p *prefix, conv T) (row convRow, ok, taken bool, err error) {
	key := p.appendKind(nil, kindConv)
	val, ok, err := r.Get(key)
	if err != nil || !ok {
		return convRow{}, false, false, err
	}
	body, err := fsm.Open(key, val)
	if err != nil {
		return convRow{}, false, false, err
	}
	row, err = decodeConvRow(body)
	if err != nil {
		return convRow{}, false, false, err
	}
	if string(row.id) != string(conv) {
		return convRow{}, false, true, nil
	}
	return row, true, false, nil
}

// readMember reads what is known of a user; ok is false for a user who never was
// a member.
func readMember[T bytestring](r fsm.Reader, p *prefix, user T) (row memberRow, ok bool, err error) {
	key := append(p.appendKind(make([]byte, 0, prefixBytes+1+len(user)), kindMember), user...)
	val, ok, err := r.Get(key)
	if err != nil || !ok {
		return memberRow{}, false, err
	}
	body, err := fsm.Open(key, val)
	if err != nil {
		return memberRow{}, false, err
	}
	row, err = decodeMemberRow(body)
	return row, err == nil, err
}

// readEntry reads one entry, which must be there. The view shares the Reader's
// bytes until the next call on it.
func readEntry(r fsm.Reader, p *prefix, seq chat.Seq) (v view[[]byte], cp checkpoint, err error) {
	var room [prefixBytes + 9]byte
	key := p.appendEntry(room[:0], seq)
	val, ok, err := r.Get(key)
	if err != nil {
		return v, cp, err
	}
	if !ok {
		return v, cp, invariant.Broken("an entry below the head is there", "seq", seq)
	}
	_, form, c, err := openEntry(key, val)
	if err != nil {
		return v, cp, err
	}
	v = parseEntry(&c)
	if form == formCheckpoint {
		cp = decodeCheckpoint(&c, seq)
	}
	if c.bad || len(c.b) != 0 {
		return v, cp, corrupt(opRow, "the row of an entry is malformed")
	}
	return v, cp, nil
}
