package wire

// fieldSet remembers which fields of a frame were given, so that a field given
// twice is told and zero is not taken for absent.
type fieldSet uint64

type field uint8

// The fields of frames. The order is of no meaning.
const (
	fType field = iota
	fRef
	fConv
	fID
	fAfter
	fTo
	fText
	fContentType
	fKind
	fTitle
	fPolicy
	fMembers
	fChanges
	fToken
	fDevice
	fVersion
	fFrom
	fBefore
	fAround
	fLimit
	fLevel
	fMinSeq
	fSeq
	fSize
	fFromSize

	// Of node frames only.
	fMsgNo
	fTime
	fRoot
	fDup
	fCode
	fMessage
	fRetryAfter
	fResume
	fEntries
	fHead
	fMore
	fUser
	fSession
	fNode
	fExpires
	fLimits
	fLeaf
	fFromRoot
	fPath
	fSender
	fTarget
	fSalt
	fRole
	fMembersMax
	fMemberCount
)

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }

// add reports false when the field is there already.
func (s *fieldSet) add(f field) bool {
	if s.has(f) {
		return false
	}
	*s |= 1 << f
	return true
}
