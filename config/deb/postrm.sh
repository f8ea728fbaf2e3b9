#!/bin/sh
# After removal the unit cannot be started any more; purge also removes what the program made at run time, where no task
# lives on that a package installed later would take up.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
fi

if [ "$1" = remove ] && [ -x /usr/bin/deb-systemd-helper ]; then
	deb-systemd-helper mask bpf-isolator.service >/dev/null || true
fi

if [ "$1" = purge ]; then
	if [ -x /usr/bin/deb-systemd-helper ]; then
		deb-systemd-helper purge bpf-isolator.service >/dev/null || true
		deb-systemd-helper unmask bpf-isolator.service >/dev/null || true
	fi
	rmdir /etc/bpf-isolator 2>/dev/null || true

	mounted=$(awk '$(NF-2) == "cgroup2" { print $5; exit }' /proc/self/mountinfo 2>/dev/null || true)
	nodes=${mounted:-/nowhere}/bpf-isolator
	if [ -e "$nodes/cgroup.events" ] && grep -q '^populated 1' "$nodes/cgroup.events"; then
		echo "bpf-isolator: tasks still run under its rules; the rules, and what is known of the tasks in" \
			"/run/bpf-isolator, stay until they end and the machine boots" >&2
	else
		[ ! -d "$nodes" ] || find "$nodes" -depth -type d -exec rmdir {} \; || true
		rm -rf /run/bpf-isolator /sys/fs/bpf/bpf-isolator
	fi
fi
