#!/bin/sh
# Enables and starts the daemon; after an upgrade restarts those that run. Tasks stay enforced meanwhile.
set -e

if [ "$1" = configure ] || [ "$1" = abort-upgrade ] || [ "$1" = abort-remove ]; then
	deb-systemd-helper unmask bpf-isolator.service >/dev/null || true
	if deb-systemd-helper --quiet was-enabled bpf-isolator.service; then
		deb-systemd-helper enable bpf-isolator.service >/dev/null || true
	else
		deb-systemd-helper update-state bpf-isolator.service >/dev/null || true
	fi
	if [ -d /run/systemd/system ]; then
		systemctl --system daemon-reload >/dev/null || true
		# What keeps the daemon from starting (an old kernel, a mistake in the file) is in its journal; the package is
		# installed all the same.
		if [ -n "$2" ]; then
			deb-systemd-invoke try-restart bpf-isolator.service || true
			# Instances other than the default one.
			systemctl list-units --plain --no-legend --state=active 'bpf-isolator@*.service' |
				while read -r unit _; do deb-systemd-invoke try-restart "$unit" || true; done
		else
			deb-systemd-invoke start bpf-isolator.service || true
		fi
	fi
fi
