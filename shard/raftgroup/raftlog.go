package raftgroup

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLog passes what Raft logs on to slog, one level lower: Raft calls an
// unreachable peer an error many times a second, which the transport tells once.
type raftLog struct {
	hclog.Logger // the methods that Raft does not use
	to           *slog.Logger
}

func newRaftLog(to *slog.Logger) hclog.Logger {
	return &raftLog{Logger: hclog.NewNullLogger(), to: to}
}

func levelOf(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelInfo
	case hclog.Warn, hclog.Info:
		return slog.LevelDebug
	default:
		return slog.LevelDebug - 4
	}
}

// noisy are the messages that repeat for as long as a peer is away.
func noisy(msg string) bool {
	return strings.HasPrefix(msg, "failed to heartbeat") || strings.HasPrefix(msg, "failed to contact") ||
		strings.HasPrefix(msg, "failed to appendEntries") || strings.HasPrefix(msg, "failed to make request") ||
		strings.HasPrefix(msg, "failed to pipeline") || strings.HasPrefix(msg, "failed to get log")
}

func (l *raftLog) Log(level hclog.Level, msg string, args ...any) {
	at := levelOf(level)
	if noisy(msg) {
		at = slog.LevelDebug
	}
	ctx := context.Background()
	if !l.to.Enabled(ctx, at) {
		return
	}
	attrs := make([]any, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		key := strings.ReplaceAll(fmt.Sprint(args[i]), "-", "_")
		val := args[i+1]
		if f, ok := val.(hclog.Format); ok && len(f) > 0 {
			val = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		attrs = append(attrs, slog.Any(key, val))
	}
	l.to.Log(ctx, at, "raft: "+msg, attrs...) //nolint:sloglint // the text is Raft's
}

func (l *raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l *raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l *raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l *raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l *raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l *raftLog) With(...any) hclog.Logger       { return l }
func (l *raftLog) Named(string) hclog.Logger      { return l }
func (l *raftLog) ResetNamed(string) hclog.Logger { return l }

func (l *raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}
func (l *raftLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
