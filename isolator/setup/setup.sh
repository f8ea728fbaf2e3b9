#!/usr/bin/env bash
# Takes a fresh clone on Debian or Ubuntu to a built one: apt packages that are missing, npm packages, build.
#
#   setup.sh run     what `bpf-isolator` itself needs
#   setup.sh test    and what the test suite needs
#   setup.sh bench   and what the benchmarks need
#
# Says what it does before it does it; does nothing twice.
set -euo pipefail

purpose=${1:?usage: setup.sh run|test|bench}
cd "$(dirname "$0")/../.."

say() { printf '== %s\n' "$*" >&2; }
die() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "not root: cgroups and BPF programs need it. Run the same command with sudo."
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
	die "Node $(node --version) is too old: version 20 or newer is needed."

# package=what shows that it is there (a command, or a file when it starts with a slash)
multiarch=/usr/lib/$(uname -m)-linux-gnu
needs=(
	clang=clang
	libbpf1="$multiarch/libbpf.so.1"
	libbpf-dev=/usr/include/bpf/bpf_helpers.h
	linux-libc-dev=/usr/include/linux/bpf.h
	libc6-dev=/usr/include/stdio.h
)
case $purpose in
run) ;;
test | bench)
	needs+=(
		iproute2=ip
		ethtool=ethtool
		util-linux=unshare
		clang-format=clang-format
		shellcheck=shellcheck
		nginx-light=/usr/sbin/nginx
		iperf3=iperf3
		groff=groff
		zsh=zsh
		fish=fish
		dnsmasq-base=dnsmasq
	)
	[ "$purpose" = bench ] && needs+=(haproxy=haproxy iptables=iptables)
	# The kernel lab (test/vm/) boots Debian's x86-64 kernels.
	[ "$purpose $(uname -m)" = "test x86_64" ] && needs+=(
		qemu-system-x86=qemu-system-x86_64
		e2fsprogs=/sbin/mke2fs
		busybox-static=/bin/busybox
		cpio=cpio
		btrfs-progs=/sbin/mkfs.btrfs
		kmod=/sbin/depmod
	)
	;;
*) die "unknown purpose '$purpose': run, test or bench" ;;
esac

missing=()
for need in "${needs[@]}"; do
	package=${need%%=*} sign=${need#*=}
	case $sign in
	/*) [ -e "$sign" ] || missing+=("$package") ;;
	*) command -v "$sign" >/dev/null || missing+=("$package") ;;
	esac
done
if [ ${#missing[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || die "missing: ${missing[*]}. Install them with your package manager."
	say "installing with apt: ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# What some tests are skipped without. Of Debian's prometheus only the tool: the package would start a server.
if [ "$purpose" = test ] && command -v apt-get >/dev/null; then
	if ! command -v chromium >/dev/null; then
		say "installing with apt: chromium"
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null ||
			say "no chromium to be had: tests of the status page are skipped"
	fi
	if ! command -v promtool >/dev/null; then
		say "taking promtool from Debian's package prometheus"
		unpacked=$(mktemp -d)
		# shellcheck disable=SC2015
		(cd "$unpacked" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .) &&
			install -m 755 "$unpacked/usr/bin/promtool" /usr/local/bin/promtool ||
			say "no promtool to be had: tests of the alert rules are skipped"
		rm -rf "$unpacked"
	fi
fi

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	say "installing npm packages"
	npm ci --no-audit --no-fund --loglevel=error
fi

say "building"
npm run --silent build
