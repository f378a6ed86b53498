package fsm

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/invariant"
)

// ReadLevel reads a group's level: Level1 until a RaiseLevel wrote another.
func ReadLevel(r Reader, group uint32) (Level, error) {
	key := LevelKey(group)
	val, ok, err := r.Get(key)
	if err != nil || !ok {
		return Level1, err
	}
	body, err := Open(key, val)
	if err != nil {
		return 0, err
	}
	if len(body) != 4 {
		return 0, chat.E("read level", chat.Corrupt, "the row of the level is malformed", nil)
	}
	level := Level(binary.BigEndian.Uint32(body))
	if level < Level1 || level > LevelMax {
		return 0, invariant.Broken("this version can read the state", "level", level, "known", LevelMax)
	}
	return level, nil
}

// ApplyRaiseLevel raises a group's level and returns the one that holds from now
// on. A level that is reached already changes nothing. One that this binary does
// not know halts the group.
func ApplyRaiseLevel(w Writer, group uint32, now Level, c RaiseLevel) (Level, error) {
	if c.To <= now {
		return now, nil
	}
	if c.To > LevelMax {
		return now, invariant.Broken("this version can follow the group's level", "level", c.To, "known", LevelMax)
	}
	key := LevelKey(group)
	val := Seal(key, binary.BigEndian.AppendUint32(nil, uint32(c.To)))
	return c.To, w.Set(key, val)
}
