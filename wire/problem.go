package wire

import (
	"net/http"
	"strconv"
	"time"

	"github.com/chatnode/chatnode/chat"
)

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

// ProblemOf gives what may be shown of err as a problem.
func ProblemOf(err error) Problem {
	code, msg, retry := Explain(err)
	return Problem{
		Status: FaultOf(code).HTTP, Code: code, Detail: msg,
		RetryAfterMS: uint64((max(retry, 0) + time.Millisecond - 1) / time.Millisecond),
	}
}

// WriteProblem answers with a problem and with the headers that belong to it. Its
// request id is that of the answer's X-Request-Id.
func WriteProblem(w http.ResponseWriter, p Problem) {
	h := w.Header()
	h.Set("Content-Type", ProblemContentType)
	h.Set("Cache-Control", "no-store")
	if p.RetryAfterMS > 0 {
		h.Set("Retry-After", strconv.FormatUint((p.RetryAfterMS+999)/1000, 10))
	}
	if p.Code == chat.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	p.RequestID = h.Get("X-Request-Id")
	w.WriteHeader(p.Status)
	_, _ = w.Write(AppendProblem(nil, &p)) // fails only when the client is gone
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
