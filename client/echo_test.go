package client_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// newEcho serves acks as fast as it can and nothing else, for benchmarks of the
// client alone: it reads refs without a full decode.
func newEcho(tb testing.TB) (*httptest.Server, []string) {
	tb.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		var seq chat.Seq
		var out wire.Frames
		keep := make([]byte, 0, 1<<18)
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			out.Reset(keep)
			dec := wire.NewDecoder(string(data))
			var req wire.Request
			for dec.Next() {
				if dec.Request(&req) != nil {
					return
				}
				if req.Type == wire.Hello {
					out.Commit(wire.AppendReply(out.Begin(), &wire.Reply{Type: wire.Welcome, Ref: req.Ref, Hello: wire.WelcomeBody{User: "ann", Limits: wire.DefaultLimits()}}))
					continue
				}
				seq++
				out.Commit(wire.AppendAck(out.Begin(), req.Ref, "", &chat.Ack{Seq: seq, MsgNo: chat.MsgNo(seq), TimeMS: 1_760_000_000_000}))
			}
			if ws.WriteMessage(websocket.TextMessage, out.Bytes()) != nil {
				return
			}
		}
	}))
	tb.Cleanup(srv.Close)
	return srv, []string{srv.URL}
}
