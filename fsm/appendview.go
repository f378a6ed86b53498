package fsm

import "github.com/chatnode/chatnode/chat"

// AppendView is an encoded [Append] taken apart without a copy: every slice is
// a part of the command's bytes.
type AppendView struct {
	Conv, Sender, Device, ContentType, Text, Direct []byte
	ClientID, After                                 chat.ClientID
}

// ReadAppend decodes the message of an Append (what [Split] returns).
func ReadAppend(body []byte) (AppendView, error) {
	var v AppendView
	f := fields{b: body}
	for f.next() {
		var ok bool
		switch f.num {
		case 1:
			v.Conv, ok = f.val, f.bytes()
		case 2:
			v.Sender, ok = f.val, f.bytes()
		case 3:
			v.Device, ok = f.val, f.bytes()
		case 4:
			v.ClientID, ok = f.id()
		case 5:
			v.After, ok = f.id()
		case 6:
			v.ContentType, ok = f.val, f.bytes()
		case 7:
			v.Text, ok = f.val, f.bytes()
		case 8:
			v.Direct, ok = f.val, f.bytes()
		default:
			ok = false
		}
		if !ok {
			return v, f.fault()
		}
	}
	return v, f.done()
}

// Command is the view as a command with its own strings.
func (v *AppendView) Command() Append {
	return Append{
		Conv: chat.ConvID(v.Conv), Sender: chat.UserID(v.Sender), Device: chat.DeviceID(v.Device),
		ClientID: v.ClientID, After: v.After,
		ContentType: string(v.ContentType), Text: string(v.Text), Direct: chat.UserID(v.Direct),
	}
}
