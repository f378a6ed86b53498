package wire

import "github.com/chatnode/chatnode/chat"

// ProblemType begins the type of every problem; the code follows.
const ProblemType = "urn:chatnode:error:"

// ProblemContentType is the media type of RFC 9457.
const ProblemContentType = "application/problem+json"

// Problem is an error as an HTTP body.
type Problem struct {
	Status       int // of the response; usually that of the code
	Code         chat.Code
	Detail       string
	RequestID    string
	RetryAfterMS uint64
}

// AppendProblem appends a problem.
func AppendProblem(dst []byte, p *Problem) []byte {
	dst = append(dst, `{"type":`...)
	dst = AppendString(dst, ProblemType+string(p.Code))
	dst = appendText(dst, "title", FaultOf(p.Code).Title)
	dst = appendUint(dst, "status", uint64(p.Status))
	dst = appendText(dst, "code", string(p.Code))
	dst = optText(dst, "detail", p.Detail)
	dst = optText(dst, "request_id", p.RequestID)
	dst = optUint(dst, "retry_after_ms", p.RetryAfterMS)
	return append(dst, '}')
}
