package raftgroup

import (
	"reflect"

	"github.com/hashicorp/raft"
)

// endWith makes a future of Raft end, with [raft.ErrRaftShutdown], once gone is
// closed, and gives it back.
//
// Raft never answers a log future that waits for its main loop (with
// BatchApplyCh the channel to it is buffered) or for its FSM goroutine at the
// moment of a shutdown; whoever waits for it would wait for ever. Its futures
// have a field for this, exported in a type that is not, which Raft sets for
// some of them only. Raft reads it nowhere but in Error, which only its one
// owner calls, so setting it late is safe. A future without the field was
// answered when it was made.
func endWith[F raft.Future](f F, gone chan struct{}) F {
	new(ender).end(f, gone)
	return f
}

// ender remembers where the field is in the futures that it saw last.
type ender struct {
	of reflect.Type
	at []int // nil: there is none
}

func (e *ender) end(f raft.Future, gone chan struct{}) {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	v = v.Elem()
	if t := v.Type(); t != e.of {
		e.of, e.at = t, nil
		if field, ok := t.FieldByName("ShutdownCh"); ok && field.Type == reflect.TypeOf(gone) {
			e.at = field.Index
		}
	}
	if e.at == nil {
		return
	}
	if field := v.FieldByIndex(e.at); field.CanSet() && field.IsNil() {
		field.Set(reflect.ValueOf(gone))
	}
}
