package session

import (
	"sync"

	"github.com/chatnode/chatnode/chat"
)

// Registry is what the sessions of a node share: which of them serves a device,
// so that a newer connection replaces the older one.
type Registry struct {
	mu       sync.Mutex // guards sessions; taken alone
	sessions map[deviceKey]*Session

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

// enter gives the session that s replaces, if there is one.
func (r *Registry) enter(k deviceKey, s *Session) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.sessions[k]
	r.sessions[k] = s
	return old
}

func (r *Registry) leave(k deviceKey, s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[k] == s {
		delete(r.sessions, k)
	}
}
