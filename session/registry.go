package session

import (
	"sync"
	"sync/atomic"

	"github.com/chatnode/chatnode/chat"
)

// Registry is what the sessions of a node share: which of them serves a device,
// so that a newer connection replaces the older one.
type Registry struct {
	mu       sync.Mutex // guards sessions; taken alone
	sessions map[deviceKey]*Session

	connections atomic.Uint64 // so far

	pendings sync.Pool // of *pending, for all sessions
}

type deviceKey struct {
	user   chat.UserID
	device chat.DeviceID
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{sessions: make(map[deviceKey]*Session), pendings: sync.Pool{New: newPending}}
}

// Len counts the sessions that have logged in.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// enter gives the session that has to go, if there are two of a device: the one
// whose connection is older. That may be s: the hello of a connection that its
// client has given up long ago, and made another for, may come late.
func (r *Registry) enter(k deviceKey, s *Session) (replaced *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.sessions[k]
	if other != nil && other.connection > s.connection {
		return s
	}
	r.sessions[k] = s
	return other
}

func (r *Registry) leave(k deviceKey, s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[k] == s {
		delete(r.sessions, k)
	}
}
