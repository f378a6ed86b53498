package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. status and check answer with degraded and down as well.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// exitError carries the exit code of a command that has said all it had to
// say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// usageError says that the command line itself is wrong.
type usageError string

func (e usageError) Error() string { return string(e) }

// run executes one command line and gives the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(a.stderr, "chatnode: "+strings.ReplaceAll(err.Error(), "\n", "\nchatnode: "))
	var wrongLine usageError
	if !started || errors.As(err, &wrongLine) { // the command line itself was refused
		fmt.Fprintln(a.stderr, "Run chatnode --help, or chatnode COMMAND --help.")
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "chatnode",
		Short: "A strictly ordered, durable chat log on Raft",
		Long: `chatnode keeps conversations in replicated logs and serves them over WebSocket and HTTP.

Try it:     chatnode dev
A cluster:  chatnode start --bootstrap, then chatnode join --peer HOST:PORT on other machines
Look at it: chatnode status, members, groups`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(a.nodeCommands()...)
	root.AddCommand(a.operatorCommands()...)
	root.AddCommand(a.clientCommands()...)
	return root
}

// nodeCommands run a node or look at its data.
func (a *app) nodeCommands() []*cobra.Command {
	return []*cobra.Command{a.devCommand(), a.startCommand(), a.joinCommand(), a.checkCommand()}
}

// operatorCommands ask and steer a running cluster.
func (a *app) operatorCommands() []*cobra.Command {
	return []*cobra.Command{
		a.statusCommand(), a.membersCommand(), a.groupsCommand(), a.transferCommand(), a.removeCommand(),
		a.tokenCommand(), a.versionCommand(),
	}
}
