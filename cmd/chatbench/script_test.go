package main

import (
	"context"
	"os"
	"os/signal"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chatnode/chatnode/test/e2e/clustertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"chatbench": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			a := &app{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
			os.Exit(a.run(ctx, os.Args[1:]))
		},
	})
}

// The scripts say what the program does with its command line, and run it once
// for real against processes of the built node.
func TestScripts(t *testing.T) {
	binary := clustertest.Binary(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("CHATNODE", binary)
			return nil
		},
	})
}
