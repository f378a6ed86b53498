package chat

// Code says what went wrong, in one word that clients switch on. Codes are
// append-only: the text and the meaning of a released code never change.
type Code string

// The codes. The transport's answer to each (HTTP status, close code, retry)
// is one row in package wire.
const (
	OK       Code = ""
	Internal Code = "internal" // a fault of the service; the cause is in its log

	// What the caller sent.
	Invalid           Code = "invalid"             // a field is missing or malformed
	TooLarge          Code = "too_large"           // over a stated limit of size
	InvalidUTF8       Code = "invalid_utf8"        // text that is not UTF-8
	UnknownType       Code = "unknown_type"        // a frame, command or entry type nobody knows
	UnsupportedVer    Code = "unsupported_version" // a protocol version this node does not speak
	Unauthenticated   Code = "unauthenticated"     // no token, or one that does not hold
	Forbidden         Code = "forbidden"           // a member whose role does not allow it
	NotFound          Code = "not_found"           // no such conversation, or no member of it: the same answer
	Exists            Code = "exists"              // a conversation of that id exists with another content
	Conflict          Code = "conflict"            // the client id was used for another body
	PredecessorAbsent Code = "predecessor_missing" // `after` names an id that is not in the log
	Expired           Code = "expired"             // the client id is older than the memory of ids
	MemberLimit       Code = "member_limit"        // the conversation is full
	LastOwner         Code = "last_owner"          // nobody would be left to manage it
	AlreadyMember     Code = "already_member"
	NotMember         Code = "not_member" // the user to remove or change is no member
	FixedMembers      Code = "fixed_members"

	// Where and when.
	Busy        Code = "busy"         // a bounded queue is full; see retry_after
	RateLimited Code = "rate_limited" // this caller sends too fast; see retry_after
	Unavailable Code = "unavailable"  // no quorum within the deadline; it may have been appended: retry with the same id
	DiskFull    Code = "disk_full"    // below the free-space reserve; reads go on
	Moved       Code = "moved"        // another node leads the group now
	NotLeader   Code = "not_leader"   // as moved, but the leader is not known
	Behind      Code = "behind"       // this replica has not reached min_seq
	ShuttingDn  Code = "shutting_down"
	SlowReader  Code = "slow_reader" // the connection stood still; resume from the last seq
	Replaced    Code = "replaced"    // a newer connection of the same session took over
	WrongClust  Code = "wrong_cluster"
	BadToken    Code = "bad_join_token"
	Timeout     Code = "timeout" // the caller's deadline passed while it only read
	Canceled    Code = "canceled"
	Corrupt     Code = "corrupt" // a checksum or a proof does not hold
)
