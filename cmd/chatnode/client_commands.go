package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

// clientCommands chat: they use the service as any other client does.
func (a *app) clientCommands() []*cobra.Command {
	return []*cobra.Command{a.chatCommand(), a.sendCommand(), a.tailCommand()}
}

// personTokenTTL is how long a token holds that a client command made itself; a
// new one is made at every connect.
const personTokenTTL = time.Hour

// personFlags declares how a client command finds nodes and says who speaks.
func (a *app) personFlags(cmd *cobra.Command) {
	a.callerFlags(cmd.Flags())
	cmd.Flags().String("user", "", "who speaks, when the token is made from the secret (default: CHATNODE_USER, else USER)")
	cmd.Flags().String("device", "", "device of the user (default: one drawn at random)")
	cmd.Flags().Duration("timeout", 30*time.Second, "longest wait for a connection and for an answer")
}

// person connects as the user that the flags name.
func (a *app) person(cmd *cobra.Command) (*client.Client, error) {
	text := func(name string) string { return cmd.Flags().Lookup(name).Value.String() }
	base, err := a.baseURL(text("addr"), text("data-dir"))
	if err != nil {
		return nil, err
	}
	tokens, err := a.tokens(text)
	if err != nil {
		return nil, err
	}
	cfg := client.DefaultConfig()
	cfg.Agent = "chatnode"
	cfg.Device = chat.DeviceID(text("device"))
	timeout, err := cmd.Flags().GetDuration("timeout")
	if err != nil {
		return nil, err
	}
	cfg.SendTimeout = timeout
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	return client.Dial(ctx, []string{base}, tokens, cfg)
}

// tokens gives the token that was handed in, or makes one from the secret.
func (a *app) tokens(text func(string) string) (client.TokenSource, error) {
	if token := a.givenToken(text("token"), text("auth-secret-file")); token != "" {
		return client.StaticToken(token), nil
	}
	scheme, err := a.scheme(text("auth-secret-file"), text("data-dir"))
	if err != nil {
		return nil, err
	}
	user := first(text("user"), a.env("CHATNODE_USER"), a.env("USER"))
	if user == "" {
		return nil, errors.New("who are you? give --user")
	}
	return func(context.Context) (string, error) {
		return scheme.Mint(auth.Principal{User: chat.UserID(user)}, time.Now(), personTokenTTL)
	}, nil
}

// answer bounds the wait for one answer.
func answer(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	timeout, err := cmd.Flags().GetDuration("timeout")
	if err != nil {
		timeout = callTimeout
	}
	return context.WithTimeout(cmd.Context(), timeout)
}

// terminal reports whether standard output is one, so that colours make sense.
func (a *app) terminal() bool {
	f, ok := a.stdout.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && a.env("NO_COLOR") == ""
}

// createIfAbsent makes a group of that id unless there is one.
func createIfAbsent(cmd *cobra.Command, c *client.Client, conv chat.ConvID, members []string) error {
	ctx, cancel := answer(cmd)
	defer cancel()
	var with []chat.Change
	for _, m := range members {
		with = append(with, chat.Change{User: chat.UserID(m), Role: chat.Writer})
	}
	_, err := c.Create(ctx, client.Conversation{Conv: conv, Policy: chat.AllHistory, Members: with})
	if code := chat.CodeOf(err); code == chat.Exists {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", conv, err)
	}
	return nil
}
