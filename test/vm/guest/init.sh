#!/usr/bin/busybox sh
# shellcheck shell=dash
# The guest's init: mounts what a machine has, runs the one command that the host gave, sends everything back and
# powers off. Disks: vda base image, vdb project and job, vdc results (a tar). Ports: vport*p1 the command's output,
# vport*p2 this script's messages to the host: "start SECONDS", every 5 s "alive SECONDS", "exit CODE", "end SECONDS"
# (seconds since boot), and before the time is up what runs and where it waits ("process ...").
set -eu
# busybox's own commands first: a dynamic program takes 0.1 s to start here.
export PATH=/usr/lib/busybox HOME=/root LANG=C.UTF-8

# The initramfs has mounted /dev, /proc and /sys.
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
ln -sf pts/ptmx /dev/ptmx
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
for place in /dev/shm /run /tmp; do mount -t tmpfs -o mode=1777 tmpfs "$place"; done
mount -t ext4 /dev/vdb /work
hostname vm
ip link set lo up
# Debian's kernels load most protocols when a program asks for them, but not this one, which only root may load.
for module in dccp_ipv4 dccp_ipv6; do modprobe "$module" || true; done

output=$(echo /dev/vport*p1)
control=$(echo /dev/vport*p2)
uptime_now() { cut -d ' ' -f 1 /proc/uptime; }
tell() { echo "$*" >"$control"; }

# Options of the boot: layout, bpffs, seconds after which to tell what runs.
layout=pure bpffs=1 patience=100000
# shellcheck source=/dev/null
. /work/.vm/options

version1() {
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	for controllers in cpu,cpuacct cpuset memory devices freezer net_cls,net_prio pids blkio perf_event; do
		mkdir "/sys/fs/cgroup/$controllers"
		# Since 6.12 a kernel may be built without the first version of some (memory, cpuset).
		mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers" 2>/dev/null ||
			rmdir "/sys/fs/cgroup/$controllers"
	done
	mkdir /sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
}
case $layout in
pure) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
hybrid)
	version1
	mkdir /sys/fs/cgroup/unified
	mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
	;;
v1) version1 ;;
none) ;;
*)
	echo "unknown cgroup layout '$layout'"
	exit 1
	;;
esac
[ "$bpffs" = 0 ] || mount -t bpf bpf /sys/fs/bpf

# Libraries of the test helpers that the base image lacks.
if [ -d /work/.vm/lib ]; then cp -n /work/.vm/lib/* /usr/lib/; fi

# The command writes to a pipe, as under any test runner; what it leaves running may keep that open for ever.
mkdir /run/vm /run/results
mkfifo /run/vm/output
cat /run/vm/output >"$output" &
copier=$!
tell "start $(uptime_now)"
# A machine that stands still is told from a command that takes long by these.
while sleep 5; do tell "alive $(uptime_now)"; done &
(
	sleep "$patience"
	for process in /proc/[0-9]*; do
		name=$(tr '\0' ' ' <"$process/cmdline") || continue
		[ -z "$name" ] || tell "process ${process#/proc/} $(cat "$process/wchan" 2>/dev/null): $name"
	done
) 2>/dev/null &
cd /work
code=0
# In a session of its own: nothing that it does to its process group reaches this script.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/busybox \
	setsid bash /work/.vm/job >/run/vm/output 2>&1 </dev/null || code=$?
for _ in $(seq 20); do
	kill -0 "$copier" 2>/dev/null || break
	sleep 0.1
done

dmesg >/run/results/dmesg.txt
ps -o pid,ppid,args >/run/results/processes.txt
tell "exit $code"
tar -cf /dev/vdc -C /run/results .
tell "end $(uptime_now)"
sync
poweroff -f
