package client

// Waiting is the number of callers that wait for room in the outbox.
func (c *Client) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiters)
}

// Queued is the length of the line of requests that wait to be written.
func (c *Client) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.callWait)
}

// Paused reports whether the queue is full.
func (s *Subscription) Paused() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.paused
}
