# What goes where: the service, its arguments, its directories.

role=
service=
bin_dir=
data_dir=
systemd_dir=
state=

readonly etc_dir=/etc/rancher/k3s
readonly state_base=/var/lib/k3s-bundler

# A run that says nothing of its own upgrades what is here: same role, arguments and environment as the receipt has.
recalled=
recall_install() {
  [ -z "$arguments${INSTALL_K3S_EXEC-}${INSTALL_K3S_NAME-}" ] || return 0
  ! env | grep -q -e '^K3S_[A-Z_]*=.' -e '^CONTAINERD_' -e '^KINE_' || return 0
  receipt=$(receipts)
  case $receipt in
    '' | *"$newline"*) return 0 ;;
  esac
  recalled=yes
  role=$(values_of role "$receipt")
  arguments=$(values_of argument "$receipt")
  arguments=${arguments:+$arguments$newline}
  service=$(values_of service "$receipt")
  : "${INSTALL_K3S_BIN_DIR=$(values_of bin_dir "$receipt")}"
  digest_names=${digest_names:-$(values_of digest_names "$receipt")}
  : "${INSTALL_K3S_SYSTEMD_DIR=$(values_of systemd_dir "$receipt")}"
  note "Taking role and arguments from the install that is here: $service"
}

# What only the service knows from then: its environment file.
recall_variables() {
  [ -n "$recalled" ] || return 0
  K3S_CLUSTER_INIT=$(kept_variable K3S_CLUSTER_INIT)
  K3S_CONFIG_FILE=$(kept_variable K3S_CONFIG_FILE)
  K3S_DATA_DIR=$(kept_variable K3S_DATA_DIR)
  K3S_NODE_NAME=$(kept_variable K3S_NODE_NAME)
  K3S_RESOLV_CONF=$(kept_variable K3S_RESOLV_CONF)
  K3S_URL=$(kept_variable K3S_URL)
  # Without a service there is no such file. A directory that the configuration names stays that file's affair.
  files=$(site_config_files)
  if [ ! -f "$root$(environment_path)" ] && { [ "$init" = none ] || [ "$action" = images-only ]; } &&
    [ -z "$(config_value data-dir $files)" ]; then
    K3S_DATA_DIR=$(values_of data_dir "$receipt")
  fi
}

receipts() {
  [ ! -d "$root$state_base" ] || find "$root$state_base" -name receipt -type f | grep -v '/removed/receipt$' | sort
}

# INSTALL_K3S_EXEC first, then the arguments, as upstream joins them. The first word is the command unless it is a flag.
find_role() {
  [ -z "$recalled" ] || return 0
  before=$(split_words "${INSTALL_K3S_EXEC-}") || exit $?
  arguments=${before:+$before$newline}$arguments
  first=${arguments%%"$newline"*}
  case $first in
    '' | =-*)
      role=server
      [ -z "${K3S_URL-}" ] || role=agent
      ;;
    *)
      role=${first#=}
      arguments=${arguments#*"$newline"}
      ;;
  esac
  case $role in
    server | agent) ;;
    *) fail $exit_usage unknown-command "k3s command '$role' is no service: server or agent" \
      "flags of k3s begin with a dash: sh install.sh server --disable traefik" ;;
  esac
}

check_join() {
  case ${K3S_URL-} in
    '' | https://*) ;;
    *) fail $exit_usage url-scheme "K3S_URL must begin with https://: ${K3S_URL-}" 'for example https://10.0.0.1:6443' ;;
  esac
  [ "$role" = agent ] && [ -z "$recalled" ] || return 0
  [ -n "${K3S_URL-}$(flag_value --server -s)$(configured server)" ] ||
    fail $exit_usage agent-without-server 'an agent must know its server' 'set K3S_URL=https://SERVER:6443'
  [ -n "${K3S_TOKEN-}${K3S_TOKEN_FILE-}$(flag_value --token-file)" ] || has_secret K3S_TOKEN ||
    [ -n "$(kept_environment)" ] ||
    [ -n "$(configured token)$(configured token-file)" ] ||
    fail $exit_usage agent-without-token 'an agent needs the token of its server' \
      'set K3S_TOKEN or K3S_TOKEN_FILE; on the server it is in /var/lib/rancher/k3s/server/node-token'
}

find_service() {
  if [ -n "$recalled" ]; then
    :
  elif [ -n "${INSTALL_K3S_NAME-}" ]; then
    service=k3s-$INSTALL_K3S_NAME
  elif [ "$role" = server ]; then
    service=k3s
  else
    service=k3s-$role
  fi
  case $service in
    *[!A-Za-z0-9_.@:-]*) fail $exit_usage service-name "'$service' cannot be the name of a service" \
      'use letters, digits, dot, dash and underscore in INSTALL_K3S_NAME' ;;
  esac
  state=$state_base/$service
  systemd_dir=${INSTALL_K3S_SYSTEMD_DIR:-/etc/systemd/system}
}

find_directories() {
  bin_dir=${INSTALL_K3S_BIN_DIR-}
  if [ -z "$bin_dir" ]; then
    bin_dir=/usr/local/bin
    if [ -d "$root/opt/bin" ] && ! can_write "$root/usr/local/bin"; then bin_dir=/opt/bin; fi
  fi
  # A file becomes flags of k3s, so it goes before a variable.
  data_dir=$(flag_value --data-dir -d)
  data_dir=${data_dir:-$(configured data-dir)}
  data_dir=${data_dir:-${K3S_DATA_DIR-}}
  data_dir=${data_dir:-/var/lib/rancher/k3s}
  check_directory INSTALL_K3S_BIN_DIR "$bin_dir"
  check_directory INSTALL_K3S_SYSTEMD_DIR "$systemd_dir"
  check_directory --data-dir "$data_dir"
  data_dir=${data_dir%/}
  case $data_dir in
    '' | /bin | /boot | /dev | /etc | /home | /lib | /opt | /proc | /root | /run | /sbin | /srv | /sys | /tmp | /usr | /var | /var/lib)
      fail $exit_usage data-dir-shared "the data directory may not be ${data_dir:-/}: an uninstall removes it" \
        'name a directory of its own, such as /var/lib/rancher/k3s' ;;
  esac
}

check_directory() { # NAME PATH
  case $2 in
    *[\"\'\\\$%\`]* | *"$newline"*) fail $exit_usage path-characters "$1: a quote, \$, %, \` or backslash in $2" 'use another path' ;;
    */../* | */.. | */./*) fail $exit_usage path-dots "$1: $2 is not a plain path" 'write it without . and ..' ;;
    /*) ;;
    *) fail $exit_usage path-relative "$1: $2 is not an absolute path" 'begin it with /' ;;
  esac
}

# The deepest directory of a path that exists already.
existing_part() ( # PATH
  path=$1
  while [ -n "$path" ] && [ ! -d "$path" ]; do path=${path%/*}; done
  printf '%s\n' "${path:-/}"
)

# [ -w ] says yes to root even on a read-only file system.
can_write() ( # DIRECTORY
  directory=$(existing_part "$1")
  [ -w "$directory" ] && ! read_only_mount "$directory"
)

read_only_mount() { has_mount_option "$1" ro; } # PATH

# A path as the kernel knows it; fails rather than say nothing, for every path begins with nothing.
without_links() ( # DIRECTORY
  physical=$(cd -P -- "$1" && pwd -P) && [ -n "$physical" ] || exit 1
  printf '%s\n' "$physical"
)

# Looks at the mount a path lies on, which is the longest mount point that leads to it.
has_mount_option() ( # PATH OPTION
  [ -r /proc/self/mounts ] || exit 1
  physical=$(without_links "$(existing_part "$1")") || exit 1
  set -- "$physical" "$2"
  best=
  found=
  while IFS=' ' read -r _ point _ options _; do
    point=$(mount_point "$point")
    case ${1%/}/ in
      "${point%/}"/*) [ ${#point} -ge ${#best} ] || continue ;;
      *) continue ;;
    esac
    best=$point
    found=
    case ,$options, in
      *",$2,"*) found=yes ;;
    esac
  done </proc/self/mounts
  [ -n "$found" ]
)

# The kernel writes a blank in a mount point as \040; printf reads \0040.
mount_point() { # TEXT
  case $1 in
    *\\*) printf '%b\n' "$(printf '%s\n' "$1" | sed 's/\\\([0-7]\)/\\0\1/g')" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

images_dir() { printf '%s/agent/images\n' "$data_dir"; }

unit_path() {
  case $init in
    openrc) printf '/etc/init.d/%s\n' "$service" ;;
    *) printf '%s/%s.service\n' "$systemd_dir" "$service" ;;
  esac
}

environment_path() {
  case $init in
    openrc) printf '%s/%s.env\n' "$etc_dir" "$service" ;;
    *) printf '%s/%s.service.env\n' "$systemd_dir" "$service" ;;
  esac
}

uninstall_path() { printf '%s/%s-uninstall.sh\n' "$bin_dir" "$service"; }
