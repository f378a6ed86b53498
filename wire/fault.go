package wire

import (
	"errors"
	"time"

	"github.com/chatnode/chatnode/chat"
)

// Fault says how one code travels: the status of an HTTP answer, the code that
// closes a WebSocket, and whether the same request may succeed later. A close
// of 40xx says come back, one of 45xx says stay away.
type Fault struct {
	Code  chat.Code
	HTTP  int
	Close int
	Retry bool
	Title string // for a person who has never seen the code
}

// faults has one row per code, append-only: clients switch on both columns.
var faults = [...]Fault{
	{chat.Internal, 500, 4000, true, "a fault of the service"},
	{chat.ShuttingDn, 503, 4001, true, "this node stops; go to another"},
	{chat.SlowReader, 429, 4002, true, "the connection stood still; resume from the last seq"},
	{chat.Busy, 503, 4003, true, "a bounded queue is full; wait for retry_after"},
	{chat.RateLimited, 429, 4004, true, "too fast; wait for retry_after"},
	{chat.Unavailable, 503, 4005, true, "no quorum in time; it may have been appended, retry with the same id"},
	{chat.DiskFull, 507, 4006, true, "the cluster is out of disk; reads go on"},
	{chat.Moved, 503, 4007, true, "another node leads now"},
	{chat.NotLeader, 503, 4008, true, "no leader is known yet"},
	{chat.Behind, 503, 4009, true, "this replica has not reached that seq"},
	{chat.Timeout, 504, 4010, true, "the time for this request passed"},
	{chat.Canceled, 499, 4011, true, "the caller went away"},
	{chat.PredecessorAbsent, 409, 4012, true, "the message named in after is not in the log; send it first"},
	{chat.Invalid, 400, 4500, false, "a field is missing or malformed"},
	{chat.Unauthenticated, 401, 4501, false, "no token, or one that does not hold"},
	{chat.TooLarge, 413, 4502, false, "over a stated limit of size"},
	{chat.InvalidUTF8, 400, 4503, false, "text that is not UTF-8"},
	{chat.UnknownType, 400, 4504, false, "nobody knows this type"},
	{chat.UnsupportedVer, 400, 4505, false, "this node does not speak that version"},
	{chat.Forbidden, 403, 4506, false, "the role does not allow it"},
	{chat.NotFound, 404, 4507, false, "no such conversation, or not a member of it"},
	{chat.Exists, 409, 4508, false, "a conversation of that id exists with another content"},
	{chat.Conflict, 409, 4509, false, "the id was used for another body"},
	{chat.Expired, 410, 4510, false, "the id is older than the memory of ids"},
	{chat.MemberLimit, 409, 4511, false, "the conversation is full"},
	{chat.LastOwner, 409, 4512, false, "nobody would be left to manage it"},
	{chat.AlreadyMember, 409, 4513, false, "the user is a member already"},
	{chat.NotMember, 409, 4514, false, "the user to remove or change is no member"},
	{chat.FixedMembers, 409, 4515, false, "a direct conversation keeps its two members"},
	{chat.Replaced, 409, 4516, false, "a newer connection of the same device took over"},
	{chat.WrongClust, 409, 4517, false, "this node belongs to another cluster"},
	{chat.BadToken, 403, 4518, false, "the join token does not hold"},
	{chat.Corrupt, 500, 4519, false, "a checksum or a proof does not hold"},
}

// Faults gives a copy of the table in its written order.
func Faults() []Fault { return append([]Fault(nil), faults[:]...) }

// FaultOf gives the row of a code; an unknown code has the row of
// [chat.Internal].
func FaultOf(code chat.Code) Fault {
	for i := range faults {
		if faults[i].Code == code {
			return faults[i]
		}
	}
	return faults[0]
}

// CodeOfClose gives the code whose connection was closed with the number n.
func CodeOfClose(n int) (chat.Code, bool) {
	for i := range faults {
		if faults[i].Close == n {
			return faults[i].Code, true
		}
	}
	return chat.OK, false
}

// Explain gives what may be shown of err: its code, a text, and how long to
// wait. Causes stay inside; an error without a code shows nothing of itself.
func Explain(err error) (code chat.Code, msg string, retryAfter time.Duration) {
	var e *chat.Error
	if !errors.As(err, &e) || e.Code == chat.OK {
		return chat.Internal, faults[0].Title, 0
	}
	msg = e.Msg
	if msg == "" {
		msg = FaultOf(e.Code).Title
	}
	return e.Code, msg, e.RetryAfter
}
