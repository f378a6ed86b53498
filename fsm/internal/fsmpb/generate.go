// Package fsmpb is the generated form of the log's commands. Only tests use it:
// package fsm reads and writes the same bytes by hand, without reflection.
package fsmpb

//go:generate protoc --go_out=. --go_opt=paths=source_relative fsm.proto
