package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// app is one invocation: what the process was given.
type app struct {
	stdout, stderr io.Writer
	environ        []string
}

// exitError carries the exit code of a command that has said all it had to
// say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// run executes one command line and gives the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case ctx.Err() != nil:
		fmt.Fprintln(a.stderr, "chatbench: interrupted")
		return exitFailure
	}
	fmt.Fprintln(a.stderr, "chatbench: "+strings.ReplaceAll(err.Error(), "\n", "\nchatbench: "))
	if !started { // the command line itself was refused
		fmt.Fprintln(a.stderr, "Run chatbench --help, or chatbench COMMAND --help.")
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "chatbench",
		Short: "Measure a chatnode cluster, and try to break it",
		Long: `chatbench runs one workload against a cluster: --spawn 3 starts three real processes of the
chatnode binary for it, --target HOST:PORT,… takes a cluster that runs already. Results are JSON
lines, one per measured point (--out FILE, else standard output); chatbench report draws them.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(a.workloads()...)
	root.AddCommand(a.reportCommands()...)
	root.AddCommand(chaosCommand(a.stdout, a.stderr))
	root.AddCommand(a.modelCommands()...)
	return root
}

// workloads measure.
func (a *app) workloads() []*cobra.Command {
	return []*cobra.Command{
		a.throughputCommand(), a.latencyCommand(), a.fanoutCommand(), a.connectionsCommand(), a.failoverCommand(),
	}
}
