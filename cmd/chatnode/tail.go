package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/wire"
)

func (a *app) tailCommand() *cobra.Command {
	var (
		from           uint64
		count          int
		follow, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "tail CONVERSATION",
		Short: "Print the newest entries, and with --follow those to come",
		Args:  cobra.ExactArgs(1),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.person(cmd)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		p := printer{w: a.stdout, json: asJSON}
		conv := chat.ConvID(args[0])
		start := chat.Seq(from)
		if start == 0 {
			page, err := newest(cmd, c, conv, count)
			if err != nil {
				return err
			}
			if !follow {
				return p.all(page.Entries)
			}
			start = page.Head + 1
			if len(page.Entries) > 0 {
				start = page.Entries[0].Seq
			}
		}
		if follow {
			return p.follow(cmd.Context(), c, conv, start)
		}
		var failed error
		err = c.ReadAll(cmd.Context(), conv, start-1, func(e chat.Entry) bool {
			failed = p.entry(&e)
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		return err
	}
	fs := cmd.Flags()
	fs.Uint64Var(&from, "from", 0, "start at this seq instead of near the end")
	fs.IntVarP(&count, "lines", "n", 10, "newest entries to start with")
	fs.BoolVarP(&follow, "follow", "f", false, "go on with what is appended")
	fs.BoolVar(&asJSON, "json", false, "print entries as JSON lines")
	a.personFlags(cmd)
	return cmd
}

func newest(cmd *cobra.Command, c *client.Client, conv chat.ConvID, count int) (client.Page, error) {
	ctx, cancel := answer(cmd)
	defer cancel()
	return c.History(ctx, client.Query{Conv: conv, Limit: max(1, min(count, chat.PageEntriesMax))})
}

// printer writes entries, for people or as JSON.
type printer struct {
	w      io.Writer
	json   bool
	colour bool
}

func (p *printer) follow(ctx context.Context, c *client.Client, conv chat.ConvID, from chat.Seq) error {
	s, err := c.Subscribe(conv, from)
	if err != nil {
		return err
	}
	for e, err := range s.All(ctx) {
		if ctx.Err() != nil {
			return nil // Ctrl-C is how one leaves
		}
		if err == nil {
			err = p.entry(&e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) all(entries []chat.Entry) error {
	for i := range entries {
		if err := p.entry(&entries[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) entry(e *chat.Entry) error {
	if p.json {
		_, err := p.w.Write(append(wire.AppendEntry(nil, e), '\n'))
		return err
	}
	at := time.UnixMilli(e.TimeMS).Format("15:04:05")
	_, err := fmt.Fprintf(p.w, "%6d %s %s\n", e.Seq, p.dim(at), describe(e))
	return err
}

func (p *printer) dim(s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

// continued begins the further lines of a text, which would else pass for entries of
// whomever their writer likes.
const continued = "                | "

// describe says in words what an entry does.
func describe(e *chat.Entry) string {
	switch e.Type {
	case chat.Message:
		return string(e.Sender) + ": " + strings.ReplaceAll(printable(e.Body.Text), "\n", "\n"+continued)
	case chat.Created:
		return fmt.Sprintf("* %s created %q", e.Sender, printable(e.Body.Title))
	case chat.MemberAdded, chat.MemberRemoved, chat.RoleChanged:
		what := map[chat.EntryType]string{chat.MemberAdded: "added", chat.MemberRemoved: "removed", chat.RoleChanged: "changed"}[e.Type]
		var who []string
		for _, ch := range e.Body.Changes {
			if ch.Role == chat.NoRole {
				who = append(who, string(ch.User))
			} else {
				who = append(who, fmt.Sprintf("%s (%s)", ch.User, wire.RoleName(ch.Role)))
			}
		}
		return fmt.Sprintf("* %s %s %s", e.Sender, what, strings.Join(who, ", "))
	default:
		return fmt.Sprintf("* %s: an entry of a type that this program does not know", e.Sender)
	}
}

// printable keeps what others wrote from steering the terminal: control
// characters, but for tabs and ends of lines, become visible.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20:
			return 0x2400 + r // the picture of that control character
		case r >= 0x7f && r < 0xa0:
			return 0xfffd
		}
		return r
	}, s)
}
