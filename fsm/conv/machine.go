package conv

import (
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
	"github.com/chatnode/chatnode/merkle"
)

// Machine applies the commands of one conversation group.
type Machine struct {
	group   uint32
	sink    fsm.Sink
	listens fsm.Listener // the sink, where it can say what it wants
	level   fsm.Level    // 0 until it is read
	hot     cache
	tx      tx

	// Room that every command reuses.
	entryKey, val []byte // of the entry being written
	key, idVal    []byte // of the row of a client id
	nodes         []merkle.Hash
	scratch       leafScratch
}

// timeMaxMS is the last millisecond that a UUIDv7 can name, in the year 10889:
// sums of times stay far from overflow whatever a clock says.
const timeMaxMS = 1<<48 - 1

// tx is what the commands of one batch have in common.
type tx struct {
	w    fsm.Writer
	now  int64
	want bool // somebody waits for the results
	salt chat.Salt
}

// New makes the machine of a group. sink may be nil.
func New(group uint32, sink fsm.Sink) *Machine {
	m := &Machine{group: group}
	m.SetSink(sink)
	return m
}

var _ fsm.Machine = (*Machine)(nil)

// SetSink implements [fsm.Machine].
func (m *Machine) SetSink(s fsm.Sink) {
	m.sink = s
	m.listens, _ = s.(fsm.Listener)
}

// Reset implements [fsm.Machine].
func (m *Machine) Reset() { m.level, m.hot = 0, cache{} }

// Apply implements [fsm.Machine].
func (m *Machine) Apply(w fsm.Writer, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	return m.run(tx{w: w, want: true}, index, payload, dst)
}

// Replay implements [fsm.Machine].
func (m *Machine) Replay(w fsm.Writer, index uint64, payload []byte) error {
	_, err := m.run(tx{w: w}, index, payload, nil)
	return err
}

func (m *Machine) run(t tx, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	batch, err := fsm.ReadBatch(payload)
	if err != nil {
		return dst, err
	}
	if batch.Level > fsm.LevelMax {
		return dst, invariant.Broken("this version can read the log", "level", batch.Level, "known", fsm.LevelMax, "index", index)
	}
	if m.level == 0 {
		if m.level, err = fsm.ReadLevel(t.w, m.group); err != nil {
			return dst, err
		}
	}
	if t.want {
		dst = slices.Grow(dst, batch.Count)
	}
	t.now = min(max(batch.Stamp.TimeMS, 0), timeMaxMS)
	m.tx = t
	defer func() { m.tx = tx{} }()
	for {
		salt, cmd, ok := batch.Next()
		if !ok {
			return dst, nil
		}
		m.tx.salt = salt
		res, err := m.command(cmd)
		if err != nil {
			return dst, err
		}
		if t.want {
			dst = append(dst, res)
		}
	}
}

// command applies one command. An error, other than a refusal in the result,
// halts the group: the command is in the log, so it was known and well-formed
// where it was proposed.
func (m *Machine) command(cmd []byte) (fsm.Result, error) {
	tag, body, err := fsm.Split(cmd)
	if err != nil {
		return fsm.Result{}, err
	}
	if fsm.LevelOf(tag) > m.level {
		return fsm.Refuse(chat.UnsupportedVer, "the group's level does not allow this command yet"), nil
	}
	if tag == fsm.TagAppend { // without the copies that Decode makes
		v, err := fsm.ReadAppend(body)
		if err != nil {
			return fsm.Result{}, err
		}
		return m.append(&v)
	}
	c, err := fsm.Decode(cmd)
	if err != nil {
		return fsm.Result{}, err
	}
	switch c := c.(type) {
	case fsm.Create:
		return m.create(&c)
	case fsm.ChangeMembers:
		return m.changeMembers(&c)
	case fsm.RaiseLevel:
		m.level, err = fsm.ApplyRaiseLevel(m.tx.w, m.group, m.level, c)
		return fsm.Result{}, err
	default:
		return fsm.Result{}, fsm.UnknownTag(tag)
	}
}

// find returns a conversation, from memory or from its rows; nil when there is
// none. taken tells that its place is taken by another one.
func (m *Machine) find(conv []byte) (h *hot, taken bool, err error) {
	if h := m.hot.get(conv); h != nil {
		return h, false, nil
	}
	p := prefixOf(m.group, conv)
	row, ok, taken, err := readConvRow(m.tx.w, &p, conv)
	if err != nil || !ok {
		return nil, taken, err
	}
	t, err := loadTail(m.tx.w, &p, row.id)
	if err != nil {
		return nil, false, err
	}
	h = &hot{convRow: row, prefix: p}
	h.setTail(t)
	m.hot.put(h)
	return h, false, nil
}
