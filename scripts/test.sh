#!/usr/bin/env bash
# Runs everything that a change must pass, in steps. The steps print go test's
# own lines; a step that fails does not hide the later ones, and the end names
# every step that failed.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
step() {
	local name=$1
	shift
	echo "=== $name"
	local begin=$SECONDS
	if "$@"; then
		echo "--- $name: ok ($((SECONDS - begin)) s)"
	else
		failed+=("$name")
		echo "--- $name: FAILED ($((SECONDS - begin)) s)"
	fi
}

vet() {
	local unformatted
	unformatted=$(gofmt -l $(git ls-files '*.go')) || return
	if [[ -n $unformatted ]]; then
		echo "not formatted: $unformatted"
		return 1
	fi
	go vet ./...
}

race() {
	if ! command -v gcc >/dev/null; then
		echo "left out: the race detector needs gcc"
		return 0
	fi
	go test -race -p 2 -timeout 9m $(go list ./... | grep -v -e '/test/e2e' -e '/internal/archtest' -e '/bench')
}

# One binary for all tests that start processes.
step build go build -o bin/ ./cmd/...
export CHATNODE_BIN=$PWD/bin/chatnode

step vet vet
step test go test -p 2 -timeout 9m ./...
step race race
# The linter takes longer to build than all tests to run: make tools builds it
# once, and from then on it is part of this.
if [[ -x bin/golangci-lint ]]; then
	step lint bin/golangci-lint run ./...
else
	echo "=== lint: left out, since bin/golangci-lint is not built (make tools)"
fi
if command -v make >/dev/null; then
	step chaos-short make --no-print-directory chaos-short
fi

if ((${#failed[@]})); then
	echo "FAILED: ${failed[*]}"
	exit 1
fi
echo "all steps passed in $SECONDS s"
