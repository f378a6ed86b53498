#!/usr/bin/env bash
# A real run on three nodes, as text: start them, write a load, kill the leader
# in the middle of it, bring it back, read everything from every node, stop, and
# compare what the three directories hold.
#
#   scripts/demo.sh             run it
#   scripts/demo.sh --record    also write docs/demo.txt and docs/demo.svg
#
# Environment: DIR (data/demo; what an earlier demo left there goes), MESSAGES (20000), PORT (0: free
# ports). Needs bin/chatnode: make build.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=${DIR:-data/demo}
messages=${MESSAGES:-20000}
export PORT=${PORT:-0} LOG=warn

say() { printf '\n# %s\n' "$*"; }
# show prints a command, runs it, and keeps the place of this tree out of it.
show() {
	printf '$ %s\n' "$*"
	local code=0
	eval "$*" 2>&1 | sed "s|$PWD/||g" || code=$?
	((code == 0)) || echo "(exit code $code)"
}
url() { sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$dir/$1/run.json"; }
pid() { sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$dir/$1/run.json"; }
acks() { wc -l <"$dir/acks"; }
# until_so repeats a command until it succeeds, for a minute at most.
until_so() {
	local limit=$((SECONDS + 60))
	until "$@"; do
		((SECONDS < limit)) || return 0
		sleep 0.1
	done
}
# spread: every node leads some groups.
spread() { bin/chatnode members | awk 'NR > 1 && $7 < 2 || $7 > 4 && NR > 1 {bad = 1} END {exit bad}'; }
# even GROUP: no replica lags.
even() { bin/chatnode groups | awk -v g="$1" '$1 == g && gsub(/, 0\)/, "") == 3 {even = 1} END {exit !even}'; }

main() {
	export CHATNODE_AUTH_SECRET_FILE=$dir/auth.secret
	say "Three nodes on this machine, 8 groups of 3 replicas each"
	show "scripts/cluster.sh up $dir"
	export CHATNODE_ADDR
	CHATNODE_ADDR=$(url n1)
	until_so spread
	show "bin/chatnode status"

	# The node that leads the conversation's group is the one to kill, and the
	# load goes through another one.
	bin/chatnode send demo "the first message" --create --member bob --user ann --addr "$(url n1)" >"$dir/acks"
	local group leader through=n1
	read -r group leader < <(bin/chatnode groups | awk '$1 ~ /^[1-9]/ && $7 > 0 {print $1, $3}')
	[[ $leader != n1 ]] || through=n2
	CHATNODE_ADDR=$(url $through)
	say "ann writes $messages messages through $through; every line of $dir/acks is a seq that is on a quorum's disks"
	printf '$ seq -f "message %%.0f" %s | bin/chatnode send demo --user ann --addr %s >>%s/acks &\n' "$messages" "$(url $through)" "$dir"
	seq -f 'message %.0f' "$messages" | bin/chatnode send demo --user ann --addr "$(url $through)" >>"$dir/acks" &
	local load=$!
	until (($(acks) > messages / 4)); do sleep 0.01; done

	say "$leader leads group $group, where the conversation lives. Kill it in the middle of the load"
	printf "$ kill -9 %s    # %s, after %s acknowledgements\n" "$(pid "$leader")" "$leader" "$(acks)"
	kill -9 "$(pid "$leader")"
	wait "$load"
	say "The load has ended by itself"
	show "wc -l <$dir/acks"
	show "bin/chatnode groups"
	printf '# The longest time between two of its entries, as the log has it: %s ms\n' "$(bin/chatnode tail demo --from 2 --user ann --json |
		sed 's/.*"time":\([0-9]*\).*/\1/' | awk 'NR > 1 && $1 - last > gap {gap = $1 - last} {last = $1} END {print gap}')"

	say "The killed node comes back and catches up"
	show "scripts/cluster.sh up $dir"
	until_so even "$group"
	show "bin/chatnode status"

	say "Every node gives back what was sent, in order: equal digests"
	show "(echo 'the first message'; seq -f 'message %.0f' $messages) | sha256sum"
	local n
	for n in n1 n2 n3; do
		show "bin/chatnode tail demo --from 2 --user bob --addr $(url $n) | sed 's/.*ann: //' | sha256sum"
	done

	say "Stop, and compare what the directories hold: equal hashes, group by group"
	show "scripts/cluster.sh stop $dir"
	show "bin/chatnode check $dir/n1 | cut -c1-100"
	show "for n in n1 n2 n3; do bin/chatnode check $dir/\$n | awk '\$1 == $group' | cut -c1-100; done"
	for n in n1 n2 n3; do
		bin/chatnode check "$dir/$n" --json | grep '"hash"'
	done | sort | uniq -c | awk '$1 % 3 {bad = 1} END {print bad ? "REPLICAS DIFFER" : "all replicas of every group are equal"; exit bad}'
}

[[ -x bin/chatnode ]] || { echo "no bin/chatnode: run make build" >&2; exit 1; }
if [[ -e $dir && ! -e $dir/join.token ]]; then
	echo "$dir exists and is no cluster of an earlier demo: give another DIR" >&2
	exit 1
fi
rm -rf "$dir"
mkdir -p "$dir"
trap 'scripts/cluster.sh stop "$dir" >/dev/null 2>&1 || true' EXIT
if [[ ${1:-} == --record ]]; then
	main | tee docs/demo.txt
	scripts/demo-svg.sh docs/demo.txt >docs/demo.svg
else
	main
fi
