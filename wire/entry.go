package wire

import "github.com/chatnode/chatnode/chat"

// EntriesMax bounds the list of entries in one frame.
const EntriesMax = 1024

func (d *Decoder) entries(name string) error {
	return d.list(name, EntriesMax, func() error {
		d.rep.Entries = append(d.rep.Entries, chat.Entry{})
		d.entry = &d.rep.Entries[len(d.rep.Entries)-1]
		return d.record(name, entryField)
	})
}

// Entry reads the JSON of one entry, as [AppendEntry] writes it.
func Entry(text string, e *chat.Entry) error {
	d := NewDecoder(text)
	*e = chat.Entry{Conv: e.Conv}
	d.entry = e
	d.Next()
	var seen fieldSet
	return d.object(&seen, entryField)
}

func entryField(d *Decoder, name string, seen *fieldSet) error {
	f, ok := entryFields(name)
	if !ok {
		return d.skip()
	}
	if !seen.add(f) {
		return d.wrong(name, "is given twice")
	}
	e := d.entry
	switch f {
	case fSeq:
		return d.seq(name, &e.Seq)
	case fMsgNo:
		return d.uint(name, (*uint64)(&e.MsgNo))
	case fTime:
		return d.time(name, &e.TimeMS)
	case fSender:
		return d.string(name, (*string)(&e.Sender))
	case fDevice:
		return d.string(name, (*string)(&e.Device))
	case fID:
		return d.clientID(name, &e.ClientID)
	case fType:
		return d.entryType(name, &e.Type)
	case fTarget:
		return d.seq(name, &e.Target)
	case fSalt:
		return d.bytes(name, e.Salt[:])
	}
	return d.bodyField(f, name, &e.Body)
}

func (d *Decoder) bodyField(f field, name string, b *chat.Body) error {
	switch f {
	case fText:
		return d.string(name, &b.Text)
	case fContentType:
		return d.string(name, &b.ContentType)
	case fKind:
		return d.kind(name, &b.Kind)
	case fPolicy:
		return d.policy(name, &b.Policy)
	case fTitle:
		return d.string(name, &b.Title)
	case fMembersMax:
		var n uint64
		if err := d.uint(name, &n); err != nil {
			return err
		}
		if n > chat.ChannelMembersMax {
			return invalid(name + " is too large")
		}
		b.MembersMax = uint32(n)
		return nil
	default: // fChanges
		return d.changes(name, &b.Changes, MembersMax)
	}
}

// entryType leaves a name that this program does not know as zero: the entry
// still has its place.
func (d *Decoder) entryType(name string, v *chat.EntryType) error {
	var s string
	if err := d.string(name, &s); err != nil {
		return err
	}
	n, _ := numberOf(entryTypeNames[:], s)
	*v = chat.EntryType(n)
	return nil
}

func entryFields(name string) (field, bool) {
	switch name {
	case "seq":
		return fSeq, true
	case "msg_no":
		return fMsgNo, true
	case "time":
		return fTime, true
	case "sender":
		return fSender, true
	case "device":
		return fDevice, true
	case "id":
		return fID, true
	case "type":
		return fType, true
	case "salt":
		return fSalt, true
	case "text":
		return fText, true
	case "target":
		return fTarget, true
	case "content_type":
		return fContentType, true
	case "kind":
		return fKind, true
	case "policy":
		return fPolicy, true
	case "title":
		return fTitle, true
	case "members_max":
		return fMembersMax, true
	case "changes":
		return fChanges, true
	}
	return 0, false
}
