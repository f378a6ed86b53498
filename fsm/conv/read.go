package conv

import (
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

func notFound(op string) error {
	return chat.E(op, chat.NotFound, "no such conversation for this user", nil)
}

// ReadPage reads a page. group is the group whose rows r shows.
func ReadPage(r fsm.Reader, group uint32, q Query) (Page, error) {
	return Page{}, notFound("history")
}

// AppendPage reads a page and appends it to dst as [DecodePage] takes it,
// without decoding its entries: the way to serve another node.
func AppendPage(dst []byte, r fsm.Reader, group uint32, q Query) ([]byte, error) {
	return dst, notFound("history")
}

// DecodePage decodes what AppendPage appended. The entries share one copy of b.
func DecodePage(b []byte) (Page, error) {
	return Page{}, notFound("history")
}

// ReadHead reads the newest entry's numbers, without a check of access.
func ReadHead(r fsm.Reader, group uint32, conv chat.ConvID) (HeadInfo, error) {
	return HeadInfo{}, notFound("head")
}

// ReadInfo reads the head of a conversation as a current member sees it.
func ReadInfo(r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID) (chat.Info, error) {
	return chat.Info{}, notFound("info")
}

// ReadMembers reads up to limit current members with ids after `after`, in the
// order of their ids, for a current member.
func ReadMembers(r fsm.Reader, group uint32, conv chat.ConvID, user, after chat.UserID, limit int) ([]chat.Member, error) {
	return nil, notFound("members")
}

// ReadAccess reads what a user may do and see. A user who never was a member
// gets not_found, as for a conversation that does not exist.
func ReadAccess(r fsm.Reader, group uint32, conv chat.ConvID, user chat.UserID) (Access, error) {
	return Access{}, notFound("access")
}

// ReadProof makes proofs in O(log n) reads.
func ReadProof(r fsm.Reader, group uint32, q ProofQuery) (Proof, error) {
	return Proof{}, notFound("proof")
}
