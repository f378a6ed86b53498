package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/test/e2e/clustertest"
	"github.com/chatnode/chatnode/wire"
)

// line is one of a dialogue.
type line struct {
	Sender string
	Text   string
}

// The size of the imported text: scenes become conversations.
const (
	scenes     = 24
	sceneLines = 220
)

// What the dialogues are made of: words of many scripts, with whatever a chat
// has to carry besides letters.
var (
	people  = []string{"mei", "yusuf", "noor", "ivo", "zoé", "olu", "kaito", "rivka", "ana", "jón", "priya", "tam"}
	opening = []string{
		"Guten Morgen,", "早上好，", "صباح الخير،", "בוקר טוב,", "Доброе утро,", "नमस्ते,", "おはよう、", "좋은 아침,", "Καλημέρα,",
		"สวัสดี", "E kaabo,", "¡Oye!", "Ça va?", "Góðan dag,", "“Well,”", "…", "Γειά σου·", "你們好！",
	}
	middle = []string{
		"the tide turned at six", "橋の下で待っています", "我把钥匙放在门口的石头下面", "القطار يتأخر عشر دقائق", "הרכבת מאחרת בעשר דקות",
		"поезд опаздывает на десять минут", "ट्रेन दस मिनट देर से है", "기차가 십 분 늦는대", "το τρένο αργεί δέκα λεπτά", "รถไฟมาช้าสิบนาที",
		"café, cafe\u0301 and cafe\u0301\u0302", "a\u0300\u0316\u0327 stacks its marks", "naïve coöperation", "\u202bمن اليمين\u202c then left",
		"x² + y² = z²", "tab\there, quote \"here\", back\\slash", "line one\nline two", "<b>not markup</b> & co", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
		"zero\u200bwidth and soft\u00adhyphen", "ﬁne ligatures", "İstanbul ıssız", "ẞ and ß", "null is \u2400, not a byte", "NaN, -0, 1e999",
	}
	ending = []string{
		"🙂", "👩🏽‍🚀👨‍👩‍👧‍👦", "🇺🇳🇯🇵", "🏳️‍🌈", "…?", "!!1", "（笑）", "؟", "—", "❤️‍🔥", "\u2066ok\u2069", "¯\\_(ツ)_/¯", ".", "；", "🧑‍🤝‍🧑", "ｗｗｗ",
	}
)

// write makes the same scenes from the same seed.
func write(seed uint64) [][]line {
	rnd := rand.New(rand.NewPCG(seed, 7))
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	all := make([][]line, scenes)
	for s := range all {
		cast := rnd.Perm(len(people))[:3+rnd.IntN(6)]
		for i := range sceneLines {
			parts := []string{pick(opening)}
			for range 1 + rnd.IntN(4) {
				parts = append(parts, pick(middle))
			}
			parts = append(parts, pick(ending))
			text := strings.Join(parts, " ")
			if i%50 == 49 {
				text = strings.Repeat(text+"\n", 40) // a speech
			}
			all[s] = append(all[s], line{Sender: ascii(people[cast[rnd.IntN(len(cast))]]), Text: text})
		}
	}
	return all
}

// ascii gives a user id for a name.
func ascii(name string) string { return strings.NewReplacer("é", "e", "ó", "o").Replace(name) }

// A large text of many scripts and senders, imported as conversations, is read
// back byte for byte from every node, by the SDK fresh and stale, and by HTTP.
func TestDialogueReadBackFromEveryNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Nodes: 3})
	text := write(20)
	speakers := make(map[string]*client.Client)
	var members []chat.Change
	for i, name := range people {
		name = ascii(name)
		speakers[name] = dial(t, c, name, c.Nodes[i%3].URL())
		members = append(members, chat.Change{User: chat.UserID(name), Role: chat.Writer})
	}
	var wg sync.WaitGroup
	for s := range text {
		wg.Go(func() { tell(t, speakers, members, scene(s), text[s]) })
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for i, n := range c.Nodes {
		reader := dial(t, c, "mei", n.URL())
		for s := range text {
			readBack(t, reader, scene(s), text[s])
		}
		overHTTP(t, n.URL(), c.Token(t, "mei"), scene(i), text[i])
	}
}

func scene(i int) chat.ConvID { return chat.ConvID(fmt.Sprintf("scene-%02d", i)) }

// tell says a scene line by line: each waits for the one before, since another
// speaker says it.
func tell(t *testing.T, speakers map[string]*client.Client, members []chat.Change, conv chat.ConvID, lines []line) {
	t.Helper()
	first := speakers["mei"]
	var others []chat.Change
	for _, m := range members {
		if m.User != "mei" {
			others = append(others, m)
		}
	}
	if _, err := first.Create(t.Context(), client.Conversation{Conv: conv, Title: string(conv), Policy: chat.AllHistory, Members: others}); err != nil {
		t.Errorf("%s: %v", conv, err)
		return
	}
	for i, l := range lines {
		ack, err := speakers[l.Sender].Send(t.Context(), client.Message{Conv: conv, Text: l.Text})
		if err != nil || int(ack.Seq) != i+2 {
			t.Errorf("%s line %d: seq %d, %v", conv, i, ack.Seq, err)
			return
		}
	}
}

// readBack compares a conversation with its text, and its tree with the root
// that the node states.
func readBack(t *testing.T, c *client.Client, conv chat.ConvID, want []line) {
	t.Helper()
	var got []line
	tree := client.NewTree(conv)
	var fresh []chat.Entry
	err := c.ReadAll(within(t), conv, 0, func(e chat.Entry) bool {
		if err := tree.Add(&e); err != nil {
			t.Errorf("%s entry %d: %v", conv, e.Seq, err)
		}
		if e.Type == chat.Message {
			got = append(got, line{string(e.Sender), e.Body.Text})
		}
		fresh = append(fresh, e)
		return true
	})
	if err != nil {
		t.Fatalf("%s: %v", conv, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s is not what was said:\n%s", conv, d)
	}
	info, err := c.Info(within(t), conv)
	if err != nil {
		t.Fatal(err)
	}
	if root := (client.Root{Size: info.Head, Hash: info.Root}); tree.Root() != root {
		t.Errorf("%s: the tree of what was read is %v, the node's %v", conv, tree.Root(), root)
	}
	stale, err := c.History(within(t), client.Query{Conv: conv, Limit: 50, Level: wire.Stale, MinSeq: info.Head})
	if err != nil {
		t.Fatalf("%s, stale: %v", conv, err)
	}
	if d := cmp.Diff(fresh[len(fresh)-50:], stale.Entries); d != "" {
		t.Errorf("%s, stale read differs:\n%s", conv, d)
	}
}

// overHTTP reads the same by plain requests.
func overHTTP(t *testing.T, base, token string, conv chat.ConvID, want []line) {
	t.Helper()
	var got []line
	httpClient := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for after := uint64(0); ; {
		url := fmt.Sprintf("%s/v1/conversations/%s/entries?after=%d&limit=200", base, conv, after)
		req, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %.200s %v", url, resp.StatusCode, body, err)
		}
		var page struct {
			More    bool
			Entries []struct {
				Seq                uint64
				Sender, Type, Text string
			}
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			after = e.Seq
			if e.Type == "message" {
				got = append(got, line{e.Sender, e.Text})
			}
		}
		if !page.More {
			break
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s over HTTP is not what was said:\n%s", conv, d)
	}
}

// The text itself: large, valid, many-voiced, and the same from the same seed.
func TestDialogueText(t *testing.T) {
	a, b := write(20), write(20)
	if d := cmp.Diff(a, b); d != "" {
		t.Fatalf("two writings differ:\n%s", d)
	}
	lines, bytes := 0, 0
	voices := make(map[string]bool)
	for _, s := range a {
		for _, l := range s {
			lines, bytes = lines+1, bytes+len(l.Text)
			voices[l.Sender] = true
			if l.Text != strings.ToValidUTF8(l.Text, "") {
				t.Fatalf("%q is not UTF-8", l.Text)
			}
		}
	}
	if lines < 5000 || len(voices) != len(people) {
		t.Errorf("%d lines by %d voices", lines, len(voices))
	}
	t.Logf("%d lines, %d bytes", lines, bytes)
}
