package fsmtest

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Epoch is the time at which tests begin, in Unix milliseconds.
const Epoch = int64(1_800_000_000_000)

// ID is a UUIDv7 of the time ms with n in its random part.
func ID(ms int64, n uint64) (id chat.ClientID) {
	binary.BigEndian.PutUint64(id[:8], uint64(ms)<<16)
	binary.BigEndian.PutUint64(id[8:], n)
	id[6] = 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// IDv4 is a UUIDv4 with n in it.
func IDv4(n uint64) (id chat.ClientID) {
	id[0], id[6], id[8] = 0xf4, 0x40, 0x80
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

// Salt is the salt that tests give to the command number n of a log.
func Salt(n uint64) (s chat.Salt) {
	binary.BigEndian.PutUint64(s[:], n)
	binary.BigEndian.PutUint64(s[8:], ^n)
	return s
}

// Send is an Append with the usual device.
func Send(conv chat.ConvID, from chat.UserID, id chat.ClientID, text string) fsm.Append {
	return fsm.Append{Conv: conv, Sender: from, Device: "phone", ClientID: id, Text: text}
}

// Group is a Create of a group.
func Group(conv chat.ConvID, creator chat.UserID, id chat.ClientID, members ...chat.Change) fsm.Create {
	return fsm.Create{
		Conv: conv, Kind: chat.Group, Title: "a group", Creator: creator, Device: "phone", ClientID: id, Members: members,
	}
}

// Change is a ChangeMembers of users who all get the same role.
func Change(conv chat.ConvID, actor chat.UserID, id chat.ClientID, role chat.Role, users ...chat.UserID) fsm.ChangeMembers {
	c := fsm.ChangeMembers{Conv: conv, Actor: actor, Device: "phone", ClientID: id}
	for _, u := range users {
		c.Changes = append(c.Changes, chat.Change{User: u, Role: role})
	}
	return c
}

// Log feeds commands to a machine as a group would.
type Log struct {
	Machine fsm.Machine
	Store   fsm.Writer
	Index   uint64
	Salts   uint64
	Results []fsm.Result // of the last Apply
}

// Apply applies commands as one batch and returns their results.
func (l *Log) Apply(ms int64, cmds ...fsm.Command) ([]fsm.Result, error) {
	payload := l.Payload(ms, cmds...)
	l.Index++
	var err error
	l.Results, err = l.Machine.Apply(l.Store, l.Index, payload, l.Results[:0])
	if err == nil && len(l.Results) != len(cmds) {
		err = fmt.Errorf("%d results for %d commands", len(l.Results), len(cmds))
	}
	return l.Results, err
}

// Payload is the batch of commands, with the next salts.
func (l *Log) Payload(ms int64, cmds ...fsm.Command) []byte {
	var w fsm.BatchWriter
	for _, c := range cmds {
		l.Salts++
		w.Add(Salt(l.Salts), fsm.Encode(nil, c))
	}
	return w.Finish(fsm.Stamp{TimeMS: ms})
}

// Must applies one command and fails the test unless it is accepted.
func (l *Log) Must(tb testing.TB, ms int64, c fsm.Command) chat.Ack {
	tb.Helper()
	res, err := l.Apply(ms, c)
	if err != nil {
		tb.Fatalf("Apply(%+v) = %v, want no error", c, err)
	}
	if res[0].Code != chat.OK {
		tb.Fatalf("Apply(%+v) was refused: %s %s", c, res[0].Code, res[0].Msg)
	}
	return res[0].Ack
}
