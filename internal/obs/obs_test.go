package obs

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLogger(t *testing.T) {
	tests := []struct {
		name string
		c    LogConfig
		want string // part of the output, or of the error
		err  bool
	}{
		{"text", LogConfig{"info", "text"}, "msg=\"node started\" port=1", false},
		{"json", LogConfig{"info", "json"}, `"msg":"node started","port":1`, false},
		{"unknown level", LogConfig{"loud", "text"}, "log.level", true},
		{"unknown format", LogConfig{"info", "xml"}, "log.format", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := NewLogger(&out, tt.c)
			if tt.err {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("NewLogger = %v, want an error about %s", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("not shown")
			log.Info("node started", "port", 1)
			if got := out.String(); !strings.Contains(got, tt.want) || strings.Contains(got, "not shown") {
				t.Errorf("output = %q, want %q in it and no debug line", got, tt.want)
			}
		})
	}
}

func TestMetricsAreServed(t *testing.T) {
	rec := httptest.NewRecorder()
	MetricsHandler(NewRegistry("v1"), slog.New(slog.DiscardHandler)).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`chatnode_build_info{version="v1"} 1`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
