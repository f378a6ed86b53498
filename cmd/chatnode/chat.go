package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
)

const chatHelp = `A line is a message. Commands:
  /who             members and head of the conversation
  /add USER…       add members        /remove USER…   remove members
  /verify          check that nothing of the history was changed since the start
  /help            this text          /quit           leave (or Ctrl-D)
`

func (a *app) chatCommand() *cobra.Command {
	var (
		members []string
		count   int
	)
	cmd := &cobra.Command{
		Use:   "chat CONVERSATION",
		Short: "Talk in a conversation from the terminal",
		Long:  "chat shows a conversation as it goes on and sends what you type. The conversation is created when\nthere is none of that id.\n\n" + chatHelp,
		Args:  cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.person(cmd)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		conv := chat.ConvID(args[0])
		if err := createIfAbsent(cmd, c, conv, members); err != nil {
			return err
		}
		page, err := newest(cmd, c, conv, count)
		if err != nil {
			return err
		}
		s := &chatting{app: a, cmd: cmd, c: c, conv: conv, p: printer{w: a.stdout, colour: a.terminal()}}
		return s.run(cmd.Context(), page)
	}
	cmd.Flags().StringSliceVar(&members, "member", nil, "further members, when the conversation is created")
	cmd.Flags().IntVarP(&count, "lines", "n", 20, "newest entries to start with")
	a.personFlags(cmd)
	return cmd
}

// chatting is one person at a terminal.
type chatting struct {
	app  *app
	cmd  *cobra.Command
	c    *client.Client
	conv chat.ConvID
	root client.Root // what the history was when the chat began

	mu sync.Mutex // guards p: entries come while the person types
	p  printer
}

var errQuit = errors.New("quit")

// run shows entries and sends lines until the person leaves or the
// subscription ends.
func (s *chatting) run(ctx context.Context, page client.Page) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	from := page.Head + 1
	if len(page.Entries) > 0 {
		from = page.Entries[0].Seq
	}
	if info, err := s.c.Info(ctx, s.conv); err == nil {
		s.root = client.Root{Size: info.Head, Hash: info.Root}
	}
	sub, err := s.c.Subscribe(s.conv, from)
	if err != nil {
		return err
	}
	s.say("you are %s on %s; /help for help", s.c.Welcome().User, s.c.Welcome().Node)
	ended := make(chan error, 1)
	go func() { ended <- s.show(ctx, sub) }()
	typed := make(chan string)
	// A read of the terminal cannot be interrupted: this goroutine ends with
	// the line that it waits for, or with the process.
	go s.read(ctx, typed)
	for {
		select {
		case err := <-ended:
			return err
		case line, ok := <-typed:
			if !ok {
				return nil
			}
			if err := s.line(strings.TrimRight(line, "\r")); errors.Is(err, errQuit) {
				return nil
			} else if err != nil {
				s.say("! %v", err)
			}
		}
	}
}

func (s *chatting) read(ctx context.Context, typed chan<- string) {
	defer close(typed)
	lines := newLines(s.app.stdin)
	for lines.Scan() {
		select {
		case typed <- lines.Text():
		case <-ctx.Done():
			return
		}
	}
}

func (s *chatting) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.app.stdout, format+"\n", args...)
}

func (s *chatting) show(ctx context.Context, sub *client.Subscription) error {
	for e, err := range sub.All(ctx) {
		if ctx.Err() != nil {
			return nil
		}
		if chat.CodeOf(err) == chat.NotFound {
			return errors.New("you are no member of this conversation any more")
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		err = s.p.entry(&e)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// line does what was typed.
func (s *chatting) line(line string) error {
	ctx, cancel := answer(s.cmd)
	defer cancel()
	name, rest, _ := strings.Cut(line, " ")
	switch {
	case line == "":
		return nil
	case name == "/quit":
		return errQuit
	case name == "/help":
		s.say("%s", strings.TrimSpace(chatHelp))
		return nil
	case name == "/who":
		return s.who(ctx)
	case name == "/add":
		return s.change(ctx, strings.Fields(rest), chat.Writer)
	case name == "/remove":
		return s.change(ctx, strings.Fields(rest), chat.NoRole)
	case name == "/verify":
		return s.verify(ctx)
	case strings.HasPrefix(line, "/") && !strings.HasPrefix(line, "//"):
		return fmt.Errorf("%s is no command; begin with // to send it as it is", name)
	case strings.HasPrefix(line, "//"):
		line = line[1:]
	}
	_, err := s.c.Send(ctx, client.Message{Conv: s.conv, Text: line})
	return err
}

func (s *chatting) who(ctx context.Context) error {
	info, err := s.c.Info(ctx, s.conv)
	if err != nil {
		return err
	}
	var names []string
	for _, m := range info.Members {
		names = append(names, string(m.User))
	}
	s.say("%s: %d entries, %d messages; members: %s", s.conv, info.Head, info.MsgNo, strings.Join(names, ", "))
	return nil
}

func (s *chatting) change(ctx context.Context, users []string, role chat.Role) error {
	var changes []chat.Change
	for _, u := range users {
		changes = append(changes, chat.Change{User: chat.UserID(u), Role: role})
	}
	if len(changes) == 0 {
		return errors.New("say whom")
	}
	_, err := s.c.ChangeMembers(ctx, s.conv, changes...)
	return err
}

func (s *chatting) verify(ctx context.Context) error {
	if s.root.Size == 0 {
		return errors.New("the history at the start is not known")
	}
	now, err := s.c.VerifyGrowth(ctx, s.conv, s.root)
	if err != nil {
		return err
	}
	s.say("the first %d entries are unchanged within the present %d; root %x…", s.root.Size, now.Size, now.Hash[:8])
	return nil
}
