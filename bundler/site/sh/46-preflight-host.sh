# Preflight of a running host: kernel, memory, cgroups, clock, names.

check_host() {
  check_memory
  check_cgroups
}

check_memory() {
  total=$(sed -n 's/^MemTotal:[^0-9]*\([0-9]*\).*/\1/p' /proc/meminfo)
  if [ "${total:-0}" -lt 460000 ]; then
    problem memory "this host has $((${total:-0} / 1024)) MiB of memory; k3s needs 512 MiB" 'add memory'
  elif [ "$role" = server ] && [ "$total" -lt 1900000 ]; then
    warn memory-small "this host has $((total / 1024)) MiB of memory; a server should have 2 GiB" ''
  fi
}

check_cgroups() { :; }
check_network() { :; }
