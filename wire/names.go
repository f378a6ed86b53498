package wire

import "github.com/chatnode/chatnode/chat"

// The names of numbers that are stored. An index without a name is a number
// that does not exist.
var (
	entryTypeNames = [...]string{
		chat.Created: "created", chat.Message: "message", chat.MemberAdded: "member_added",
		chat.MemberRemoved: "member_removed", chat.RoleChanged: "role_changed",
		chat.Edit: "edit", chat.Redact: "redact", chat.React: "react",
	}
	kindNames   = [...]string{chat.Direct: "direct", chat.Group: "group", chat.Channel: "channel"}
	policyNames = [...]string{chat.FromJoin: "from_join", chat.AllHistory: "all"}
	roleNames   = [...]string{
		chat.NoRole: "none", chat.Reader: "reader", chat.Writer: "writer", chat.Admin: "admin", chat.Owner: "owner",
	}
)

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return ""
}

func numberOf(names []string, s string) (int, bool) {
	if s == "" {
		return 0, false
	}
	for i, n := range names {
		if n == s {
			return i, true
		}
	}
	return 0, false
}

// EntryTypeName is the name of t, "" for one that does not exist.
func EntryTypeName(t chat.EntryType) string { return nameOf(entryTypeNames[:], int(t)) }

// KindName is the name of k, "" for one that does not exist.
func KindName(k chat.Kind) string { return nameOf(kindNames[:], int(k)) }

// ParseKind reads the name of a kind.
func ParseKind(s string) (chat.Kind, bool) {
	i, ok := numberOf(kindNames[:], s)
	return chat.Kind(i), ok
}

// PolicyName is the name of p, "" for one that does not exist.
func PolicyName(p chat.HistoryPolicy) string { return nameOf(policyNames[:], int(p)) }

// ParsePolicy reads the name of a policy.
func ParsePolicy(s string) (chat.HistoryPolicy, bool) {
	i, ok := numberOf(policyNames[:], s)
	return chat.HistoryPolicy(i), ok
}

// RoleName is the name of r, "" for one that does not exist.
func RoleName(r chat.Role) string { return nameOf(roleNames[:], int(r)) }

// ParseRole reads the name of a role.
func ParseRole(s string) (chat.Role, bool) {
	i, ok := numberOf(roleNames[:], s)
	return chat.Role(i), ok
}
