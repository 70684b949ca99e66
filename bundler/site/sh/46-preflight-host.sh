# Preflight of a running host: processor, memory, kernel, cgroups, names, clock, mounts, what else is installed.

check_host() {
  check_processor
  check_memory
  check_kernel
  check_cgroups
  check_names
  check_clock
  check_mounts
  check_other_installs
  check_selinux
  check_surroundings
}

check_processor() {
  count=$(grep -c '^processor' /proc/cpuinfo || :)
  if [ "$role" = server ] && [ "$count" -lt 2 ]; then
    warn processor "this host has $count processor; a server should have 2" ''
  fi
}

check_memory() {
  total=$(sed -n 's/^MemTotal:[^0-9]*\([0-9]*\).*/\1/p' /proc/meminfo)
  if [ "${total:-0}" -lt 460000 ]; then
    warn memory "this host has $((${total:-0} / 1024)) MiB of memory; k3s needs 512 MiB" 'add memory'
  elif [ "$role" = server ] && [ "$total" -lt 1900000 ]; then
    warn memory "this host has $((total / 1024)) MiB of memory; a server should have 2 GiB" ''
  fi
  [ "$(wc -l </proc/swaps | tr -d ' ')" -le 1 ] || warn swap 'swap is on; the kubelet expects it off' 'swapoff -a, and remove it from /etc/fstab'
}

check_kernel() {
  kernel=$(uname -r)
  major=${kernel%%.*}
  minor=${kernel#*.}
  minor=${minor%%[!0-9]*}
  [ $((major * 1000 + minor)) -ge 4011 ] || warn kernel "kernel $kernel is older than 4.11" 'k3s may not run; use a newer kernel'
  grep -q '[[:space:]]overlay$' /proc/filesystems || module_loads overlay ||
    problem overlay 'this kernel has no overlay file system' 'install the kernel modules package of this distribution'
  [ -d /proc/sys/net/bridge ] || module_loads br_netfilter ||
    warn br-netfilter 'the kernel module br_netfilter is not there' 'install the kernel modules package of this distribution'
  check_carried_modules
  case $(setting flannel-backend) in
    wireguard-native*) module_loads wireguard ||
      problem wireguard 'the flannel backend wireguard-native needs the kernel module wireguard' 'install it, or use another backend' ;;
  esac
}

module_loads() { # MODULE: asks, and loads nothing
  [ -d "/sys/module/$(printf '%s\n' "$1" | tr - _)" ] || { has modprobe && modprobe -n -q "$1" 2>/dev/null; }
}

# k3s ends at its start when one of these is missing.
check_cgroups() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    controllers=" $(cat /sys/fs/cgroup/cgroup.controllers) "
  else
    controllers=" $(sed -n 's/^\([a-z_]*\)[[:space:]].*[[:space:]]1$/\1/p' /proc/cgroups | tr '\n' ' ') "
  fi
  lacking=
  for name in cpu cpuset memory; do
    case $controllers in
      *" $name "*) ;;
      *) lacking="$lacking $name" ;;
    esac
  done
  [ -z "$lacking" ] || problem cgroups "the kernel offers no cgroup controller for$lacking" "$(cgroup_remedy)"
}

cgroup_remedy() {
  options='cgroup_memory=1 cgroup_enable=memory'
  if [ -f /etc/update-extlinux.conf ]; then
    printf 'add "cgroup_enable=cpuset %s" to default_kernel_opts in /etc/update-extlinux.conf, run update-extlinux and reboot\n' "$options"
  elif grep -q -s 'Raspberry Pi' /proc/device-tree/model; then
    file=/boot/firmware/cmdline.txt
    [ -f "$file" ] || file=/boot/cmdline.txt
    printf 'append "%s" to the one line of %s and reboot\n' "$options" "$file"
  else
    printf 'boot the kernel with %s\n' "$options"
  fi
}

check_names() {
  case $node_name in
    localhost | localhost.*) problem node-name "the node would be called '$node_name'" 'set a host name of its own, or K3S_NODE_NAME' ;;
    '' | *[!a-z0-9.-]* | [.-]* | *[.-]) problem node-name "'$node_name' cannot be the name of a node" \
      'set a host name of letters, digits and dashes, or K3S_NODE_NAME' ;;
  esac
  [ -s /etc/machine-id ] || [ "$init" = openrc ] || problem machine-id '/etc/machine-id is missing or empty' 'systemd-machine-id-setup'
}

# A bundle has no clock in it. Before the year 2024 there was no installer of this kind: that clock lost its battery.
check_clock() {
  now=$(date -u +%s)
  [ "$now" -ge 1704067200 ] || problem clock "the clock of this host says $(date -u +%Y-%m-%d): certificates made now would be useless" \
    'set the clock: date -u -s "YYYY-MM-DD HH:MM"'
}

check_mounts() {
  ! has_mount_option "$data_dir" noexec || problem data-dir-noexec "$data_dir is mounted noexec: k3s runs programs from there" \
    'mount it exec, or use another --data-dir'
  case :$PATH: in
    *":$bin_dir:"*) ;;
    *) warn path "$bin_dir is not on this PATH (sudo may leave it out)" "call $bin_dir/k3s by its full path" ;;
  esac
}

check_other_installs() {
  for file in $(find /etc/systemd/system "$systemd_dir" /etc/init.d -maxdepth 1 \( -name 'k3s.service' -o -name 'k3s-agent.service' \
    -o -path /etc/init.d/k3s -o -path /etc/init.d/k3s-agent \) 2>/dev/null | sort -u); do
    [ "$file" = "$(unit_path)" ] || problem other-role "another k3s service is installed here: $file" \
      'a node has one role: uninstall that one first'
  done
  binary=$root$bin_dir/k3s
  if [ -e "$binary" ] && [ ! -f "$root$state/receipt" ] && [ -z "$bin_read_only" ] && has_line "$changed" "$bin_dir/k3s"; then
    problem foreign-k3s "$binary was not put there by this installer" 'uninstall it, or take it over with --force foreign-k3s'
  fi
  if [ -z "$docker" ] && [ -S /run/containerd/containerd.sock ]; then
    warn other-containerd 'another containerd runs on this host; k3s brings its own beside it' ''
  fi
  [ -z "$docker" ] || has docker || problem docker-absent 'k3s --docker needs docker' 'install docker, or leave --docker out'
}

check_surroundings() {
  if [ "$init" = systemd ]; then
    for name in firewalld ufw nm-cloud-setup; do
      ! systemctl is-active --quiet "$name" 2>/dev/null || warn "$name" "$name is active" "$(surroundings_remedy "$name")"
    done
  fi
  [ "$(config_file)" = "$etc_dir/config.yaml" ] || warn config-elsewhere \
    "k3s is told to read $(config_file) instead of $etc_dir/config.yaml" "the bundle's own config.yaml has no effect then"
}

surroundings_remedy() { # NAME
  case $1 in
    nm-cloud-setup) printf 'systemctl disable --now nm-cloud-setup.service nm-cloud-setup.timer, then reboot\n' ;;
    *) printf 'open 6443/tcp, and trust 10.42.0.0/16 and 10.43.0.0/16\n' ;;
  esac
}
