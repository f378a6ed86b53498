package conv

import "github.com/chatnode/chatnode/fsm"

// ahead is the conversations of a batch's commands, looked up before the first of
// them is applied. The conversations of a batch are as good as random, and what is
// known of them is seldom in the processor's cache. Looked up and touched one after
// the other they are fetched at the same time, where each command would wait for
// its own, several times. It changes nothing but that.
type ahead struct {
	found []*hot // by the number of the command, nil for one that is not in memory
	puts  int    // of the cache: one that came since then may have displaced any of them
	read  uint64 // keeps what is read for the sake of reading it from being optimised away
}

// at gives the conversation of a command, or nil when it has to be looked up.
func (a *ahead) at(turn, puts int) *hot {
	if puts != a.puts || turn >= len(a.found) {
		return nil
	}
	return a.found[turn]
}

func (a *ahead) forget() {
	clear(a.found)
	a.found = a.found[:0]
}

// lookAhead looks up the conversations of a batch.
func (m *Machine) lookAhead(b fsm.Batch) {
	a := &m.ahead
	a.found, a.puts = a.found[:0], m.hot.puts
	for {
		_, cmd, ok := b.Next()
		if !ok {
			break
		}
		var h *hot
		if conv, err := fsm.KeyIn(cmd); err == nil {
			h = m.hot.get(conv)
		}
		a.found = append(a.found, h)
	}
	for _, h := range a.found {
		if h != nil {
			a.read ^= h.touch()
		}
	}
}

// touch reads from every part of a conversation that an append needs.
func (h *hot) touch() uint64 {
	sum := uint64(h.prefix[0]) ^ uint64(h.window.floor)
	if peaks := h.tree.Peaks(); len(peaks) > 0 {
		sum ^= uint64(peaks[len(peaks)-1][0])
	}
	if n := len(h.window.ids); n > 0 {
		next := h.window.next
		if n < h.window.most {
			next = n - 1
		}
		sum ^= h.window.marks[next] ^ uint64(h.window.ids[next].seq)
	}
	if len(h.roles) > 0 {
		sum ^= uint64(h.roles[0].user[0])
	}
	return sum
}
