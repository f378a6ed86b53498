package wire

// AppendRequest appends a client frame. It writes what a request of req.Type
// carries and checks nothing.
func AppendRequest(dst []byte, req *Request) []byte {
	dst = begin(dst, req.Type, req.Ref)
	switch req.Type {
	case Hello:
		dst = optText(dst, "token", req.Token)
		dst = optText(dst, "device", string(req.Device))
		dst = optUint(dst, "version", req.Version)
		return append(dst, '}')
	case Create:
		return append(appendCreate(dst, req), '}')
	}
	dst = optText(dst, "conv", string(req.Conv))
	switch req.Type {
	case Send:
		dst = appendID(dst, "id", req.ID)
		dst = optID(dst, "after", req.After)
		dst = optText(dst, "to", string(req.To))
		dst = appendText(dst, "text", req.Text)
		dst = optText(dst, "content_type", req.ContentType)
	case Members:
		dst = appendID(dst, "id", req.ID)
		dst = appendChanges(dst, "changes", req.Changes)
	case Subscribe:
		dst = optUint(dst, "from", uint64(req.From))
	case History:
		dst = appendHistory(dst, req)
	case Proof:
		dst = optUint(dst, "seq", uint64(req.Seq))
		dst = optUint(dst, "from_size", uint64(req.FromSize))
		dst = optUint(dst, "size", uint64(req.Size))
		dst = appendFreshness(dst, req)
	case Info:
		dst = appendFreshness(dst, req)
	}
	return append(dst, '}')
}

func appendCreate(dst []byte, req *Request) []byte {
	dst = optText(dst, "conv", string(req.Conv))
	dst = appendID(dst, "id", req.ID)
	dst = appendText(dst, "kind", KindName(req.Kind))
	dst = optText(dst, "to", string(req.To))
	dst = optText(dst, "title", req.Title)
	dst = optText(dst, "policy", PolicyName(req.Policy))
	dst = optUint(dst, "members_max", req.MembersMax)
	if len(req.Changes) > 0 {
		dst = appendChanges(dst, "members", req.Changes)
	}
	return dst
}

func appendHistory(dst []byte, req *Request) []byte {
	switch req.Page {
	case Before:
		dst = appendUint(dst, "before", uint64(req.At))
	case After:
		dst = appendUint(dst, "after", uint64(req.At))
	case Around:
		dst = appendUint(dst, "around", uint64(req.At))
	}
	dst = optUint(dst, "limit", req.Limit)
	return appendFreshness(dst, req)
}

func appendFreshness(dst []byte, req *Request) []byte {
	if req.Level != Linearizable {
		dst = appendText(dst, "level", req.Level.String())
	}
	return optUint(dst, "min_seq", uint64(req.MinSeq))
}

// Frames gathers objects into one frame: one stands alone, more are an array.
// The zero value is empty and ready.
type Frames struct {
	buf   []byte // '[' and the objects with commas between
	count int
}

// Begin returns where the next object is to be appended; Commit takes it back
// with the object.
func (f *Frames) Begin() []byte {
	if f.count == 0 {
		return append(f.buf[:0], '[')
	}
	return append(f.buf, ',')
}

// Commit ends what Begin began.
func (f *Frames) Commit(buf []byte) {
	f.buf = buf
	f.count++
}

// Len is the number of bytes gathered, Count that of objects.
func (f *Frames) Len() int { return len(f.buf) }

// Count is the number of objects gathered.
func (f *Frames) Count() int { return f.count }

// Bytes is the frame of what was gathered, valid until Reset or Begin.
func (f *Frames) Bytes() []byte {
	switch f.count {
	case 0:
		return nil
	case 1:
		return f.buf[1:]
	}
	f.buf = append(f.buf, ']')
	return f.buf
}

// Reset empties f for the next frame; keep is a buffer to write into.
func (f *Frames) Reset(keep []byte) {
	f.buf, f.count = keep[:0], 0
}
