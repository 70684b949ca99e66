# The service, for systemd and OpenRC alike. With --root nothing is asked of the host: enabling is a link.

# The link that both systemd and OpenRC make to enable a service.
enabling_link() {
  case $init in
    systemd) printf '%s\n' "$systemd_dir/multi-user.target.wants/$service.service" ;;
    openrc) printf '%s\n' "/etc/runlevels/default/$service" ;;
  esac
}

is_enabled() { [ "$init" != none ] && [ -L "$root$(enabling_link)" ]; }

is_active() {
  [ -n "$live" ] || return 1
  case $init in
    systemd) systemctl is-active --quiet "$service" ;;
    openrc) [ -x "/etc/init.d/$service" ] && rc-service "$service" status >/dev/null 2>&1 ;;
    *) return 1 ;;
  esac
}

reload_services() {
  if [ -n "$live" ] && [ "$init" = systemd ]; then systemctl daemon-reload; fi
}

# systemd goes on listing a unit without a file when it failed, or when its cgroup was not gone as the file went.
forget_service() {
  [ -n "$live" ] && [ "$init" = systemd ] || return 0
  systemctl reset-failed "$service.service" 2>/dev/null || :
  waited=0
  while [ "$waited" -lt 10 ] && systemctl list-units --all --no-legend "$service.service" | grep -q not-found; do
    sleep 1
    systemctl daemon-reload
    waited=$((waited + 1))
  done
}

enable_service() {
  if is_enabled; then return 0; fi
  if [ -z "$live" ]; then
    enable_by_link
    return
  fi
  case $init in
    systemd) systemctl enable --quiet "$service" ;;
    openrc) rc-update add "$service" default >/dev/null ;;
  esac
}

enable_by_link() {
  link=$root$(enabling_link)
  mkdir -p "${link%/*}" && ln -sf "$(unit_path)" "$link"
}

disable_service() {
  if ! is_enabled; then return 0; fi
  if [ -n "$live" ]; then
    case $init in
      systemd) systemctl disable --quiet "$service" 2>/dev/null || : ;;
      openrc) rc-update delete "$service" default >/dev/null 2>&1 || : ;;
    esac
  fi
  rm -f -- "$root$(enabling_link)"
}

# Asks for a start and comes back at once: waiting is the proof's business.
restart_service() {
  case $init in
    systemd)
      systemctl reset-failed "$service" 2>/dev/null || :
      systemctl restart --no-block "$service"
      ;;
    # What this shell ignores, the service would ignore too.
    openrc) (trap - HUP PIPE && rc-service "$service" restart >/dev/null 2>&1 </dev/null) ;;
  esac
}

stop_service() {
  if [ -z "$live" ]; then return 0; fi
  case $init in
    systemd) systemctl stop "$service" 2>/dev/null || : ;;
    openrc) [ ! -x "/etc/init.d/$service" ] || rc-service "$service" stop >/dev/null 2>&1 </dev/null || : ;;
  esac
}

# The process that serves; it changes when the service crashes and is started again.
main_process() {
  case $init in
    systemd) systemctl show -p MainPID "$service" | sed 's/.*=//' ;;
    openrc) children_of "$(cat "/var/run/$service.pid" 2>/dev/null)" ;;
  esac
}

children_of() ( # PID
  set +f
  [ -z "$1" ] || grep -s "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status | sed 's/^\/proc\/\([0-9]*\)\/.*/\1/'
)

last_words() {
  case $init in
    systemd) ! has journalctl || journalctl -u "$service" -n 15 --no-pager -o cat 2>/dev/null ;;
    openrc) sed -n '$p' "/var/log/$service.log" 2>/dev/null ;;
  esac
}

stop_service_for_undo() { # JOURNAL
  if [ -n "$live" ] && [ "$init" != none ] && ! is_of_images "$1" && is_active_or_starting; then stop_service; fi
}

is_active_or_starting() {
  case $init in
    systemd)
      case $(systemctl show -p ActiveState "$service" | sed 's/.*=//') in
        active | activating | reloading) ;;
        *) return 1 ;;
      esac
      ;;
    *) is_active ;;
  esac
}

# Images alone came and go: the service, which may be somebody else's, is let run.
is_of_images() { [ "$(values_of action "$1")" = images-only ]; } # JOURNAL

put_back_service() { # JOURNAL
  if [ "$init" = none ] || is_of_images "$1"; then return 0; fi
  reload_services || return 1
  [ "$(values_of enabled "$1")" = yes ] || disable_service
  # A first install that failed leaves nothing running: containerd and its pods outlive the service.
  if [ -z "$(values_of release "$1")" ]; then
    [ -n "$(receipts)" ] || kill_everything
    forget_service
  fi
  if [ -n "$live" ] && [ "$(values_of active "$1")" = yes ]; then
    # However short the new version's time was: the old one has time to come up.
    [ "$timeout" -ge 120 ] || timeout=120
    silent='its start was refused'
    restart_service || return 1
    await_ready || { silent=$reason && return 1; }
    silent=
  fi
}
