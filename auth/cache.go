package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cacheEntriesMax bounds the memory of verified tokens, over two generations.
const cacheEntriesMax = 32 << 10

// cache remembers principals by the hash of their token, so that the tokens
// themselves do not lie in memory. It has two generations: a full young one
// becomes the old one, and what is used is kept.
type cache struct {
	mu    sync.Mutex // guards both maps
	young map[[32]byte]Principal
	old   map[[32]byte]Principal
}

func keyOf(token string) [32]byte { return sha256.Sum256([]byte(token)) }

func (c *cache) get(key [32]byte, now time.Time) (Principal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.young[key]
	if !ok {
		if p, ok = c.old[key]; !ok {
			return p, false
		}
		c.add(key, p)
	}
	return p, p.Holds(now)
}

func (c *cache) put(key [32]byte, p Principal, now time.Time) {
	if !p.Holds(now) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, p)
}

func (c *cache) add(key [32]byte, p Principal) {
	if c.young == nil || len(c.young) >= cacheEntriesMax/2 {
		c.old, c.young = c.young, make(map[[32]byte]Principal)
	}
	c.young[key] = p
}
