package session

import "time"

// lane is a line of reads, of which ReadersMax run at once. Each kind of read has
// its own, so that none waits behind another kind.
type lane struct {
	jobs []func()
	busy int // jobs that run and hold a place
}

// arrival is when a read was asked for, on the clock of its deadline.
type arrival struct {
	at    time.Time
	stood time.Duration
}

// arrived begins the time of a read. The lock is held.
func (s *Session) arrived() arrival { return arrival{at: time.Now(), stood: s.stood} }

// left is what remains of ReadWait. While the client does not take what waits for
// it nothing is read, and that time is not the reads'.
func (s *Session) left(a arrival) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.ReadWait + s.stood - a.stood - time.Since(a.at)
}

// queueJob runs job in its turn. The lock is held.
func (s *Session) queueJob(l *lane, job func()) {
	l.jobs = append(l.jobs, job)
	s.staff(l)
}

// staff starts one who works, if there is a place and a job. The lock is held.
func (s *Session) staff(l *lane) {
	if l.busy < s.cfg.ReadersMax && len(l.jobs) > 0 && s.state < ending {
		l.busy++
		s.wg.Go(func() { s.work(l) })
	}
}

// work runs jobs until there are none, each once there is room for its answer.
func (s *Session) work(l *lane) {
	for {
		s.mu.Lock()
		s.awaitRoom()
		if len(l.jobs) == 0 || l.busy > s.cfg.ReadersMax || s.state >= ending {
			l.busy--
			s.mu.Unlock()
			return
		}
		job := l.jobs[0]
		l.jobs[0] = nil
		if l.jobs = l.jobs[1:]; len(l.jobs) == 0 {
			l.jobs = nil
		}
		s.mu.Unlock()
		job()
	}
}

// awaitRoom waits until the queue to the client is below its limit. The lock is
// held.
func (s *Session) awaitRoom() {
	for s.out.size() >= s.cfg.QueueBytesMax && s.state < ending {
		if s.fullSince.IsZero() {
			s.fullSince = time.Now()
		}
		s.room.Wait()
	}
}

// roomMade lets those go on that wait for room. The lock is held.
func (s *Session) roomMade() {
	if !s.fullSince.IsZero() {
		s.stood += time.Since(s.fullSince)
		s.fullSince = time.Time{}
	}
	s.room.Broadcast()
}

// place is what a running read holds of its lane. A read that takes longer than
// LendWait waits for a quorum or for another node and has no page in memory yet:
// it lends its place to the next. When it comes back it counts again, and others
// begin only when the lane is below its limit.
type place struct {
	s     *Session
	l     *lane
	timer *time.Timer
	lent  bool // these two under the session's lock
	done  bool
}

func (s *Session) hold(l *lane) *place {
	p := &place{s: s, l: l}
	p.timer = time.AfterFunc(s.cfg.LendWait, p.lend)
	return p
}

func (p *place) lend() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.done {
		return
	}
	p.lent = true
	p.l.busy--
	p.s.staff(p.l)
}

// regain takes the place back, and waits for room if it had been lent, since
// many may come back at once.
func (p *place) regain() {
	p.timer.Stop()
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.done = true
	if p.lent {
		p.l.busy++
		p.s.awaitRoom()
	}
}
