# Preflight of a running host's network, read from /proc: nothing is sent anywhere.

check_network() {
  check_route
  check_nameserver
  is_active || check_ports
  check_ranges
}

# k3s takes its address from the interface of the default route and ends without one.
check_route() {
  ! grep -q '^[^[:space:]]*[[:space:]]00000000[[:space:]]' /proc/net/route || return 0
  ! sed -n '/^0\{32\} 00 /{/ lo$/!p;}' /proc/net/ipv6_route 2>/dev/null | grep -q . || return 0
  set -- no-default-route 'this host has no default route' \
    'add one; where there is no gateway a dummy does: ip link add dummy0 type dummy; ip addr add 203.0.113.254/31 dev dummy0; ip link set dummy0 up; ip route add default via 203.0.113.255 dev dummy0'
  if [ -n "$(flag_value --node-ip -i)$(setting node-ip)" ]; then warn "$@"; else problem "$@"; fi
}

check_nameserver() {
  grep -q -s '^nameserver[[:space:]]' /etc/resolv.conf || [ -n "${K3S_RESOLV_CONF-}$(setting resolv-conf)" ] ||
    warn nameserver '/etc/resolv.conf names no nameserver: CoreDNS would restart in a loop' 'give --resolv-conf FILE with a nameserver line'
}

check_ports() {
  wanted='10248
10249
10250
10256'
  if [ "$role" = server ]; then
    wanted="$wanted${newline}6443${newline}6444${newline}10257${newline}10258${newline}10259"
    if has_etcd; then wanted="$wanted${newline}2379${newline}2380"; fi
  fi
  if has_flag --embedded-registry || is_true "$(setting embedded-registry)"; then wanted="$wanted${newline}5001"; fi
  for port in $wanted; do
    inode=$(listening_socket "$(printf '%04X' "$port")")
    [ -z "$inode" ] || problem port-taken "port $port is taken by $(socket_holder "$inode")" 'stop that program'
  done
}

has_etcd() {
  has_flag --cluster-init || is_true "${K3S_CLUSTER_INIT-}" || is_true "$(setting cluster-init)" || [ -n "$(joined_server)" ]
}

# The socket in state 0A, which is LISTEN.
listening_socket() { # PORT IN HEXADECIMAL
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while IFS=' ' read -r _ address _ socket_state _ _ _ _ _ inode _; do
    case $address,$socket_state in
      *":$1,0A") printf '%s\n' "$inode" ;;
    esac
  done | sed -n 1p
}

socket_holder() ( # INODE
  set +f
  # shellcheck disable=SC2012
  holder=$(ls -ln /proc/[0-9]*/fd 2>/dev/null | sed -n -e '/^\/proc\//h' -e "/socket:\[$1\]/{g;s/^\/proc\/\([0-9]*\)\/.*/\1/p;q;}")
  printf '%s (process %s)\n' "$(cat "/proc/$holder/comm" 2>/dev/null || printf 'another program')" "${holder:-unknown}"
)

# Addresses in /proc/net/route are little-endian: 10.42.x.x is ????2A0A.
check_ranges() {
  [ -z "$(setting cluster-cidr)$(setting service-cidr)" ] || return 0
  for range in 42.2A 43.2B; do
    clash=$(sed -n "s/^\([^[:space:]]*\)[[:space:]]*[0-9A-F]\{4\}${range#*.}0A[[:space:]].*/\1/p" /proc/net/route |
      grep -v -e '^cni0$' -e '^flannel' -e '^kube-' | sed -n 1p)
    [ -z "$clash" ] || problem range-taken "10.${range%.*}.0.0/16, which the cluster uses, is routed over $clash" \
      'choose others: --cluster-cidr and --service-cidr'
  done
}
