# The texts that are written at the site: unit, init script, logrotate, the two scripts beside the binary, the receipt.

unit_text() {
  printf '%s\n' '[Unit]' 'Description=Lightweight Kubernetes' 'Documentation=https://k3s.io' \
    'Wants=network-online.target' 'After=network-online.target' '' \
    '[Install]' 'WantedBy=multi-user.target' '' \
    '[Service]' "Type=${INSTALL_K3S_TYPE:-notify}" \
    'EnvironmentFile=-/etc/default/%N' 'EnvironmentFile=-/etc/sysconfig/%N' "EnvironmentFile=-$(environment_path)" \
    'KillMode=process' 'Delegate=yes' 'User=root' 'LimitNOFILE=1048576' 'LimitNPROC=infinity' 'LimitCORE=infinity' \
    'TasksMax=infinity' 'TimeoutStartSec=0' 'Restart=always' 'RestartSec=5s' \
    'ExecStartPre=-/sbin/modprobe br_netfilter' 'ExecStartPre=-/sbin/modprobe overlay'
  printf 'ExecStart=%s %s' "$(unit_word "$bin_dir/k3s")" "$role"
  for word in $arguments; do printf ' \\\n    %s' "$(unit_word "${word#=}")"; done
  printf '\n'
}

# OpenRC evaluates command_args once more, so each word is quoted for the shell and the whole for double quotes.
init_script_text() {
  words=$role
  for word in $arguments; do words="$words $(shell_word "${word#=}")"; done
  log=/var/log/$service.log
  printf '%s\n' '#!/sbin/openrc-run' '' 'description="Lightweight Kubernetes"' '' \
    'depend() {' '  after network-online' '  want cgroups' '}' '' \
    'start_pre() {' '  rm -rf /tmp/k3s.*' '}' '' \
    'supervisor=supervise-daemon' "name=$service" "command=$(shell_word "$bin_dir/k3s")" \
    "command_args=$(double_quoted "$words >>$log 2>&1")" "output_log=$log" "error_log=$log" \
    "pidfile=/var/run/$service.pid" 'respawn_delay=5' 'respawn_max=0' '' \
    'set -o allexport' 'if [ -f /etc/environment ]; then . /etc/environment; fi' \
    "if [ -f $(environment_path) ]; then . $(environment_path); fi" 'set +o allexport'
}

logrotate_text() {
  printf '%s\n' "/var/log/$service.log {" '  missingok' '  notifempty' '  copytruncate' '}'
}

# A copy of this installer stays at the site, so that it can be stopped, undone and removed without the stick.
# shellcheck disable=SC2016
script_text() { # ACTION WHAT
  printf '%s\n' '#!/bin/sh' "# $2" '[ "$(id -u)" = 0 ] || { sudo "$0" "$@"; exit; }' "installer=$(shell_word "$state/install.sh")" \
    'if [ ! -r "$installer" ]; then' \
    "  echo \"\$installer is missing. Run from the bundle: sh install.sh --$1\" >&2" '  exit 1' 'fi' \
    "INSTALL_K3S_NAME=$(shell_word "$(service_suffix)") exec sh \"\$installer\" --$1 $role \"\$@\""
}

service_suffix() {
  case $service in
    k3s | k3s-agent) ;;
    *) printf '%s\n' "${service#k3s-}" ;;
  esac
}

# What an action without the bundle needs to know; read_names reads it.
names_text() {
  printf '%s\n' "service=$service" "role=$role" "init=$init" "bin_dir=$bin_dir" "data_dir=$data_dir" "systemd_dir=$systemd_dir"
}

receipt_text() {
  names_text
  printf '%s\n' 'format=1' "recipe=$(fact recipe)" "release=$(fact release)" "arch=$arch" \
    "bundle=$(sha256sum <"$bundle/SHA256SUMS" | sed 's/ .*//')"
  for word in $arguments; do printf 'argument=%s\n' "$word"; done
  [ -z "$digest_names" ] || printf 'digest_names=yes\n'
  for image in $(fact "image.$arch"); do printf 'image=%s\n' "$image"; done
  for line in $carried_files; do
    path=${line#* * }
    has_line "$kept" "$path" || printf 'carried=%s\n' "$path"
  done
  printf '%s' "$expected"
}
