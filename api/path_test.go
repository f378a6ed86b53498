package api

import (
	"net/url"
	"testing"

	"github.com/chatnode/chatnode/chat"
)

// TestPathsAreDecoded names a conversation as clients write ids into a URL: as
// it is, and with everything encoded that may be.
func TestPathsAreDecoded(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	const id = "a@b:c+d~e"
	ann.do("POST", "/v1/conversations", `{"conv":"`+id+`","kind":"group"}`).want(t, 201, "")
	for _, written := range []string{id, url.QueryEscape(id), "a%40b%3Ac%2bd%7ee", "%61@b:c+d~e"} {
		t.Run(written, func(t *testing.T) {
			one := *ann
			one.t = t
			path := "/v1/conversations/" + written
			for _, read := range []string{"", "/entries", "/proof?seq=1"} {
				if got := one.do("GET", path+read, "").want(t, 200, ""); got.body["conv"] != id {
					t.Errorf("GET %s is about %v", path+read, got.body["conv"])
				}
			}
			one.do("POST", path+"/messages", `{"text":"x"}`).want(t, 201, "")
			one.do("POST", path+"/members", `{"changes":[{"user":"bob","role":"writer"}]}`)
		})
	}
}

func TestPathsThatAreNoID(t *testing.T) {
	s, _, token := newServer(t, nil)
	ann := newCaller(t, s, token("ann"))
	ann.do("POST", "/v1/conversations", group).want(t, 201, "")
	ann.do("POST", "/v1/conversations", `{"conv":"a@b","kind":"group"}`).want(t, 201, "")
	for _, written := range []string{
		"room%2Fentries", "room%2F..%2Froom", "..%2Froom", "room%00", "room%0A", "%20room", "r%C3%B6om",
		"a%2540b", // encoded twice: decoding it twice would name a@b
	} {
		for _, rest := range []string{"", "/entries", "/proof?seq=1"} {
			ann.do("GET", "/v1/conversations/"+written+rest, "").want(t, 400, chat.Invalid)
		}
		ann.do("POST", "/v1/conversations/"+written+"/messages", `{"text":"x"}`).want(t, 400, chat.Invalid)
		ann.do("POST", "/v1/conversations/"+written+"/members", `{"changes":[{"user":"cas","role":"writer"}]}`).want(t, 400, chat.Invalid)
	}
}
