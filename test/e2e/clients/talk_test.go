package clients

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
	"github.com/chatnode/chatnode/wire"
)

//go:embed testdata/talk.js
var talkJS string

// Each of three programs says so much; the conversation begins with one entry.
const (
	sayEach  = 40
	sayTotal = 1 + 3*sayEach
)

// A browser, a Node program and the SDK talk over three different nodes at
// once and see the same conversation.
func TestThreeClientsSeeOneOrder(t *testing.T) {
	browser := chromium(t)
	ws := nodeWS(t)
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	sdk := dial(t, c, "ann", c.Nodes[2].URL())
	if _, err := sdk.Create(within(t), client.Conversation{
		Conv: "talk", Title: "three clients", Policy: chat.AllHistory,
		Members: []chat.Change{{User: "ben", Role: chat.Writer}, {User: "noa", Role: chat.Writer}},
	}); err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		who  string
		seen []string
		err  error
	}
	done := make(chan outcome, 3)
	go func() {
		seen, err := browse(within(t), browser, c.Nodes[0].URL(), c.Token(t, "ben"))
		done <- outcome{"browser", seen, err}
	}()
	go func() {
		seen, err := runNode(within(t), ws, c.Nodes[1].URL(), c.Token(t, "noa"))
		done <- outcome{"node", seen, err}
	}()
	go func() {
		seen, err := talkSDK(within(t), sdk)
		done <- outcome{"sdk", seen, err}
	}()
	var got []outcome
	for range 3 {
		o := <-done
		if o.err != nil {
			t.Fatalf("%s: %v", o.who, o.err)
		}
		got = append(got, o)
	}
	for _, o := range got[1:] {
		if d := cmp.Diff(got[0].seen, o.seen); d != "" {
			t.Errorf("%s and %s saw different conversations:\n%s", got[0].who, o.who, d)
		}
	}
	for i, line := range got[0].seen {
		if want := fmt.Sprintf("%d ", i+1); !strings.HasPrefix(line, want) {
			t.Fatalf("entry %d is %q", i+1, line)
		}
	}
	for _, who := range []string{"page", "node", "sdk"} {
		ownOrder(t, got[0].seen, who)
	}
}

// ownOrder checks that one program's messages stand in the order it said them.
func ownOrder(t *testing.T, seen []string, who string) {
	t.Helper()
	n := 0
	for _, line := range seen {
		if _, text, ok := strings.Cut(line, " message "); ok && strings.HasPrefix(text, who+" ") {
			if !strings.HasPrefix(text, fmt.Sprintf("%s %d ", who, n)) {
				t.Errorf("message %d of %s is %q", n, who, text)
			}
			n++
		}
	}
	if n != sayEach {
		t.Errorf("%d messages of %s, want %d", n, who, sayEach)
	}
}

func socketURL(base string) string {
	return "ws" + strings.TrimPrefix(base, "http") + "/v1/ws"
}

func call(base, token, device string) string {
	args, _ := json.Marshal([]any{socketURL(base), token, device, "talk", sayEach, sayTotal, clustertest.Patience.Milliseconds()}) // strings and numbers only
	return strings.Trim(string(args), "[]")
}

// talkSDK says and sees what the programs in JavaScript do.
func talkSDK(ctx context.Context, c *client.Client) ([]string, error) {
	sub, err := c.Subscribe("talk", 1)
	if err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() {
		for i := range sayEach {
			if _, err := c.Send(ctx, client.Message{Conv: "talk", Text: fmt.Sprintf("sdk %d 你好 🙂 שלום", i)}); err != nil {
				said <- err
				return
			}
		}
		said <- nil
	}()
	var seen []string
	for e, err := range sub.All(ctx) {
		if err != nil {
			return nil, err
		}
		seen = append(seen, fmt.Sprintf("%d %s %s %s", e.Seq, e.Sender, wire.EntryTypeName(e.Type), e.Body.Text))
		if len(seen) == sayTotal {
			return seen, <-said
		}
	}
	return seen, ctx.Err()
}

// chromium starts the browser, once it is there.
func chromium(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		absent(t, "Chromium")
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(clustertest.Patience),
	}
	for _, f := range []string{"headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser's end
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	return ctx
}

// browse opens a page of the node, so that its Origin is the node's, and talks
// from there.
func browse(ctx context.Context, browser context.Context, base, token string) ([]string, error) {
	type outcome struct {
		seen []string
		err  error
	}
	run := make(chan outcome, 1)
	go func() {
		if err := chromedp.Do(browser, chromedp.Navigate(base+"/healthz")); err != nil {
			run <- outcome{err: err}
			return
		}
		script := talkJS + "\ntalk(WebSocket, " + call(base, token, "page") + ")"
		seen, err := chromedp.Run(browser, chromedp.Evaluate[[]string](script, chromedp.EvalAwaitPromise))
		run <- outcome{seen, err}
	}()
	select {
	case o := <-run:
		return o.seen, o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("browser: %w", ctx.Err())
	}
}

// nodeWS installs package ws from npm into a directory of the test.
func nodeWS(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			absent(t, tool)
		}
	}
	dir := t.TempDir()
	for attempt := 1; ; attempt++ { // the registry is elsewhere
		cmd := exec.CommandContext(within(t), "npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--no-save", "--prefix", dir, "ws@8")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		if attempt == 3 {
			t.Fatalf("npm install ws: %v\n%s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "talk.js"), []byte(talkJS), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func runNode(ctx context.Context, dir, base, token string) ([]string, error) {
	script := `const { WebSocket } = require("ws"); const talk = require("./talk.js");
talk(WebSocket, ` + call(base, token, "node") + `).then((seen) => console.log(JSON.stringify(seen)),
  (err) => { console.error(err.message); process.exit(1); });`
	cmd := exec.CommandContext(ctx, "node", "-e", script)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("node: %w: %s", err, stderr.String())
	}
	var seen []string
	err := json.Unmarshal(stdout.Bytes(), &seen)
	return seen, err
}
