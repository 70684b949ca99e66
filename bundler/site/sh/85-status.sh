# What is installed here.

# Takes service, role and directories from the receipt, for actions that need no bundle.
read_receipt() {
  found=$(receipts)
  [ -n "$found" ] || found=$root$state_base/k3s/receipt
  if [ -n "${INSTALL_K3S_NAME-}" ]; then
    found=$root$state_base/k3s-$INSTALL_K3S_NAME/receipt
  elif [ -n "$arguments" ]; then
    case $arguments in
      =server*) found=$root$state_base/k3s/receipt ;;
      *) first=${arguments%%"$newline"*} && found=$root$state_base/k3s-${first#=}/receipt ;;
    esac
  fi
  case $found in
    *"$newline"*) fail $exit_usage several-installs "several k3s services are installed: $(printf '%s' "$found" | tr '\n' ' ')" \
      'name one: sh install.sh server|agent --status' ;;
  esac
  state=${found#"$root"}
  state=${state%/receipt}
  [ -f "$found" ] || [ -d "${found%/*}/transaction" ] || return 1
  if [ -f "$found" ]; then read_names "$found"; else read_names "${found%/*}/transaction/journal"; fi
}

read_names() { # RECEIPT OR JOURNAL
  service=$(values_of service "$1")
  role=$(values_of role "$1")
  init=$(values_of init "$1")
  bin_dir=$(values_of bin_dir "$1")
  data_dir=$(values_of data_dir "$1")
  systemd_dir=$(values_of systemd_dir "$1")
  arguments=$(values_of argument "$1")$newline
}

show_status() {
  [ ! -d "$root$state_base" ] || [ -r "$root$state_base" ] ||
    fail $exit_host not-root "$root$state_base, where it is written down, can be read by root only" "$(sudo_hint)"
  read_receipt || fail $exit_absent not-installed "no k3s installed by this installer${root:+ in $root}" ''
  result "$service $(installed_release), $role, $(values_of arch "$root$state/receipt"), data in $data_dir"
  drift=
  for line in $(values_of file "$root$state/receipt"); do
    rest=${line#* }
    is_as_wanted "${rest%% *}" "${line%% *}" "${line%% *}" "$root${rest#* }" || drift=$drift${rest#* }$newline
  done
  for path in $drift; do warn file-differs "$path is not as it was installed" ''; done
  if [ -d "$root$state/transaction" ]; then
    warn unfinished 'an install was cut off' 'run sh install.sh again, or sh install.sh --rollback'
    drift=unfinished
  fi
  if [ -n "$live" ] && [ "$init" != none ] && ! is_active; then
    warn not-running "$service is not running" "$(last_words || :)"
    drift=stopped
  fi
  [ -z "$drift" ] || exit $exit_drift
}
