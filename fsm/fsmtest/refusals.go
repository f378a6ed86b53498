package fsmtest

import (
	"maps"
	"slices"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// Refusal is the answer to a client id that was refused.
type Refusal struct {
	ID   chat.ClientID
	Code chat.Code
}

// refuse refuses a command for what the conversation is now, for good.
func (c *Conversation) refuse(user chat.UserID, id chat.ClientID, code chat.Code) fsm.Result {
	const perUser, users = 64, 1024
	if c.Refused == nil {
		c.Refused = map[chat.UserID][]Refusal{}
	}
	if len(c.Refused[user]) == 0 && len(c.Refused) == users {
		names := slices.Sorted(maps.Keys(c.Refused))
		at, _ := slices.BinarySearch(names, user)
		delete(c.Refused, names[at%users])
	}
	list := append(c.Refused[user], Refusal{id, code})
	c.Refused[user] = list[max(0, len(list)-perUser):]
	return refuse(code)
}

// refused is the code with which a command was refused before, else OK.
func (c *Conversation) refused(user chat.UserID, id chat.ClientID) chat.Code {
	for _, r := range c.Refused[user] {
		if r.ID == id {
			return r.Code
		}
	}
	return chat.OK
}
