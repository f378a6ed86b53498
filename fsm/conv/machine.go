package conv

import (
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/invariant"
)

// Machine applies the commands of one conversation group.
type Machine struct {
	group uint32
	sink  fsm.Sink
}

// New makes the machine of a group. sink may be nil.
func New(group uint32, sink fsm.Sink) *Machine { return &Machine{group: group, sink: sink} }

var _ fsm.Machine = (*Machine)(nil)

// SetSink implements [fsm.Machine].
func (m *Machine) SetSink(s fsm.Sink) { m.sink = s }

// Reset implements [fsm.Machine].
func (m *Machine) Reset() {}

// Apply implements [fsm.Machine].
func (m *Machine) Apply(w fsm.Writer, index uint64, payload []byte, dst []fsm.Result) ([]fsm.Result, error) {
	return dst, invariant.Broken("the machine is complete")
}

// Replay implements [fsm.Machine].
func (m *Machine) Replay(w fsm.Writer, index uint64, payload []byte) error {
	_, err := m.Apply(w, index, payload, nil)
	return err
}

// Fingerprint implements [fsm.Machine].
func (m *Machine) Fingerprint(r fsm.Reader) (chat.Hash, error) { return chat.Hash{}, nil }
