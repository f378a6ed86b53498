package conv

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Fingerprint implements [fsm.Machine]. Because the rows are a function of the
// log alone (V3), it is a hash over all of them, and verifies each checksum.
func (m *Machine) Fingerprint(r fsm.Reader) (chat.Hash, error) {
	sum := sha256.New()
	var size [8]byte
	lower := fsm.AppendPrefix(nil, m.group, fsm.AreaGroup)
	upper := fsm.AppendPrefix(nil, m.group, fsm.AreaConv+1)
	err := r.Scan(lower, upper, false, func(k, val []byte) (bool, error) {
		if _, err := fsm.Open(k, val); err != nil {
			return false, err
		}
		binary.BigEndian.PutUint32(size[:], uint32(len(k)-fsm.GroupBytes))
		binary.BigEndian.PutUint32(size[4:], uint32(len(val)))
		sum.Write(size[:])
		sum.Write(k[fsm.GroupBytes:])
		sum.Write(val)
		return true, nil
	})
	return chat.Hash(sum.Sum(nil)), err
}
