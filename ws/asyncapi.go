package ws

import (
	_ "embed" // the document is part of the program
	"net/http"
)

//go:embed asyncapi.json
var asyncAPI []byte

// AsyncAPI serves the machine-readable description of the frames.
func AsyncAPI() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(asyncAPI) // the client may be gone
	})
}
