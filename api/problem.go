package api

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// fail is the only place where an error of the API becomes an answer. The cause
// goes to the log, never to the caller.
func (s *Server) fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := problemOf(err)
	if p.Code == chat.Internal {
		id := c.Response().Header().Get(echo.HeaderXRequestID)
		s.deps.Logger.ErrorContext(c.Request().Context(), "request failed", "err", err, "path", c.Path(), "request_id", id)
	}
	wire.WriteProblem(c.Response(), p)
}

// problemOf gives the problem of err, which may be what echo itself refuses: no
// such route or method.
func problemOf(err error) wire.Problem {
	own, ok := errors.AsType[*echo.HTTPError](err)
	if !ok {
		return wire.ProblemOf(err)
	}
	p := wire.Problem{Status: own.Code, Code: chat.Invalid, Detail: "the request is malformed"}
	switch {
	case own.Code == http.StatusNotFound:
		p.Code, p.Detail = chat.NotFound, "there is no such path; GET /v1/openapi.json lists them"
	case own.Code == http.StatusMethodNotAllowed:
		p.Detail = "this path does not take this method"
	case own.Code == http.StatusRequestEntityTooLarge:
		p.Code, p.Detail = chat.TooLarge, "the body is too large"
	case own.Code >= http.StatusInternalServerError:
		p.Code, p.Detail = chat.Internal, ""
	}
	return p
}
