package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
	"unsafe"

	"github.com/labstack/echo/v4"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/wire"
)

const (
	headerDevice      = "Chatnode-Device"
	headerIdempotency = "Idempotency-Key"
	deviceDefault     = "http"
)

// call is one request of a known user.
type call struct {
	echo.Context
	who    auth.Principal
	device chat.DeviceID
	conv   chat.ConvID
}

// identify gives every answer an id that the log repeats.
func identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, hex.EncodeToString(b[:]))
		h.Set("X-Content-Type-Options", "nosniff")
		return next(c)
	}
}

// recover turns a panic of a handler into an internal fault of this request.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler: // net/http compares it so
				panic(r)
			default:
				err = chat.E("http", chat.Internal, "", fmt.Errorf("panic: %v", r))
			}
		}()
		return next(c)
	}
}

// with lets a request of a known user in while there is room.
func (s *Server) with(serve func(*call) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			return busy("too many requests at once")
		}
		who, err := s.deps.Verifier.Verify(auth.Bearer(c.Request().Header.Get(echo.HeaderAuthorization)))
		if err != nil {
			return err
		}
		one := &call{Context: c, who: who}
		if one.conv, err = convOf(c); err != nil {
			return err
		}
		if one.device, err = deviceOf(who, c.Request().Header.Get(headerDevice)); err != nil {
			return err
		}
		return serve(one)
	}
}

// convOf gives the conversation that the path names, "" on a path without one.
// The router compares the path as it was written, so that an encoded slash ends
// no segment; net/url keeps that form only where it differs from its own, and
// what it did not keep is decoded already.
func convOf(c echo.Context) (chat.ConvID, error) {
	segment := c.Param("conv")
	if c.Request().URL.RawPath != "" {
		var err error
		if segment, err = url.PathUnescape(segment); err != nil {
			return "", chat.E("http", chat.Invalid, "the path is malformed", err)
		}
	}
	if !chat.ValidID(segment) && len(c.ParamNames()) > 0 {
		return "", invalid("the conversation in the path must be an id")
	}
	return chat.ConvID(segment), nil
}

func deviceOf(who auth.Principal, header string) (chat.DeviceID, error) {
	switch {
	case header == "" && who.Device != "":
		return who.Device, nil
	case header == "":
		return deviceDefault, nil
	case !chat.ValidID(header):
		return "", invalid(headerDevice + " must be an id")
	case who.Device != "" && string(who.Device) != header:
		return "", chat.E("http", chat.Forbidden, "the token is for another device", nil)
	}
	return chat.DeviceID(header), nil
}

func invalid(msg string) error { return chat.E("http", chat.Invalid, msg, nil) }

func busy(msg string) error {
	e := chat.E("http", chat.Busy, msg, nil)
	e.RetryAfter = 100 * time.Millisecond
	return e
}

// body reads the request's body as the fields of a request of type t, with the
// message id of the header.
func (s *Server) body(c *call, t wire.Type) (*wire.Request, error) {
	if q := c.query(); q.err != nil {
		return nil, q.err
	}
	id, err := chat.ParseClientID(c.Request().Header.Get(headerIdempotency))
	if err != nil {
		return nil, chat.E("http", chat.Invalid, "the header "+headerIdempotency+" must be a UUID (version 7), the same for every retry", err)
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.Response().Writer, c.Request().Body, s.cfg.BodyBytesMax))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, chat.E("http", chat.TooLarge, fmt.Sprintf("the body is over %d bytes", tooLarge.Limit), nil)
	case err != nil:
		return nil, chat.E("http", chat.Canceled, "the body did not arrive", err)
	}
	req := new(wire.Request)
	// The request's strings point into b, which nobody writes to again.
	if err := req.Body(t, unsafe.String(unsafe.SliceData(b), len(b))); err != nil {
		return nil, err
	}
	if req.ID != (chat.ClientID{}) && req.ID != id {
		return nil, invalid("id in the body is not that of the header " + headerIdempotency + ": give the header alone")
	}
	req.ID = id
	return req, nil
}

// propose appends a command and answers with its acknowledgement.
func (s *Server) propose(c *call, op string, conv chat.ConvID, cmd fsm.Command, created int) error {
	type answer struct {
		r   fsm.Result
		err error
	}
	done := make(chan answer, 1)
	deadline := s.deps.Now().Add(s.cfg.ProposeWait)
	s.deps.Backend.Propose(conv, fsm.Encode(nil, cmd), deadline, func(r fsm.Result, err error) { done <- answer{r, err} })
	select {
	case a := <-done:
		if a.err != nil {
			return a.err
		}
		if a.r.Code != chat.OK {
			return a.r.Err(op)
		}
		if a.r.Ack.Dup {
			created = http.StatusOK
		}
		return c.answer(created, &wire.Reply{Type: wire.Ack, Conv: conv, Ack: a.r.Ack})
	case <-c.Request().Context().Done():
		return chat.E(op, chat.Canceled, "the caller went away; the entry may have been appended", context.Cause(c.Request().Context()))
	}
}

func (c *call) answer(status int, r *wire.Reply) error {
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.Blob(status, echo.MIMEApplicationJSON, wire.AppendBody(nil, r))
}
