package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/chatnode/chatnode/api"
	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/wire"
)

// Limits of the control routes.
const (
	adminBodyMax = 64 << 10
	askTimeout   = 2 * time.Second // for one node's status
	askMax       = 16              // nodes asked at once
	moveTimeout  = 15 * time.Second
)

// clusterView is what the control routes need of the running node.
type clusterView interface {
	Map() *shard.Map
	Self() shard.NodeID
	Replicas() int // wanted of each group
	Status(ctx context.Context, of shard.NodeID) (shard.NodeStatus, error)
	Transfer(ctx context.Context, g shard.GroupID, to shard.NodeID) error
	Remove(ctx context.Context, id shard.NodeID) error
}

// admin serves the control routes under /v1/admin/. A token with the admin
// scope opens them.
type admin struct {
	view     clusterView
	verifier *auth.Verifier
	log      *slog.Logger
}

func (a *admin) routes() []api.Route {
	post := []string{http.MethodPost}
	return []api.Route{
		{Methods: api.Reading(), Path: "/v1/admin/status", Handler: a.guard(a.status)},
		{Methods: post, Path: "/v1/admin/transfer", Handler: a.guard(a.transfer)},
		{Methods: post, Path: "/v1/admin/remove", Handler: a.guard(a.remove)},
	}
}

// guard lets only admins pass and turns an error into its answer.
func (a *admin) guard(serve func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := a.verifier.Verify(auth.Bearer(r.Header.Get("Authorization")))
		if err == nil && !p.Admin {
			err = chat.E("control", chat.Forbidden, "the token has no admin scope (chatnode token --admin makes one that has)", nil)
		}
		if err == nil {
			r.Body = http.MaxBytesReader(w, r.Body, adminBodyMax)
			err = serve(w, r)
		}
		if err != nil {
			a.fail(w, err)
		}
	}
}

func (a *admin) fail(w http.ResponseWriter, err error) {
	p := wire.ProblemOf(err)
	if p.Code == chat.Internal {
		a.log.Error("control request failed", "err", err, "request_id", w.Header().Get("X-Request-Id"))
	}
	wire.WriteProblem(w, p)
}

// answer sends what v is as JSON.
func (a *admin) answer(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return chat.E("control", chat.Internal, "", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // fails only when the client is gone
	return nil
}

func (a *admin) status(w http.ResponseWriter, r *http.Request) error {
	m := a.view.Map()
	if m == nil {
		return chat.E("status", chat.Unavailable, "this node does not know the cluster yet", nil)
	}
	report := merge(m, a.view.Self(), a.view.Replicas(), a.ask(r.Context(), m))
	return a.answer(w, http.StatusOK, report)
}

// ask asks all nodes of the map at once, a bounded number at a time.
func (a *admin) ask(ctx context.Context, m *shard.Map) map[shard.NodeID]answer {
	var mu sync.Mutex // guards answers
	answers := make(map[shard.NodeID]answer, len(m.Nodes))
	places := make(chan struct{}, askMax)
	var wg sync.WaitGroup
	for i := range m.Nodes {
		id := m.Nodes[i].ID
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			one, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			s, err := a.view.Status(one, id)
			mu.Lock()
			defer mu.Unlock()
			answers[id] = answer{status: s, err: err}
		})
	}
	wg.Wait()
	return answers
}

func (a *admin) transfer(w http.ResponseWriter, r *http.Request) error {
	var req TransferRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return chat.E("transfer", chat.Invalid, `want {"group": NUMBER, "to": "NODE"}`, err)
	}
	m := a.view.Map()
	if m == nil {
		return chat.E("transfer", chat.Unavailable, "this node does not know the cluster yet", nil)
	}
	group, ok := m.Group(req.Group)
	if !ok {
		return chat.E("transfer", chat.NotFound, "no such group", nil)
	}
	if !group.Has(req.To) {
		return chat.E("transfer", chat.NotMember, "that node holds no replica of the group", nil)
	}
	ctx, cancel := context.WithTimeout(r.Context(), moveTimeout)
	defer cancel()
	if err := a.view.Transfer(ctx, req.Group, req.To); err != nil {
		return err
	}
	return a.answer(w, http.StatusOK, req)
}

func (a *admin) remove(w http.ResponseWriter, r *http.Request) error {
	var req RemoveRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Node == "" {
		return chat.E("remove", chat.Invalid, `want {"node": "NODE"}`, err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), moveTimeout)
	defer cancel()
	if err := a.view.Remove(ctx, req.Node); err != nil {
		return err
	}
	return a.answer(w, http.StatusAccepted, req)
}
