package conv

import (
	"encoding/binary"

	"github.com/chatnode/chatnode/chat"
)

// AppendInfo appends an encoded info to dst, for another node.
func AppendInfo(dst []byte, in *chat.Info) []byte {
	dst = appendStr8(dst, in.Conv)
	dst = append(dst, byte(in.Kind), byte(in.Policy), byte(in.Role))
	dst = appendStr(dst, in.Title)
	for _, n := range [...]uint64{uint64(in.Head), uint64(in.MsgNo), uint64(in.TimeMS), uint64(in.MemberCount)} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = append(dst, in.Root[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(in.Members)))
	for _, m := range in.Members {
		dst = append(appendStr8(dst, m.User), byte(m.Role))
		dst = binary.AppendUvarint(dst, uint64(m.Seq))
	}
	return dst
}

// DecodeInfo decodes what AppendInfo appended.
func DecodeInfo(b []byte) (chat.Info, error) {
	c := cursor[string]{b: string(b)}
	in := chat.Info{Conv: chat.ConvID(c.str8())}
	in.Kind, in.Policy, in.Role = chat.Kind(c.u8()), chat.HistoryPolicy(c.u8()), chat.Role(c.u8())
	in.Title = c.str(chat.TitleBytesMax)
	in.Head, in.MsgNo, in.TimeMS = chat.Seq(c.uvarint()), chat.MsgNo(c.uvarint()), int64(c.uvarint())
	in.MemberCount = c.count(chat.ChannelMembersMax)
	copy(in.Root[:], c.take(len(in.Root)))
	for range c.count(chat.InfoMembersMax) {
		if c.bad {
			break
		}
		in.Members = append(in.Members, chat.Member{
			User: chat.UserID(c.str8()), Role: chat.Role(c.u8()), Seq: chat.Seq(c.uvarint()),
		})
	}
	if c.bad || len(c.b) != 0 {
		return chat.Info{}, corrupt("info", "an info is malformed")
	}
	return in, nil
}
