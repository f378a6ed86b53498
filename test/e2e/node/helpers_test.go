package nodetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

// room speaks plain HTTP to the nodes of a cluster, as a bot would.
type room struct {
	t     *testing.T
	c     *clustertest.Cluster
	http  *http.Client
	token map[string]string
}

type ack struct {
	Seq   uint64 `json:"seq"`
	MsgNo uint64 `json:"msg_no"`
	Time  int64  `json:"time"`
	Root  string `json:"root"`
	Dup   bool   `json:"dup"`
}

type entry struct {
	Seq    uint64 `json:"seq"`
	MsgNo  uint64 `json:"msg_no"`
	Sender string `json:"sender"`
	ID     string `json:"id"`
	Type   string `json:"type"`
	Text   string `json:"text"`
}

func newRoom(t *testing.T, c *clustertest.Cluster) *room {
	t.Helper()
	return &room{t: t, c: c, token: make(map[string]string), http: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

func (r *room) tokenOf(user string) string {
	if r.token[user] == "" {
		r.token[user] = r.c.Token(r.t, user)
	}
	return r.token[user]
}

// try makes one request and gives the status and the body.
func (r *room) try(method string, n *clustertest.Node, path, user, key string, body any) (int, []byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, n.URL()+path, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.tokenOf(user))
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	return resp.StatusCode, out, err
}

// must repeats a request with the same key until it is taken: a node may be
// down or electing.
func (r *room) must(method string, n func(try int) *clustertest.Node, path, user string, body, into any) {
	r.t.Helper()
	key := ""
	if method == http.MethodPost {
		id, err := uuid.NewV7()
		if err != nil {
			r.t.Fatal(err)
		}
		key = id.String()
	}
	try := 0
	clustertest.Until(r.t, method+" "+path, func() error {
		status, out, err := r.try(method, n(try), path, user, key, body)
		try++
		if err != nil {
			return err
		}
		if status/100 != 2 {
			if status/100 == 4 && status != http.StatusTooManyRequests && status != http.StatusConflict {
				r.t.Fatalf("%s %s: %d: %s", method, path, status, out)
			}
			return fmt.Errorf("status %d: %s", status, out)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(out, into)
	})
}

func on(n *clustertest.Node) func(int) *clustertest.Node {
	return func(int) *clustertest.Node { return n }
}

// running goes round the nodes that run.
func (r *room) running(try int) *clustertest.Node {
	for i := range r.c.Nodes {
		if n := r.c.Nodes[(try+i)%len(r.c.Nodes)]; n.PID() != 0 {
			return n
		}
	}
	r.t.Fatal("no node runs")
	return nil
}

func (r *room) create(conv, owner string, members ...string) {
	r.t.Helper()
	type member struct {
		User string `json:"user"`
		Role string `json:"role"`
	}
	body := map[string]any{"conv": conv, "kind": "group", "policy": "all"}
	var all []member
	for _, m := range members {
		all = append(all, member{m, "writer"})
	}
	if len(all) > 0 {
		body["members"] = all
	}
	r.must(http.MethodPost, r.running, "/v1/conversations", owner, body, nil)
}

func (r *room) send(n func(int) *clustertest.Node, conv, user, text string) ack {
	r.t.Helper()
	var a ack
	r.must(http.MethodPost, n, "/v1/conversations/"+url.PathEscape(conv)+"/messages", user, map[string]any{"text": text}, &a)
	return a
}

// read gives all entries of a conversation as a node has them.
func (r *room) read(n *clustertest.Node, conv, user string) []entry {
	r.t.Helper()
	var all []entry
	for {
		var page struct {
			Head    uint64  `json:"head"`
			Entries []entry `json:"entries"`
		}
		after := uint64(0)
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		r.must(http.MethodGet, on(n), fmt.Sprintf("/v1/conversations/%s/entries?after=%d&limit=200", url.PathEscape(conv), after), user, nil, &page)
		all = append(all, page.Entries...)
		if len(page.Entries) == 0 || all[len(all)-1].Seq >= page.Head {
			return all
		}
	}
}

// texts gives the messages of a conversation in order, and fails when the seqs
// are not dense.
func (r *room) texts(n *clustertest.Node, conv, user string) []string {
	r.t.Helper()
	var texts []string
	for i, e := range r.read(n, conv, user) {
		if e.Seq != uint64(i+1) {
			r.t.Fatalf("%s on %s: entry %d has seq %d", conv, n.ID, i+1, e.Seq)
		}
		if e.Type == "message" {
			texts = append(texts, e.Text)
		}
	}
	return texts
}
