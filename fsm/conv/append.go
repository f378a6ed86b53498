package conv

import (
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/fault/sabotage"
)

// append appends one message.
//
// The retry check comes first: an accepted message must answer the same for as
// long as it is remembered, even to a sender who has since left. Membership is
// checked here and not at the edge, because here it cannot race with a removal.
func (m *Machine) append(v *fsm.AppendView) (fsm.Result, error) {
	if len(v.Direct) > 0 && !isDirectOf(v.Conv, v.Sender, v.Direct) {
		return fsm.Refuse(chat.Invalid, "the conversation is not the one between sender and peer"), nil
	}
	h, _, err := m.find(v.Conv)
	if err != nil {
		return fsm.Result{}, err
	}
	if h == nil {
		if len(v.Direct) == 0 {
			return fsm.Refuse(chat.NotFound, ""), nil
		}
		return m.openDirect(v)
	}
	seq, err := m.seen(h, &v.ClientID, v.Sender)
	if err != nil {
		return fsm.Result{}, err
	}
	if seq != 0 && !sabotage.NoDedup() {
		return m.repeat(h, seq, func(e *view[[]byte]) bool {
			return e.typ == chat.Message && string(e.text) == string(v.Text) && string(e.contentType) == string(v.ContentType)
		})
	}
	if res, ok := checkID(&v.ClientID, max(m.tx.now, h.timeMS)); !ok {
		return res, nil
	}
	if res, ok, err := m.refusedBefore(h, v.Sender, &v.ClientID); err != nil || ok {
		return res, err
	}
	if !v.After.IsZero() {
		if seq, err = m.seen(h, &v.After, v.Sender); err != nil {
			return fsm.Result{}, err
		}
		if seq == 0 {
			return fsm.Refuse(chat.PredecessorAbsent, ""), nil
		}
	}
	who, err := h.role(m.tx.w, v.Sender)
	if err != nil {
		return fsm.Result{}, err
	}
	switch {
	case who.role == chat.NoRole:
		return m.refuse(h, v.Sender, &v.ClientID, fsm.Refuse(chat.NotFound, ""))
	case who.role < chat.Writer:
		return m.refuse(h, v.Sender, &v.ClientID, fsm.Refuse(chat.Forbidden, "readers of this conversation do not write"))
	}
	if res, ok := checkMessage(v); !ok {
		return res, nil
	}
	return m.write(h, who.user, &view[[]byte]{
		typ: chat.Message, sender: v.Sender, device: v.Device, clientID: v.ClientID,
		contentType: v.ContentType, text: v.Text,
	})
}

// openDirect creates the direct conversation that the message begins and appends
// the message to it.
func (m *Machine) openDirect(v *fsm.AppendView) (fsm.Result, error) {
	if res, ok := checkID(&v.ClientID, m.tx.now); !ok {
		return res, nil
	}
	if !v.After.IsZero() {
		return fsm.Refuse(chat.PredecessorAbsent, ""), nil
	}
	if res, ok := checkMessage(v); !ok {
		return res, nil
	}
	sender := chat.UserID(v.Sender)
	c := fsm.Create{
		Conv: chat.ConvID(v.Conv), Kind: chat.Direct, Creator: sender, Device: chat.DeviceID(v.Device),
		Members: []chat.Change{{User: chat.UserID(v.Direct), Role: chat.Writer}},
	}
	if res, ok := settle(&c); !ok {
		return res, nil
	}
	h, res, err := m.begin(&c)
	if err != nil || h == nil {
		return res, err
	}
	return m.write(h, sender, &view[[]byte]{
		typ: chat.Message, sender: v.Sender, device: v.Device, clientID: v.ClientID,
		contentType: v.ContentType, text: v.Text,
	})
}

// isDirectOf reports whether conv is the direct conversation of a and b.
func isDirectOf(conv, a, b []byte) bool {
	if string(b) < string(a) {
		a, b = b, a
	}
	const mark, gap = "d~", "~"
	return len(conv) == len(mark)+len(a)+len(gap)+len(b) &&
		string(conv[:2]) == mark && string(conv[2:2+len(a)]) == string(a) &&
		string(conv[2+len(a):3+len(a)]) == gap && string(conv[3+len(a):]) == string(b)
}

// checkMessage holds a message to the limits.
func checkMessage(v *fsm.AppendView) (fsm.Result, bool) {
	switch {
	case !chat.ValidID(v.Device):
		return fsm.Refuse(chat.Invalid, "the device id is malformed"), false
	case !validContentType(v.ContentType):
		return fsm.Refuse(chat.Invalid, "the content type is malformed"), false
	case len(v.Text) == 0:
		return fsm.Refuse(chat.Invalid, "the text is empty"), false
	case len(v.Text) > chat.TextBytesMax:
		return fsm.Refuse(chat.TooLarge, "the text has more than 400 KB"), false
	case !utf8.Valid(v.Text):
		return fsm.Refuse(chat.InvalidUTF8, ""), false
	case len(v.Text) > chat.TextRunesMax && utf8.RuneCount(v.Text) > chat.TextRunesMax:
		return fsm.Refuse(chat.TooLarge, "the text has more than 99,999 characters"), false
	}
	return fsm.Result{}, true
}

// validContentType takes printable ASCII, "" included.
func validContentType(b []byte) bool {
	if len(b) > chat.ContentTypeMax {
		return false
	}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
