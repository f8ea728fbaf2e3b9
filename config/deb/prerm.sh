#!/bin/sh
# Removal stops the daemons. Tasks that run stay under their rules until they end; no new one starts on this machine.
# An upgrade lets them run until postinst restarts them.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop bpf-isolator.service || true
	systemctl stop 'bpf-isolator@*.service' || true
fi
