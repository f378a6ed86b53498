# What there is to do with this tree. `make test` is what CI runs; it prints
# go test's own lines.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO ?= go
BIN := bin
# Packages that are worth the race detector: all but those that start real
# processes, whose races happen in the processes.
RACE_PACKAGES = $(shell $(GO) list ./... | grep -v -e '/test/e2e' -e '/internal/archtest' -e '/bench/chaos' -e '/bench/lab')
TEST_TIMEOUT ?= 15m

.PHONY: build test unit race e2e slow lint fmt fuzz bench check tools deps arch vet clean demo

build: ## the service and its load generator, into bin/
	$(GO) build -o $(BIN)/ ./cmd/...

test: ## everything that a change must pass
	@scripts/test.sh

unit: ## all tests but those of real processes
	$(GO) test -p 2 -timeout $(TEST_TIMEOUT) $(RACE_PACKAGES)

race: ## the same with the race detector
	$(GO) test -race -p 2 -timeout $(TEST_TIMEOUT) $(RACE_PACKAGES)

e2e: build ## real processes
	CHATNODE_BIN=$(CURDIR)/$(BIN)/chatnode $(GO) test -count=1 -p 1 -timeout $(TEST_TIMEOUT) ./test/e2e/...

slow: build ## with the long variants of tests, which CI leaves out
	CHATNODE_SLOW=1 CHATNODE_BIN=$(CURDIR)/$(BIN)/chatnode $(GO) test -count=1 -p 1 -timeout 60m ./...

arch: ## the rules of the tree itself
	$(GO) test -count=1 ./internal/archtest

vet:
	$(GO) vet ./...
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }

lint: tools ## golangci-lint as configured
	$(BIN)/golangci-lint run ./...

fmt:
	gofmt -w $$(git ls-files '*.go')

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz.sh $${FUZZTIME:-30s}

bench: ## the Go benchmarks of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m $(RACE_PACKAGES)

check: vet lint arch test ## what a release must pass

tools: $(BIN)/golangci-lint ## build what lint needs, once

$(BIN)/golangci-lint: tools/go.mod
	cd tools && $(GO) build -o ../$(BIN)/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

deps: ## write down what the service links
	$(GO) list -deps -f '{{with .Module}}{{.Path}}{{end}}' ./cmd/chatnode | sort -u | grep -v '^github.com/chatnode/chatnode$$' > docs/deps.txt

demo: build ## a real run on three nodes, as text
	scripts/demo.sh

clean:
	rm -rf $(BIN)

-include mk/*.mk
