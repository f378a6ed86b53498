package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// talk runs one command line as a person and gives what it wrote.
func talk(t *testing.T, c *clustertest.Cluster, user, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs,
		environ: []string{"CHATNODE_ADDR=" + c.Nodes[0].URL(), "CHATNODE_AUTH_SECRET_FILE=" + c.SecretFile(), "CHATNODE_USER=" + user},
	}
	code = a.run(t.Context(), append(args, "--timeout", clustertest.Patience.String()))
	return out.String(), errs.String(), code
}

// The commands for people against a real node, in the order of a first try.
func TestClientCommands(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 1, Replicas: 1, Groups: 1})
	steps := []struct {
		name   string
		user   string
		stdin  string
		args   []string
		code   int
		stdout []string // in this order
		stderr string
	}{
		{name: "send creates", user: "ann", args: []string{"send", "room", "hello", "--create", "--member", "bob"}, stdout: []string{"2\n"}},
		{name: "send lines", user: "bob", stdin: "one\n\ntwo שלום\n", args: []string{"send", "room"}, stdout: []string{"3\n", "4\n"}},
		{name: "send to a user", user: "ann", args: []string{"send", "--to", "bob", "only you"}, stdout: []string{"2\n"}},
		{name: "tail", user: "ann", args: []string{"tail", "room", "-n", "2"}, stdout: []string{"bob: one", "bob: two שלום"}},
		{name: "tail from", user: "ann", args: []string{"tail", "room", "--from", "1", "--json"}, stdout: []string{`{"seq":1,`, `"type":"created"`, `{"seq":4,`}},
		{
			name: "chat", user: "ann", stdin: "from the terminal\n//slash\n/who\n/add cas\n/verify\n/nonsense\n/remove\n/help\n/quit\nnever sent\n",
			args:   []string{"chat", "room"},
			stdout: []string{"you are ann", "members: ann, bob", "unchanged", "/nonsense is no command", "say whom", "/quit"},
		},
		{name: "what chat left", user: "cas", args: []string{"tail", "room", "-n", "3"}, stdout: []string{"ann: from the terminal", "ann: /slash", "* ann added cas (writer)"}},
		{name: "stranger", user: "eve", args: []string{"tail", "room"}, code: exitFailure, stderr: "not_found"},
		{name: "no conversation", user: "ann", args: []string{"send"}, code: exitFailure, stderr: "say which conversation"},
		{name: "no UUID", user: "ann", args: []string{"send", "room", "x", "--id", "7"}, code: exitFailure, stderr: "--id"},
		{name: "refused line", user: "eve", stdin: "x\n", args: []string{"send", "room"}, code: exitFailure, stderr: "line 1"},
	}
	for _, s := range steps { // in order: each builds on those before
		stdout, stderr, code := talk(t, c, s.user, s.stdin, s.args...)
		if code != s.code || !strings.Contains(stderr, s.stderr) {
			t.Fatalf("%s: exit code %d, want %d; stderr %q, want %q in it", s.name, code, s.code, stderr, s.stderr)
		}
		rest := stdout
		for _, want := range s.stdout {
			_, after, ok := strings.Cut(rest, want)
			if !ok {
				t.Fatalf("%s: no %q (in this order) in:\n%s", s.name, want, stdout)
			}
			rest = after
		}
		if strings.Contains(stdout, "never sent") {
			t.Errorf("%s: a line after /quit was sent", s.name)
		}
	}
	followed(t, c)
}

// followed lets tail --follow print what is appended while it runs.
func followed(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	r, w := io.Pipe()
	a := &app{
		stdin: strings.NewReader(""), stdout: w, stderr: io.Discard,
		environ: []string{"CHATNODE_ADDR=" + c.Nodes[0].URL(), "CHATNODE_AUTH_SECRET_FILE=" + c.SecretFile(), "CHATNODE_USER=ann"},
	}
	ended := make(chan int, 1)
	go func() { ended <- a.run(t.Context(), []string{"tail", "room", "-f", "-n", "1"}) }()
	lines := newLines(r)
	if !lines.Scan() { // it follows from here on
		t.Fatal("tail --follow printed nothing")
	}
	if _, stderr, code := talk(t, c, "bob", "", "send", "room", "live"); code != exitOK {
		t.Fatalf("send: %s", stderr)
	}
	if !lines.Scan() || !strings.Contains(lines.Text(), "bob: live") {
		t.Errorf("tail --follow printed %q", lines.Text())
	}
	_ = r.Close() // as when the reader of a pipe goes away
	if _, stderr, code := talk(t, c, "bob", "", "send", "room", "once more"); code != exitOK {
		t.Fatalf("send: %s", stderr)
	}
	if code := <-ended; code != exitFailure {
		t.Errorf("tail --follow ended with %d after its output broke", code)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\tb\nc":      "a\tb\nc",
		"\x1b[31mred":  "␛[31mred",
		"bell\a\x7f":   "bell␇\ufffd",
		"c1\u009bmore": "c1\ufffdmore",
		"你好 🙂 שלום":    "你好 🙂 שלום",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
	unknown := chat.Entry{Sender: "ann", Type: 99}
	if got := describe(&unknown); !strings.Contains(got, "does not know") {
		t.Errorf("an unknown entry is %q", got)
	}
}

// A text of several lines must not look like entries of others.
func TestTextsDoNotPassForEntries(t *testing.T) {
	var out strings.Builder
	p := printer{w: &out}
	forged := "     8 10:00:00 bob: I agree"
	e := chat.Entry{Seq: 7, Sender: "eve", Type: chat.Message, Body: chat.Body{Text: "hi\n" + forged + "\r\n" + forged + "\n"}}
	if err := p.entry(&e); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "     7 ") {
		t.Fatalf("printed %q", out.String())
	}
	for _, line := range lines[1:] {
		if !strings.HasPrefix(line, continued) {
			t.Errorf("%q begins like an entry", line)
		}
	}
}
