#!/usr/bin/env bash
# Starts and stops a cluster on this machine, for trying things and for tests.
#
#   scripts/cluster.sh up DIR      start NODES nodes (3) with data below DIR
#   scripts/cluster.sh stop DIR    stop them, gracefully
#   scripts/cluster.sh status DIR  say how it is
#
# Environment: BIN (bin/chatnode), NODES (3), GROUPS_N (8), PORT (7400: the
# first of two per node; 0 takes free ones), STORAGE (segment, pebble, bolt),
# DEBUG=1 (a port for profiles each), LOG (info), WAIT (60 s).
# Starting it again on the same DIR brings back the nodes that do not run.
set -euo pipefail

usage() {
	sed -n '2,11s/^# \{0,1\}//p' "$0"
	exit 2
}
[[ $# -eq 2 ]] || usage
command=$1
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$root/bin/chatnode}
nodes=${NODES:-3}
[[ -x $bin ]] || { echo "no binary at $bin: run make build, or set BIN" >&2; exit 1; }
mkdir -p "$2"
dir=$(cd "$2" && pwd)

field() { # FILE NAME: a string of run.json
	sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\).*/\1/p' "$1"
}

alive() { # PID: runs, and is no zombie that nobody has waited for
	kill -0 "$1" 2>/dev/null && ! grep -qs '^State:[[:space:]]*Z' "/proc/$1/status"
}

commandline() { # PID
	tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" || true
}

running() { # NODE: its pid may belong to somebody else by now
	local file=$dir/$1/run.json pid
	[[ -e $file ]] || return
	pid=$(field "$file" pid)
	alive "$pid" && [[ "$(commandline "$pid")" == *"--data-dir $dir/$1 "* ]]
}

# A process that was killed may still wait for the disk, with its lock and ports.
let_go() { # NODE
	local file=$dir/$1/run.json pid limit=$((SECONDS + ${WAIT:-60}))
	[[ -e $file ]] || return 0
	pid=$(field "$file" pid)
	while alive "$pid" && [[ -z "$(commandline "$pid")" ]] && ((SECONDS <= limit)); do
		sleep 0.05
	done
}

# The ports of a node are chosen once and kept, since the others know them.
ports() { # INDEX
	local file=$dir/n$1.ports
	if [[ ! -e $file ]]; then
		local base=${PORT:-7400}
		if [[ $base == 0 ]]; then
			free_ports >"$file"
		else
			echo "$((base + 2 * ($1 - 1))) $((base + 2 * ($1 - 1) + 1)) $((base + 100 + $1))" >"$file"
		fi
	fi
	cat "$file"
}

free_ports() { # three ports that nothing listens on, below the outgoing range
	local found=() port
	while ((${#found[@]} < 3)); do
		port=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			found+=("$port")
		fi
	done
	echo "${found[*]}"
}

wait_ready() { # NODE
	local limit=$((SECONDS + ${WAIT:-60}))
	until grep -q '^ready ' "$dir/$1.out" 2>/dev/null; do
		if ! alive "$2"; then
			echo "$1 ended: $(tail -n 3 "$dir/$1.log")" >&2
			exit 1
		fi
		if ((SECONDS > limit)); then
			echo "$1 is not ready; see $dir/$1.log" >&2
			exit 1
		fi
		sleep 0.05
	done
}

healthy() { # asked every node
	local i
	for ((i = 1; i <= nodes; i++)); do
		"$bin" status --addr "$(field "$dir/n$i/run.json" url)" --auth-secret-file "$dir/auth.secret" >"$dir/status" 2>&1 || return
	done
}

start_those_that_do_not_run() {
	local started=() first_peer="" i client peer debug how one
	for ((i = 1; i <= nodes; i++)); do
		read -r client peer debug < <(ports "$i")
		[[ -n $first_peer ]] || first_peer=127.0.0.1:$peer
		if running "n$i"; then
			continue
		fi
		let_go "n$i"
		how=(start --bootstrap --groups "${GROUPS_N:-8}")
		if ((i > 1)); then
			how=(join --peer "$first_peer")
		fi
		if [[ ${DEBUG:-} == 1 ]]; then
			how+=(--listen-debug "127.0.0.1:$debug")
		fi
		: >"$dir/n$i.out"
		nohup "$bin" "${how[@]}" --node-id "n$i" --data-dir "$dir/n$i" \
			--listen-client "127.0.0.1:$client" --listen-peer "127.0.0.1:$peer" \
			--auth-secret-file "$dir/auth.secret" --join-token-file "$dir/join.token" \
			--storage-log "${STORAGE:-segment}" --log-level "${LOG:-info}" \
			>>"$dir/n$i.out" 2>>"$dir/n$i.log" </dev/null &
		started+=("n$i $!")
		# A new cluster has to be there before others can join it. Nodes that
		# have been members need each other to become ready: all at once.
		if [[ ! -e $dir/n$i/identity ]]; then
			wait_ready "n$i" $!
		fi
	done
	for one in "${started[@]}"; do
		wait_ready "${one% *}" "${one#* }"
	done
}

up() {
	[[ -e $dir/auth.secret ]] || (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$dir/auth.secret")
	[[ -e $dir/join.token ]] || (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$dir/join.token")
	start_those_that_do_not_run
	local limit=$((SECONDS + ${WAIT:-60})) i
	until healthy; do
		if ((SECONDS > limit)); then
			echo "the cluster is not healthy:" >&2
			cat "$dir/status" >&2
			exit 1
		fi
		sleep 0.2
		start_those_that_do_not_run # one that was killed may have looked alive
	done
	for ((i = 1; i <= nodes; i++)); do
		echo "n$i  $(field "$dir/n$i/run.json" url)  peer $(field "$dir/n$i/run.json" peer)  pid $(field "$dir/n$i/run.json" pid)"
	done
	echo "secret $dir/auth.secret, join token $dir/join.token"
}

stop() {
	local file node pid pids=()
	for file in "$dir"/*/run.json; do
		[[ -e $file ]] || continue
		node=$(basename "$(dirname "$file")")
		pid=$(field "$file" pid) # a node takes the file away when it ends
		if running "$node" && kill -TERM "$pid"; then
			pids+=("$pid")
		fi
	done
	local limit=$((SECONDS + ${WAIT:-60}))
	for pid in "${pids[@]}"; do
		while alive "$pid"; do
			if ((SECONDS > limit)); then
				echo "process $pid does not stop" >&2
				exit 1
			fi
			sleep 0.05
		done
	done
	echo "stopped ${#pids[@]} nodes"
}

case $command in
up) up ;;
stop) stop ;;
status) "$bin" status --addr "$(field "$dir/n1/run.json" url)" --auth-secret-file "$dir/auth.secret" ;;
*) usage ;;
esac
