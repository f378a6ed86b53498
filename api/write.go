package api

import (
	"net/http"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// create begins a conversation.
func (s *Server) create(c *call) error {
	req, err := s.body(c, wire.Create)
	if err != nil {
		return err
	}
	if err := req.Check(); err != nil {
		return err
	}
	cmd, err := session.CreateCommand(req, c.who.User, c.device)
	if err != nil {
		return err
	}
	return s.propose(c, "create", cmd.Conv, cmd, http.StatusCreated)
}

// send appends a message. With "to", the path must name the direct
// conversation with that user, so that a retry meets the same log.
func (s *Server) send(c *call) error {
	req, err := s.body(c, wire.Send)
	if err != nil {
		return err
	}
	if req.To != "" {
		if req.To == c.who.User || c.conv != chat.DirectID(c.who.User, req.To) {
			return invalid("with to, the path must name the direct conversation with that user: d~ and both ids in order")
		}
		req.Conv = ""
	} else {
		req.Conv = c.conv
	}
	if err := req.Check(); err != nil {
		return err
	}
	return s.propose(c, "send", c.conv, fsm.Append{
		Conv: c.conv, Sender: c.who.User, Device: c.device, ClientID: req.ID, After: req.After,
		ContentType: req.ContentType, Text: req.Text, Direct: req.To,
	}, http.StatusCreated)
}

// members changes who belongs to a conversation.
func (s *Server) members(c *call) error {
	req, err := s.body(c, wire.Members)
	if err != nil {
		return err
	}
	req.Conv = c.conv
	if err := req.Check(); err != nil {
		return err
	}
	return s.propose(c, "members", c.conv, fsm.ChangeMembers{
		Conv: c.conv, Actor: c.who.User, Device: c.device, ClientID: req.ID, Changes: req.Changes,
	}, http.StatusOK)
}
