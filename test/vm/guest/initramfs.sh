#!/bin/busybox sh
# shellcheck shell=dash
# First process of the guest: finds the disks and hands over to the base image. A failure here ends in a kernel panic
# ("Attempted to kill init"), which the host sees at once.
set -e
# No links and no PATH: busybox's shell runs its own commands by their names, by way of /proc/self/exe.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Written by image.ts: what of virtio and ext4 this kernel has as modules, in the order of their needs.
while read -r module; do
	insmod "/modules/$module"
done </modules/order
mount -t ext4 /dev/vda /root
mount --move /dev /root/dev
mount --move /sys /root/sys
mount --move /proc /root/proc
exec /bin/busybox switch_root /root /sbin/vm-init
