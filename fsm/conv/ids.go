package conv

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
)

// The memory of client ids. An id is remembered for idKeepMS of log time after
// its entry, at least; a UUIDv7 is refused once it is older than idOldMS. An id
// may be up to idAheadMS ahead when it is appended, so idKeepMS is the sum: when
// it is forgotten it is refused already (V4). Ids of other versions carry no
// time: they are safe to repeat for idOldMS, as documented.
const (
	idOldMS   = int64(chat.ClientIDMemory / 1e6)
	idAheadMS = int64(chat.ClientIDFutureMax / 1e6)
	idKeepMS  = idOldMS + idAheadMS
)

// forgetPerCheckpointMax bounds the ids that one checkpoint forgets. It is twice
// what comes in between two, so forgetting catches up.
const forgetPerCheckpointMax = 2 * checkpointEvery

// seen finds the entry of an earlier command with this sender and client id; 0
// when there is none within the memory.
func (m *Machine) seen(h *hot, id *chat.ClientID, sender []byte) (chat.Seq, error) {
	if ms, ok := id.TimeMS(); ok && ms > h.idTimeMax {
		return 0, nil // later than every id that was ever appended
	}
	if seq := h.window.find(id, sender); seq != 0 {
		if seq < h.keptSeq {
			return 0, nil
		}
		return seq, nil
	}
	if h.window.isNew(id) {
		return 0, nil
	}
	m.key = appendIDKey(m.key[:0], &h.prefix, id, sender)
	val, ok, err := m.tx.w.Get(m.key)
	if err != nil || !ok {
		m.hot.widen(h) // a read that a wider window saves the next time
		return 0, err
	}
	body, err := fsm.Open(m.key, val)
	if err != nil {
		return 0, err
	}
	seq, n := binary.Uvarint(body)
	if n != len(body) || chat.Seq(seq) > h.seq || chat.Seq(seq) < h.keptSeq {
		return 0, invariant.Broken("the row of a client id names an entry that keeps it",
			"conv", h.id, "seq", seq, "head", h.seq, "kept", h.keptSeq)
	}
	return chat.Seq(seq), nil
}

func appendIDKey[T bytestring](dst []byte, p *prefix, id *chat.ClientID, sender T) []byte {
	return append(append(p.appendKind(dst, kindID), id[:]...), sender...)
}

// checkID refuses a client id that is missing, too old to be safe, or ahead.
func checkID(id *chat.ClientID, now int64) (fsm.Result, bool) {
	if id.IsZero() {
		return fsm.Refuse(chat.Invalid, "a client id is required"), false
	}
	ms, ok := id.TimeMS()
	if !ok {
		return fsm.Result{}, true
	}
	if ms < now-idOldMS {
		return fsm.Refuse(chat.Expired, "the client id is older than 7 days; send with a new one if it is not in the log"), false
	}
	if ms > now+idAheadMS {
		return fsm.Refuse(chat.Invalid, "the client id is from the future; check the clock"), false
	}
	return fsm.Result{}, true
}

// saveIDs writes the rows of the ids since the last checkpoint, the entry seq
// included, which the window holds.
func (m *Machine) saveIDs(h *hot, seq chat.Seq) (err error) {
	h.window.newest(func(r *recentID) bool {
		if r.seq+checkpointEvery <= seq {
			return false
		}
		m.key = appendIDKey(m.key[:0], &h.prefix, &r.id, r.sender)
		m.idVal = fsm.Seal(m.key, binary.AppendUvarint(m.idVal[:0], uint64(r.seq)))
		err = m.tx.w.Set(m.key, m.idVal)
		return err == nil
	})
	return err
}

// forgetIDs deletes the rows of ids whose entries are older than the memory at
// the time now. It reads entries only when there is something to forget.
func (m *Machine) forgetIDs(h *hot, now int64) error {
	if h.keptTime >= now-idKeepMS {
		return nil
	}
	saved := h.seq - h.seq%checkpointEvery // ids above have no row yet
	var keys [][]byte
	seq, left := h.keptSeq, forgetPerCheckpointMax
	keptTime := h.keptTime
	err := m.tx.w.Scan(h.prefix.appendEntry(nil, seq), h.prefix.appendEntry(nil, saved+1), false, func(k, val []byte) (bool, error) {
		at, _, c, err := openEntry(k, val)
		if err != nil {
			return false, err
		}
		v := parseEntry(&c)
		if c.bad || at != seq {
			return false, corrupt(opRow, "the row of an entry is malformed")
		}
		keptTime = v.timeMS
		if left == 0 || v.timeMS >= now-idKeepMS {
			return false, nil
		}
		left--
		seq++
		if !v.clientID.IsZero() {
			keys = append(keys, appendIDKey(nil, &h.prefix, &v.clientID, v.sender))
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := m.tx.w.Delete(k); err != nil {
			return err
		}
	}
	h.keptSeq, h.keptTime = seq, keptTime
	return nil
}
