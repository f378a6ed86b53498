# Runs that try to break a cluster of real processes. See docs/reliability.md.

CHAOS_SEED    ?= 1
CHAOS_RUNS    ?= 5
CHAOS_LOAD    ?= 60s
CHAOS_RESULTS ?= bench/results/chaos.jsonl
SOAK_LOAD     ?= 30m

.PHONY: chaos-bin chaos-short chaos soak chaos-controls

chaos-bin:
	$(GO) build -o bin/chatnode ./cmd/chatnode
	$(GO) build -o bin/chatbench ./cmd/chatbench

# Kills, pauses and partitions with fixed seeds, for every submission. Partitions
# need root; without it they are left out, and that is said.
chaos-short: chaos-bin
	bin/chatbench chaos --seed 101 --load 25s --clients 12 --rate 15 --faults kill,kill-leader,kill-all,pause,pause-leader
	@if [ "$$(id -u)" = 0 ]; then \
	  bin/chatbench chaos --seed 102 --load 25s --clients 12 --rate 15 --faults isolate,isolate-leader,one-way,kill; \
	else echo "SKIPPED: partitions need root"; fi

# Every fault, alone and in pairs, over CHAOS_RUNS seeds each. Needs root.
chaos: chaos-bin
	mkdir -p $(dir $(CHAOS_RESULTS))
	for f in process network,delay disk file data process,clock; do \
	  bin/chatbench chaos --seed $(CHAOS_SEED) --runs $(CHAOS_RUNS) --load $(CHAOS_LOAD) --faults $$f --results $(CHAOS_RESULTS) || exit 1; \
	done
	for f in process,network,delay,clock process,disk process,file; do \
	  bin/chatbench chaos --seed $(CHAOS_SEED) --runs $(CHAOS_RUNS) --load $(CHAOS_LOAD) --faults $$f --pairs --results $(CHAOS_RESULTS) || exit 1; \
	done

# One long run of everything that networks and processes can suffer.
soak: chaos-bin
	mkdir -p $(dir $(CHAOS_RESULTS))
	bin/chatbench chaos --seed $(CHAOS_SEED) --load $(SOAK_LOAD) --faults process,network,delay,clock --pairs --results $(CHAOS_RESULTS)

# The negative controls: a binary that breaks a promise on purpose must be caught.
chaos-controls: chaos-bin
	scripts/chaos-controls.sh
