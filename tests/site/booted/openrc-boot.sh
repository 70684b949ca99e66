#!/bin/sh
# openrc-boot.sh ROOT NAME [SOURCE TARGET]...: runs openrc-init as PID 1 of new namespaces in ROOT, with no network.
# Each SOURCE directory is bound to TARGET in the host; a SOURCE that begins with `ro:` read-only.
set -eu

# The single quotes are meant: the words belong to the inner shell.
# shellcheck disable=SC2016
exec unshare --mount --pid --fork --net --uts --ipc --cgroup --propagation private sh -c '
  set -eu
  root=$1 name=$2
  shift 2
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  ln -s /proc/self/fd "$root/dev/fd"
  ln -s fd/0 "$root/dev/stdin"
  ln -s fd/1 "$root/dev/stdout"
  ln -s fd/2 "$root/dev/stderr"
  touch "$root/dev/console"
  mkdir "$root/dev/pts" "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  while [ $# -gt 0 ]; do
    mkdir -p "$root$2"
    mount --bind "${1#ro:}" "$root$2"
    [ "$1" = "${1#ro:}" ] || mount -o remount,bind,ro "$root$2"
    shift 2
  done
  cd "$root"
  mkdir -p .old
  pivot_root . .old
  umount -l /.old
  rmdir /.old
  hostname "$name"
  ip link set lo up
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=lxc RC_SYS=LXC /sbin/openrc-init
' sh "$@"
