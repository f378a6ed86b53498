// Command chatnode is the service and the tool to run it: one binary that is a
// node of the cluster, asks nodes how they are, and chats.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// app is what the process was given. Commands use it and nothing global.
type app struct {
	stdin   io.Reader
	stdout  io.Writer // results
	stderr  io.Writer // logs and errors
	environ []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a graceful stop; from then on the default
	// holds, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	os.Exit(a.run(ctx, os.Args[1:]))
}
