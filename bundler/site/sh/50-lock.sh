# One install at a time. The lock is a symbolic link whose target names its holder, so it is made and named in one step;
# boot id and start time tell a dead holder from a new process that got the same number.

held_lock=

take_lock() {
  mkdir -p "$root$state_base" && chmod 700 "$root$state_base" || fail_state
  lock=$root$state_base/lock
  holder="$(boot_id):$$:$(start_time $$)"
  if ! make_lock; then
    dead=$(readlink "$lock" || :)
    [ -z "$dead" ] || clear_lock "$dead"
    make_lock || make_lock_again "$dead"
  fi
  held_lock=$lock
  clear_moved_locks
}

make_lock() { ln -s "$holder" "$lock" 2>/dev/null; }

clear_lock() { # HOLDER
  ! is_alive "$1" || fail_busy "$1"
  note 'Clearing the lock of an install that was cut off'
  # Who comes too late for that finds no lock, or that of somebody who was faster.
  mv -f "$lock" "$lock.$$" 2>/dev/null || return 0
  moved=$(readlink "$lock.$$" || :)
  case $moved in
    # Moved, and removed by somebody who found it to be of the dead.
    '' | "$1") ;;
    # Somebody was faster and the lock is theirs: it goes back.
    *)
      if ln -s "$moved" "$lock" 2>/dev/null; then
        rm -f "$lock.$$"
        fail_busy "$moved"
      fi
      ;;
  esac
  rm -f "$lock.$$"
}

# Somebody was faster, or nobody can write here; who was faster may be done by now.
make_lock_again() { # HOLDER THAT IS DEAD, OR NOTHING
  other=$(readlink "$lock" || :)
  if [ -z "$other" ]; then
    if make_lock; then return 0; fi
    other=$(readlink "$lock" || :)
  fi
  if [ -n "$other" ] && [ "$other" != "$1" ]; then fail_busy "$other"; fi
  fail_state
}

# What runs left that were cut off between moving a lock aside and removing it.
clear_moved_locks() {
  for moved in $(find "$root$state_base" -maxdepth 1 -name 'lock.*' -type l); do
    is_alive "$(readlink "$moved" || :)" || rm -f -- "$moved"
  done
}

fail_state() {
  fail $exit_host state-unwritable "$root$state_base cannot be written to" \
    'is the file system read-only or full? mount it writable or free some space, then run this again'
}

fail_busy() { # HOLDER
  fail $exit_busy another-install "another install is running here (process ${1#*:})" 'wait until it ends, then run this again'
}

release_lock() {
  [ -z "$held_lock" ] || rm -f "$held_lock"
  held_lock=
}

boot_id() { cat /proc/sys/kernel/random/boot_id 2>/dev/null || printf 'no-boot-id\n'; }

# Field 22 of /proc/PID/stat, nothing for a dead process nobody has waited for; field 2 may hold blanks and parentheses.
start_time() ( # PID
  IFS= read -r line <"/proc/$1/stat" || exit 0
  line=${line##*) }
  IFS=' '
  set -- $line
  case $1 in
    Z | X) ;;
    *) printf '%s\n' "${20}" ;;
  esac
) 2>/dev/null

is_alive() ( # HOLDER
  IFS=:
  set -- $1
  [ "${1-}" = "$(boot_id)" ] && [ -n "${3-}" ] && [ "${3-}" = "$(start_time "${2-}")" ]
)
