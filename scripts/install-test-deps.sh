#!/usr/bin/env bash
# Installs what tests use besides Go, where it is missing: a browser, packet
# filters for partitions, and Node.js with the package ws. Quiet unless it fails.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

try() { # up to three times: mirrors hiccup
	local n
	for n in 1 2 3; do
		if "$@" >"$log" 2>&1 </dev/null; then
			return 0
		fi
		sleep $((n * 3))
	done
	echo "install: $* failed:" >&2
	tail -n 5 "$log" >&2
	return 1
}

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need make make
need gcc gcc # for the race detector
need chromium chromium
need nft nftables
need iptables iptables
need ip iproute2
need unshare util-linux
need node nodejs
need npm npm
need mkfs.ext4 e2fsprogs
need fusermount3 fuse3

failed=0
if ((${#missing[@]})); then
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
		echo "install: ${missing[*]}"
		try apt-get -o Acquire::Retries=3 update -q || failed=1
		for package in "${missing[@]}"; do
			extra=()
			[[ $package == gcc ]] && extra=(libc6-dev)
			try apt-get -o Acquire::Retries=3 install -q -y --no-install-recommends "$package" "${extra[@]}" || failed=1
		done
	else
		echo "install: missing and not installed (no root, or no apt): ${missing[*]}"
		failed=1
	fi
fi

exit "$failed"
