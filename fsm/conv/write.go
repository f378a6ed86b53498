package conv

import (
	"math/bits"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
	"github.com/chatnode/chatnode/merkle"
)

// write gives an accepted entry its place: seq, msg_no, time and leaf, its row,
// and at each checkpoint what waits for one. All checks were made. sender is the
// lasting copy of the id in v.
func (m *Machine) write(h *hot, sender chat.UserID, v *view[[]byte]) (fsm.Result, error) {
	seq := h.seq + 1
	v.timeMS, v.msgNo, v.salt = max(m.tx.now, h.timeMS), h.msgNo, m.tx.salt
	if v.typ == chat.Message {
		v.msgNo++
	}
	m.entryKey = h.prefix.appendEntry(m.entryKey[:0], seq)
	key := m.entryKey
	form := formPlain
	if seq%checkpointEvery == 0 {
		form = formCheckpoint
	}
	val := appendView(append(m.val[:0], form), v)
	stored := val[1:]

	leaf := m.scratch.hash(string(h.id), seq, v)
	m.nodes = h.tree.AppendNodes(leaf, nodeLevel, m.nodes[:0])
	if h.tree.Size() != uint64(seq) {
		return fsm.Result{}, invariant.Broken("the tree has a leaf per entry", "conv", h.id, "leaves", h.tree.Size(), "seq", seq)
	}
	if !v.clientID.IsZero() {
		if ms, ok := v.clientID.TimeMS(); ok {
			h.idTimeMax = max(h.idTimeMax, ms)
		}
		h.window.add(recentID{id: v.clientID, sender: sender, seq: seq})
	}
	if form == formCheckpoint {
		var err error
		if val, err = m.appendCheckpoint(val, h, seq, v.timeMS); err != nil {
			return fsm.Result{}, err
		}
	}
	m.val = fsm.Seal(key, val)
	if err := m.tx.w.Set(key, m.val); err != nil {
		return fsm.Result{}, err
	}
	h.seq, h.msgNo, h.timeMS = seq, v.msgNo, v.timeMS
	if seq == 1 {
		h.keptSeq, h.keptTime = 1, v.timeMS
	}
	if m.sink != nil && (m.listens == nil || m.listens.Listens(h.id)) {
		if err := m.tell(h, seq, stored); err != nil {
			return fsm.Result{}, err
		}
	}
	res := fsm.Result{Ack: chat.Ack{Seq: seq, MsgNo: v.msgNo, TimeMS: v.timeMS}}
	if m.tx.want {
		res.Ack.Root = h.tree.Root()
	}
	if cap(m.val) > valRoomMax {
		m.val, m.scratch.buf = nil, nil
	}
	return res, nil
}

// valRoomMax is the largest buffer that is kept from one entry to the next.
const valRoomMax = 64 << 10

// appendCheckpoint forgets old ids, writes the rows of new ones, and appends the
// checkpoint to the entry's row.
func (m *Machine) appendCheckpoint(val []byte, h *hot, seq chat.Seq, timeMS int64) ([]byte, error) {
	if err := m.forgetIDs(h, timeMS); err != nil {
		return nil, err
	}
	if err := m.saveIDs(h, seq); err != nil {
		return nil, err
	}
	peaks := h.tree.Peaks()
	if want := bits.TrailingZeros64(uint64(seq)) - nodeLevel + 1; len(m.nodes) != want {
		return nil, invariant.Broken("a checkpoint completes its nodes", "conv", h.id, "seq", seq, "nodes", len(m.nodes))
	}
	cp := checkpoint{
		nodes: m.nodes, peaks: peaks[:len(peaks)-1],
		idTimeMax: h.idTimeMax, keptSeq: h.keptSeq, keptTime: h.keptTime,
	}
	return cp.append(val), nil
}

// tell gives the entry to the sink, as a copy that may be kept.
func (m *Machine) tell(h *hot, seq chat.Seq, stored []byte) error {
	e := &chat.Entry{Conv: h.id, Seq: seq}
	c := cursor[string]{b: string(stored)}
	v := parseEntry(&c)
	if c.bad {
		return invariant.Broken("an entry just written can be read", "conv", h.id, "seq", seq)
	}
	fill(e, &v)
	m.sink.Appended(e, members{m, h})
	return nil
}

// members shows the sink who is in the conversation.
type members struct {
	m *Machine
	h *hot
}

// Role implements [fsm.MemberView].
func (v members) Role(u chat.UserID) (chat.Role, error) {
	k, err := v.h.role(v.m.tx.w, []byte(u))
	return k.role, err
}

// Len implements [fsm.MemberView].
func (v members) Len() int { return v.h.members }

// repeat answers a command whose id is in the log already: with the first answer
// when the entry is the same, else with conflict.
func (m *Machine) repeat(h *hot, seq chat.Seq, same func(e *view[[]byte]) bool) (fsm.Result, error) {
	e, _, err := readEntry(m.tx.w, &h.prefix, seq)
	if err != nil {
		return fsm.Result{}, err
	}
	if !same(&e) {
		return fsm.Refuse(chat.Conflict, "the client id was used for something else"), nil
	}
	res := fsm.Result{Ack: chat.Ack{Seq: seq, MsgNo: e.msgNo, TimeMS: e.timeMS, Dup: true}}
	if m.tx.want {
		if seq == h.seq {
			res.Ack.Root = h.tree.Root()
			return res, nil
		}
		nodes := nodeSource{r: m.tx.w, prefix: &h.prefix, conv: h.id, size: h.seq}
		res.Ack.Root, err = merkle.RootAt(&nodes, uint64(seq))
	}
	return res, err
}
