package check

import (
	"fmt"
	"sort"
	"strings"
)

// Rule names the promise that a violation breaks.
type Rule string

// The rules; see the package comment.
const (
	Dense    Rule = "dense"
	Replicas Rule = "replicas"
	Lost     Rule = "lost"
	Ack      Rule = "ack"
	Body     Rule = "body"
	Doubled  Rule = "doubled"
	Phantom  Rule = "phantom"
	RefusedR Rule = "refused"
	Order    Rule = "order"
	Realtime Rule = "realtime"
	StaleR   Rule = "stale"
	Future   Rule = "future"
	Gap      Rule = "gap"
	Repeat   Rule = "repeat"
	Leak     Rule = "leak"
	Intruder Rule = "intruder"
	Denied   Rule = "denied"
	NonLin   Rule = "porcupine"
)

// ViolationsMax bounds how many violations a report spells out; all are counted.
const ViolationsMax = 200

// Violation is one broken promise.
type Violation struct {
	Rule Rule   `json:"rule"`
	Conv string `json:"conv"`
	Text string `json:"text"`
}

func (v Violation) String() string { return string(v.Rule) + ": " + v.Conv + ": " + v.Text }

// Report is what a check found and how much it looked at.
type Report struct {
	Violations []Violation  `json:"violations,omitempty"`
	Counts     map[Rule]int `json:"counts,omitempty"`

	Convs      int `json:"conversations"`
	Entries    int `json:"entries"`
	Ops        int `json:"ops"`
	Acked      int `json:"acked"`
	Unknown    int `json:"unknown"`
	Refused    int `json:"refused"`
	Reads      int `json:"reads"`
	StaleReads int `json:"stale_reads"`
	Deliveries int `json:"deliveries"`
	Logs       int `json:"replica_logs"`
	Hashes     int `json:"state_hashes"`
	Sampled    int `json:"porcupine_ops"`
	Undecided  int `json:"porcupine_undecided"` // conversations that the search did not finish
}

func (r *Report) add(rule Rule, conv, format string, args ...any) {
	if r.Counts == nil {
		r.Counts = map[Rule]int{}
	}
	r.Counts[rule]++
	if len(r.Violations) < ViolationsMax {
		r.Violations = append(r.Violations, Violation{rule, conv, fmt.Sprintf(format, args...)})
	}
}

// OK reports whether nothing was violated.
func (r *Report) OK() bool { return len(r.Counts) == 0 }

// Has reports whether the rule was violated.
func (r *Report) Has(rule Rule) bool { return r.Counts[rule] > 0 }

// String lists the counts per rule and the first violations.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d conversations, %d entries on %d replica logs, %d operations (%d acknowledged, %d unknown, %d refused, %d reads, %d stale reads), %d deliveries, %d state hashes, %d operations by porcupine (%d conversations undecided)",
		r.Convs, r.Entries, r.Logs, r.Ops, r.Acked, r.Unknown, r.Refused, r.Reads, r.StaleReads, r.Deliveries, r.Hashes, r.Sampled, r.Undecided)
	rules := make([]string, 0, len(r.Counts))
	for rule, n := range r.Counts {
		rules = append(rules, fmt.Sprintf("%s ×%d", rule, n))
	}
	sort.Strings(rules)
	if len(rules) > 0 {
		fmt.Fprintf(&b, "\nVIOLATED: %s", strings.Join(rules, ", "))
	}
	for i, v := range r.Violations {
		if i == 20 {
			fmt.Fprintf(&b, "\n  … %d more", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s", v)
	}
	return b.String()
}
