#!/bin/sh
# Makes every figure of docs/performance.md: an hour and a half on a quiet
# machine. Results go to the directory given (default: results) as JSON lines,
# with one page that draws them. Comparison with peers needs their binaries:
# JETSTREAM=… ETCD=… bench/measure.sh
set -eu
cd "$(dirname "$0")/.."
out=${1:-results}
mkdir -p "$out" bin
go build -o bin/ ./cmd/chatnode ./cmd/chatbench
run() { # NAME WORKLOAD FLAGS…
	name=$1
	shift
	echo "chatbench $*" >&2
	bin/chatbench "$@" --spawn 3 --out "$out/$name.jsonl"
}

run throughput throughput --outstanding 1,16,64,256,1024,2048 --duration 10s
run conversations throughput --outstanding 256,1024 --conversations 1 --duration 10s
run conversations throughput --outstanding 256,1024 --zipf 1.2 --duration 10s
for payload in 100 300 8KB 400KB; do
	run payload throughput --outstanding 64 --payload $payload --duration 10s
done
run mixed throughput --outstanding 16,256 --reads 0.5 --duration 10s
run pages throughput --outstanding 16 --reads 1 --anywhere --duration 10s
for groups in 1 4 16 64; do
	run groups throughput --outstanding 1024 --groups $groups --duration 10s
done
run latency latency --share 0.25,0.5,0.8 --duration 20s
run failover failover --fault kill,pause,stop,transfer --repetitions 20 --conversations 16
run partition failover --fault partition,one-way,replace --repetitions 10 --conversations 16 # needs root
run failover failover --fault rolling --repetitions 5
run fanout fanout --subscribers 100,1000,10000 --duration 20s
run connections connections --connections 1000,10000 --duration 20s
if [ -n "${JETSTREAM:-}" ] && [ -n "${ETCD:-}" ]; then
	go build -C bench/peers -o ../../bin/peerbench .
	peers="--jetstream $JETSTREAM --peerbench bin/peerbench --turns 5 --duration 3s"
	appends=append:1,append:16,append:64,append:256,append:1024
	bin/chatbench compare $peers --etcd "$ETCD" --conversations 1 --work $appends \
		--out "$out/compare.jsonl" >"$out/compare-one-log.txt"
	bin/chatbench compare $peers --etcd "$ETCD" --conversations 1 --work latency:25%,latency:50%,latency:80% \
		--out "$out/compare.jsonl" >"$out/compare-latency.txt"
	bin/chatbench compare $peers --streams 8 --work append:64,append:256,append:1024 \
		--out "$out/compare.jsonl" >"$out/compare-eight-streams.txt"
	bin/chatbench compare $peers --work append:16,append:64,append:256,append:1024 \
		--out "$out/compare.jsonl" >"$out/compare-default-groups.txt"
	bin/chatbench compare $peers --etcd "$ETCD" --conversations 50 --work pages:16,latency:2000 \
		--out "$out/compare.jsonl" >"$out/compare-pages.txt"
	bin/chatbench compare $peers --etcd "$ETCD" --turns 1 --rounds 6 --work failover \
		--out "$out/compare.jsonl" >"$out/compare-failover.txt"
fi
# Ten minutes of both processors full; a history that grows under full load, with
# a light one before and after; and pages of it from random places.
run saturation throughput --outstanding 1024,1024,1024,1024,1024,1024,1024,1024,1024,1024 --duration 58s
run growth throughput --outstanding 16,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,1024,16 --payload 2KB --reads 0.02 --duration 44s
run old-pages throughput --conversations 50 --outstanding 16,16,16,16 --payload 2KB --reads 1 --anywhere --preload 30000 --duration 12s
bin/chatbench report "$out"/*.jsonl -o "$out/report.html" --plots "$out/plots"
