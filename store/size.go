package store

// Bytes is about what a snapshot of the group holds: the rows that were set
// since the last exact count are counted even where they replaced others.
func (g *GroupState) Bytes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return int64(g.pos.bytes)
}
