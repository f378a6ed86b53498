package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

func (a *app) sendCommand() *cobra.Command {
	var (
		to, id, contentType string
		create              bool
		members             []string
	)
	cmd := &cobra.Command{
		Use:   "send CONVERSATION [TEXT]",
		Short: "Append messages, for scripts",
		Long: `send appends TEXT, or without it every line of standard input as one message, in order. Each
acknowledged message prints its seq. With --to the first argument is left out: the message
goes to the direct conversation with that user.

With --id the message has a given UUID: however often the command is repeated, it is appended once.`,
		Args: cobra.MaximumNArgs(2),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m := client.Message{To: chat.UserID(to), ContentType: contentType}
		if to == "" {
			if len(args) == 0 {
				return errors.New("say which conversation, or --to USER")
			}
			m.Conv, args = chat.ConvID(args[0]), args[1:]
		}
		if len(args) > 1 {
			return errors.New("one text at most; put it into quotes")
		}
		if id != "" {
			parsed, err := chat.ParseClientID(id)
			if err != nil {
				return fmt.Errorf("--id: %w", err)
			}
			if len(args) == 0 {
				return errors.New("--id names one message: give its text")
			}
			m.ID = parsed
		}
		c, err := a.person(cmd)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if create && to == "" {
			if err := createIfAbsent(cmd, c, m.Conv, members); err != nil {
				return err
			}
		}
		if len(args) == 1 {
			m.Text = args[0]
			return a.sendOne(cmd, c, m)
		}
		return a.sendLines(cmd.Context(), c, m)
	}
	fs := cmd.Flags()
	fs.StringVar(&to, "to", "", "a user: the direct conversation with this one")
	fs.StringVar(&id, "id", "", "UUID of the message, version 7 at best")
	fs.StringVar(&contentType, "content-type", "", "what the text is (default text/plain)")
	fs.BoolVar(&create, "create", false, "create the conversation when there is none of that id")
	fs.StringSliceVar(&members, "member", nil, "with --create: further members")
	a.personFlags(cmd)
	return cmd
}

func (a *app) sendOne(cmd *cobra.Command, c *client.Client, m client.Message) error {
	ctx, cancel := answer(cmd)
	defer cancel()
	ack, err := c.Send(ctx, m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, ack.Seq)
	return err
}

// sendLines pipelines the lines of standard input; it stops at the first that
// is refused.
func (a *app) sendLines(ctx context.Context, c *client.Client, m client.Message) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // guards standard output
	var out sync.WaitGroup
	lines := newLines(a.stdin)
	n := 0
	for lines.Scan() {
		n++
		m.Text = lines.Text()
		if m.Text == "" {
			continue
		}
		line := n
		out.Add(1)
		err := c.SendAsync(ctx, m, func(ack chat.Ack, err error) {
			defer out.Done()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				_, err = fmt.Fprintln(a.stdout, ack.Seq)
			}
			if err != nil {
				cancel(fmt.Errorf("line %d: %w", line, err))
			}
		})
		if err != nil {
			out.Done()
			cancel(fmt.Errorf("line %d: %w", line, err))
			break
		}
	}
	out.Wait()
	return errors.Join(lines.Err(), context.Cause(ctx))
}

// newLines reads lines up to the longest text that is allowed.
func newLines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), chat.TextBytesMax+2)
	return s
}
