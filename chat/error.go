package chat

import (
	"errors"
	"strings"
	"time"
)

// Error is an error that can cross a process boundary: the operation that
// failed, a code, a text for a person, and the cause.
type Error struct {
	Op         string // "append", "history", …
	Code       Code
	Msg        string        // says what to do; safe to show
	RetryAfter time.Duration // 0 when there is nothing to wait for
	Err        error         // the cause; for logs, never sent to clients
}

// Error gives "op: code: msg: cause" without the empty parts.
func (e *Error) Error() string {
	parts := make([]string, 0, 4)
	for _, s := range []string{e.Op, string(e.Code), e.Msg} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// E makes an [Error]. The cause may be nil.
func E(op string, code Code, msg string, cause error) *Error {
	return &Error{Op: op, Code: code, Msg: msg, Err: cause}
}

// CodeOf is the code of err: OK for nil, the code of the outermost [Error] in
// its chain, and Internal for an error without one.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
