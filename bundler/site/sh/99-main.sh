# How a run ends: staged files go, an open transaction is undone, the lock is given back.
on_exit() { # STATUS
  status=$1
  trap - EXIT
  trap '' INT TERM
  say_unforeseen
  if [ -n "$transaction_open" ]; then
    step 'Putting everything back'
    if ! undo_transaction; then
      say_stuck 'run sh install.sh --rollback'
      status=$exit_stuck
    fi
  fi
  if [ -n "$held_lock" ]; then
    if [ -n "$state" ]; then
      clean_staged
      rm -rf -- "$root$state/transaction.new" "$root$state/directories.new"
      [ -d "$root$state/transaction" ] || forget_first_install
    fi
    for directory in $(printf '%s' "$made" | sort -r); do rmdir -- "$root$directory" 2>/dev/null || :; done
    release_lock
    rmdir "$root$state_base" 2>/dev/null || :
  fi
  exit "$status"
}

# A command that failed without a word of ours, with whatever status it has.
say_unforeseen() {
  case $status in
    0 | "$exit_usage" | "$exit_integrity" | "$exit_host" | "$exit_busy" | "$exit_undone" | "$exit_stuck" | "$exit_absent" | "$exit_drift") return 0 ;;
    130 | 143) return 0 ;;
  esac
  status=$exit_bug
  [ -n "$said_error" ] || complain error unforeseen 'a command failed that was not expected to' \
    "the lines above and ${log_file:-the log} say more; run it again when that is solved"
}

on_signal() { # NAME STATUS
  complain error interrupted "interrupted by $1" 'everything is put back; run it again'
  exit "$2"
}

# Lock and log: from here on the site may change.
begin_work() {
  [ -z "$held_lock" ] || return 0
  take_lock
  log_file=$root/var/log/k3s-bundler.log
  mkdir -p "$root/var/log" && (umask 077 && printf '' >>"$log_file") 2>/dev/null || log_file=
  log "begin: $action"
  clear_removed
}

# An uninstall that was cut off at its very last step is finished, and a first install that was cut off before it replaced
# anything is cleared up; else there is nothing.
finish_removal() {
  left=$(cut_off_early)
  [ "$action" = uninstall ] && { [ -n "$left" ] || [ -L "$root$state_base/lock" ]; } ||
    fail $exit_absent not-installed "no k3s installed by this installer${root:+ in $root}" ''
  begin_work
  for record in $left; do
    state=${record#"$root"}
    [ -d "$record" ] || continue
    clear_leftovers
    forget_first_install
    rmdir -- "$record" 2>/dev/null || :
  done
  result 'What was cut off is cleared up'
  exit 0
}

# The directories of services without receipt and journal, and one that is removed but for its name.
cut_off_early() {
  for directory in $(find "$root$state_base" -mindepth 1 -maxdepth 1 -type d ! -name saved 2>/dev/null | sort); do
    if [ "${directory##*/}" = removed ] || { [ ! -f "$directory/receipt" ] && [ ! -d "$directory/transaction" ]; }; then
      printf '%s\n' "$directory"
    fi
  done
}

main() {
  trap 'on_exit $?' EXIT
  trap 'on_signal SIGINT 130' INT
  trap 'on_signal SIGTERM 143' TERM
  # A lost terminal or a reader that went away does not stop an install.
  trap '' HUP PIPE
  check_commands
  take_options "$@"
  case $action in
    help)
      printf '%s\n' "$help_text" 2>/dev/null || :
      return
      ;;
    status)
      show_status
      return
      ;;
    rollback | uninstall | killall)
      check_root
      read_receipt || finish_removal
      run_"$action"
      return
      ;;
  esac
  find_bundle
  verify_bundle
  if [ "$action" = verify ]; then
    result 'The bundle is whole'
    return
  fi
  find_arch
  check_root
  case $action in
    install | images-only) recover_all ;;
  esac
  decide
  preflight
  case $action in
    check) result 'Nothing stands in the way of an install' ;;
    dry-run) show_changes ;;
    install | images-only) install_bundle ;;
  esac
}

main "$@"
