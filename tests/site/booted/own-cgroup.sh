#!/bin/sh
# own-cgroup.sh NAME COMMAND...: runs COMMAND in cgroups of its own, in every tree of the machine. A host's services are
# made below them: two hosts in one cgroup would each take the processes of the other's services for their own.
set -eu

name=$1
shift
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
  if [ -f "$tree/cgroup.procs" ] && mkdir -p "$tree/$name" 2>/dev/null; then
    for knob in cpuset.cpus cpuset.mems; do
      [ ! -f "$tree/$name/$knob" ] || cat "$tree/$knob" >"$tree/$name/$knob"
    done
    echo $$ >"$tree/$name/cgroup.procs"
  fi
done
exec "$@"
