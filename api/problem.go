package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// problem is the document of RFC 9457.
type problem struct {
	Type         string    `json:"type"`
	Title        string    `json:"title"`
	Status       int       `json:"status"`
	Code         chat.Code `json:"code"`
	Detail       string    `json:"detail,omitempty"`
	RequestID    string    `json:"request_id"`
	RetryAfterMS int64     `json:"retry_after_ms,omitempty"`
}

const mimeProblem = "application/problem+json"

// fail is the only place where an error becomes an answer. The cause goes to
// the log, never to the caller.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := problemOf(err)
	p.RequestID = c.Response().Header().Get(echo.HeaderXRequestID)
	if p.Code == chat.Internal {
		s.deps.Logger.ErrorContext(c.Request().Context(), "request failed", "err", err, "path", c.Path(), "request_id", p.RequestID)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "no-store")
	if p.RetryAfterMS > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.FormatInt((p.RetryAfterMS+999)/1000, 10))
	}
	if p.Code == chat.Unauthenticated {
		h.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	b, merr := json.Marshal(p)
	if merr != nil {
		b = []byte(`{"code":"internal"}`) // strings and numbers always encode
	}
	_ = c.Blob(p.Status, mimeProblem, b) // fails only when the caller is gone
}

func problemOf(err error) problem {
	if own, ok := errors.AsType[*echo.HTTPError](err); ok {
		return routeProblem(own.Code)
	}
	code, msg, retry := wire.Explain(err)
	f := wire.FaultOf(code)
	return problem{
		Type: "urn:chatnode:error:" + string(code), Title: f.Title, Status: f.HTTP, Code: code,
		Detail: msg, RetryAfterMS: int64((retry + time.Millisecond - 1) / time.Millisecond),
	}
}

// routeProblem is what echo itself refuses: no such route or method.
func routeProblem(status int) problem {
	code, detail := chat.Invalid, "the request is malformed"
	switch status {
	case http.StatusNotFound:
		code, detail = chat.NotFound, "there is no such path; GET /v1/openapi.json lists them"
	case http.StatusMethodNotAllowed:
		code, detail = chat.Invalid, "this path does not take this method"
	case http.StatusRequestEntityTooLarge:
		code, detail = chat.TooLarge, "the body is too large"
	}
	if status >= http.StatusInternalServerError {
		code, detail = chat.Internal, ""
	}
	return problem{Type: "urn:chatnode:error:" + string(code), Title: wire.FaultOf(code).Title, Status: status, Code: code, Detail: detail}
}
