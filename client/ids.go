package client

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/chatnode/chatnode/chat"
)

// ids draws UUIDv7s that never repeat and never go back within one client, by
// counting in the twelve bits after the time (RFC 9562, 6.2, method 1). It is
// used under the client's lock.
type ids struct {
	rnd   *rand.ChaCha8
	last  uint64 // milliseconds of the newest id
	count uint16 // its counter
}

const idCounterMax = 1<<12 - 1

func newIDs() ids {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails: the runtime stops the process instead
	return ids{rnd: rand.NewChaCha8(seed)}
}

func (g *ids) next(now time.Time) chat.ClientID {
	ms := uint64(now.UnixMilli())
	switch {
	case ms > g.last:
		g.last = ms
		g.count = uint16(g.rnd.Uint64() & 0xff) // room to count on
	case g.count == idCounterMax:
		g.last++ // ahead of the clock by a millisecond, never behind
		g.count = 0
	default:
		g.count++
	}
	var id chat.ClientID
	binary.BigEndian.PutUint64(id[:8], g.last<<16|7<<12|uint64(g.count))
	binary.BigEndian.PutUint64(id[8:], g.rnd.Uint64()&(1<<62-1)|1<<63)
	return id
}

// NewID draws a UUIDv7 for a caller that names its messages itself, so that it
// can repeat one after a restart.
func NewID() chat.ClientID {
	g := newIDs()
	return g.next(time.Now())
}
