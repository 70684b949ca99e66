# Stops k3s and every pod on this host. Cluster data stays; what another containerd or docker runs is left alone.

run_killall() {
  begin_work
  kill_everything
  result 'k3s and its pods are stopped'
}

kill_everything() {
  if [ -z "$live" ]; then return 0; fi
  stop_every_service
  kill_processes
  unmount_below /run/k3s /var/lib/kubelet/pods /var/lib/kubelet/plugins /run/netns/cni-
  remove_interfaces
  remove_tree /var/lib/cni
  filter_rules iptables
  filter_rules ip6tables
}

stop_every_service() {
  for name in $(find /etc/systemd/system /etc/init.d "$systemd_dir" -maxdepth 1 \
    \( -name 'k3s*.service' -o -path '/etc/init.d/k3s*' \) 2>/dev/null | sort -u); do
    case $name in
      *.service) ! has systemctl || systemctl stop "${name##*/}" 2>/dev/null || : ;;
      *) ! has rc-service || rc-service "${name##*/}" stop >/dev/null 2>&1 || : ;;
    esac
  done
}

readonly end_seconds=20

# A killed process that is not gone yet holds mounts, files and the cgroup of its unit. What it started meanwhile dies too.
kill_processes() {
  killed=
  waited=0
  while :; do
    for process in $(k3s_processes); do
      begun=$(start_time "$process")
      [ -n "$begun" ] || continue
      has_line "$killed" "$process:$begun" || killed=$killed$process:$begun$newline
      kill -9 "$process" 2>/dev/null || :
    done
    living=
    for process in $killed; do has_ended "${process%:*}" "${process#*:}" || living="$living ${process%:*}"; done
    [ -n "$living" ] || return 0
    [ "$waited" -lt "$end_seconds" ] || break
    sleep 1
    waited=$((waited + 1))
  done
  warn process-stays "killed processes do not end:$living" 'they wait for a disk or a network file system; a reboot ends them'
}

# Containerd and its shims are told by their binary, which k3s unpacks below its data directory; pods hang below shims.
k3s_processes() (
  found=
  for process in $(find /proc -maxdepth 1 -name '[1-9]*'); do
    process=${process#/proc/}
    binary=$(readlink "/proc/$process/exe" 2>/dev/null || :)
    case ${binary% (deleted)} in
      "$data_dir"/data/*/bin/containerd* | "$data_dir"/data/*/bin/k3s) found=$found$process$newline ;;
    esac
  done
  printf '%s' "$found"
  for process in $found; do descendants_of "$process"; done
)

# Its number may have gone to another process; threads of a process that nobody waits for may be dying still.
has_ended() { # PID, START TIME
  [ "$(start_time "$1")" != "$2" ] && [ -z "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 ! -name "$1" 2>/dev/null)" ]
}

descendants_of() ( # PID
  for process in $(children_of "$1"); do
    printf '%s\n' "$process"
    descendants_of "$process"
  done
)

# Mount points, decoded as the kernel encodes them. It knows them by the path without links.
mounts_below() ( # PREFIX
  # In a chroot without /proc nobody can tell.
  [ -r /proc/self/mounts ] || exit 0
  if [ -d "$1" ]; then
    physical=$(without_links "$1") || exit 1
    set -- "$physical"
  fi
  while IFS=' ' read -r _ point _; do
    point=$(mount_point "$point")
    case $point in
      "$1" | "$1"/*) printf '%s\n' "$point" ;;
    esac
    case $1 in
      *-) case $point in "$1"*) printf '%s\n' "$point" ;; esac ;;
    esac
  done </proc/self/mounts
)

unmount_below() { # PREFIX...
  for prefix in "$@"; do
    for point in $(mounts_below "$prefix" | sort -ru); do
      umount "$point" 2>/dev/null || umount -f "$point" 2>/dev/null || umount -l "$point" 2>/dev/null || :
      rm -f -- "$point" 2>/dev/null || rmdir "$point" 2>/dev/null || :
    done
  done
}

# Removes a tree but never what is mounted in it.
remove_tree() ( # PATH AT THE SITE
  target=$root$1
  if [ ! -e "$target" ] && [ ! -L "$target" ]; then exit 0; fi
  if [ -L "$target" ]; then
    rm -f -- "$target"
  elif ! mounts=$(mounts_below "$target"); then
    warn directory-stays "$target cannot be entered, so nobody can tell what is mounted in it; it stays" 'see why, then remove it'
  elif [ -z "$mounts" ]; then
    rm -rf -- "$target"
  elif [ -d "$target" ] && has_line "$mounts" "$(without_links "$target")"; then
    note "$target is a mount and stays"
  else
    for entry in $(find "$target" -mindepth 1 -maxdepth 1); do remove_tree "${entry#"$root"}"; done
    rmdir -- "$target" 2>/dev/null || :
  fi
)

remove_interfaces() {
  has ip || return 0
  for name in $(ip -o link show master cni0 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
    ip link delete "$name" 2>/dev/null || :
  done
  for name in $(ip netns list 2>/dev/null | sed -n 's/^\(cni-[^ ]*\).*/\1/p'); do ip netns delete "$name" 2>/dev/null || :; done
  for name in cni0 flannel.1 flannel-v6.1 kube-ipvs0 flannel-wg flannel-wg-v6; do
    ip link delete "$name" 2>/dev/null || :
  done
  if has tailscale; then tailscale set --advertise-routes= 2>/dev/null || :; fi
}

filter_rules() { # iptables|ip6tables
  has "$1-save" && has "$1-restore" || return 0
  rules=$("$1-save" 2>/dev/null) || return 0
  case $rules in
    *KUBE-* | *CNI-* | *flannel*) printf '%s\n' "$rules" | grep -v -e KUBE- -e CNI- -e flannel | "$1-restore" 2>/dev/null || : ;;
  esac
}
