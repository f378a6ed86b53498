#!/usr/bin/env bash
# Negative controls: a binary that breaks one promise on purpose has to be caught
# by chaos within a few seeds. A suite that never fails proves nothing.
#
# The binary is built with the tag chaoscontrol and told by CHATNODE_SABOTAGE what
# to break; a product build does not know the variable. Needs root (power cuts).
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${CONTROL_SEEDS:-8}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -tags chaoscontrol -o "$dir/chatnode" ./cmd/chatnode
[ -x bin/chatbench ] || go build -o bin/chatbench ./cmd/chatbench

# control NAME FAULTS PATTERN: some seed must end in a violation that fits.
control() {
  local name=$1 faults=$2 pattern=$3 seed
  for seed in $(seq 1 "$seeds"); do
    if bin/chatbench chaos --binary "$dir/chatnode" --node-env "CHATNODE_SABOTAGE=$name" --dir "$dir/$name" \
      --seed "$seed" --load 25s --rate 40 --liveness 20s --faults "$faults" >"$dir/out" 2>&1; then
      echo "$name: seed $seed saw nothing"
      continue
    fi
    if grep -Eq "$pattern" "$dir/out"; then
      echo "$name: caught by seed $seed: $(grep -Eo "$pattern" "$dir/out" | head -n 1)"
      rm -rf "${dir:?}/$name"
      return
    fi
    echo "$name: seed $seed failed for another reason:"
    cat "$dir/out"
  done
  echo "$name: NOT CAUGHT in $seeds seeds" >&2
  exit 1
}

control nodedup kill-leader 'VIOLATED:.*doubled'
control staleread pause-leader,pause 'VIOLATED:.*stale'
control noaccess kill 'VIOLATED:.*leak'
control nofsync power-all 'VIOLATED:.*(lost|ack|phantom|replicas)|emptier than what the node has promised'
echo "every control was caught"
