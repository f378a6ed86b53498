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
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return f
	}
	field := v.Elem().FieldByName("ShutdownCh")
	if field.IsValid() && field.CanSet() && field.Type() == reflect.TypeOf(gone) && field.IsNil() {
		field.Set(reflect.ValueOf(gone))
	}
	return f
}
