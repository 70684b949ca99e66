# A change of the site: written down with everything it replaces before it begins, undone from that record.
#
#   transaction/   open: what is there may be half new. Its journal and numbered files say how to go back.
#   previous/      closed: the record of the last change, for --rollback.

transaction_open=
silent= # why the old version did not come up

# Big files that nobody edits in place are kept by a second link, which takes no room; others are copied.
keep_old() { # PATH AT THE SITE, COPY
  if [ ! -L "$root$1" ] && [ "$(stat -c %s "$root$1")" -gt 1048576 ] && ln "$root$1" "$2" 2>/dev/null; then return 0; fi
  cp -pP -- "$root$1" "$2" && { [ -L "$2" ] || flush "$2"; }
}

# Unlike a receipt's, this release is the one to go back to.
begin_transaction() {
  new=$root$state/transaction.new
  make_directory "$state"
  chmod 700 "$root$state"
  rm -rf -- "$new"
  mkdir "$new" || fail_write "$new"
  journal="$(names_text)${newline}release=$(installed_release)${newline}enabled=$(is_enabled && echo yes || echo no)
active=$(is_active && echo yes || echo no)${newline}action=$action$newline"
  number=0
  for path in $changed $gone; do
    if [ -e "$root$path" ] || [ -L "$root$path" ]; then
      number=$((number + 1))
      keep_old "$path" "$new/$number" || fail_write "$new/$number"
      journal=${journal}old="$number $(old_hash "$new/$number") $path$newline"
    else
      journal=${journal}new=$path$newline
    fi
  done
  for directory in $made; do journal=${journal}directory=$directory$newline; done
  printf '%s' "$journal" >"$new/journal" || fail_write "$new/journal"
  flush "$new/journal" "$new"
  mv "$new" "$root$state/transaction" || fail_write "$root$state/transaction"
  flush "$root$state"
  transaction_open=yes
}

old_hash() { # FILE
  if [ -L "$1" ]; then printf 'link\n'; else hash_of "$1"; fi
}

installed_release() { [ ! -f "$root$state/receipt" ] || values_of release "$root$state/receipt"; }

switch_files() {
  for path in $changed; do put_in_place "$root$path$staged_suffix" "$root$path" || fail_write "$root$path"; done
  for path in $changed; do flush "$root${path%/*}"; done
}

# `mv` onto a directory, or a link to one, would move into it.
put_in_place() { # FROM TO
  [ ! -d "$2" ] || [ ! -L "$2" ] || rm -f -- "$2"
  [ ! -d "$2" ] || return 1
  mv -f -- "$1" "$2"
}

close_transaction() {
  for path in $gone; do rm -f -- "$root$path"; done
  rm -rf -- "$root$state/discard" "$root$state/datastore"
  [ ! -d "$root$state/previous" ] || mv "$root$state/previous" "$root$state/discard"
  mv "$root$state/transaction" "$root$state/previous"
  transaction_open=
  flush "$root$state"
  rm -rf -- "$root$state/discard"
}

# Idempotent, so that an undo that was cut off is simply done again.
undo_transaction() {
  record=$root$state/transaction
  stop_service_for_undo "$record/journal"
  for line in $(values_of old "$record/journal"); do
    number=${line%% *}
    path=${line#* * }
    put_back "$record/$number" "$root$path" || return 1
  done
  # What was not switched yet goes too, or the directories made for it would stay.
  for path in $(values_of new "$record/journal"); do rm -f -- "$root$path" "$root$path$staged_suffix" || return 1; done
  put_back_datastore "$record" || return 1
  put_back_service "$record/journal" || return 1
  rm -rf -- "$root$state/undone"
  mv "$record" "$root$state/undone" || return 1
  transaction_open=
  finish_undo
}

say_stuck() { # WHAT TO DO IN THE END
  if [ -n "$silent" ]; then
    complain error undo-failed "everything is put back, but $service does not come up: $silent" \
      "see why, for example with $bin_dir/k3s $role --debug; when it can start, $1; its last words were:$newline$(last_words || :)"
  else
    complain error undo-failed "cannot put back what $root$state/transaction holds" "free some disk space, then $1"
  fi
}

fail_stuck() { # WHAT TO DO IN THE END
  say_stuck "$1"
  exit $exit_stuck
}

finish_undo() {
  directories=$(values_of directory "$root$state/undone/journal" 2>/dev/null | sort -r)
  rm -rf -- "$root$state/undone"
  clean_staged
  forget_first_install
  for directory in $directories; do rmdir -- "$root$directory" 2>/dev/null || :; done
}

forget_first_install() {
  if [ ! -f "$root$state/receipt" ]; then
    recorded=$(sort -r "$root$state/directories" 2>/dev/null || :)
    rm -f -- "$root$state/directories" "$root$state/directories.new"
    for directory in $recorded; do rmdir -- "$root$directory" 2>/dev/null || :; done
  fi
  [ -n "$(receipts)" ] || remove_selinux_package
}

is_same() { # COPY FILE
  [ -f "$2" ] && [ ! -L "$1" ] && [ ! -L "$2" ] && [ "$(stat -c %a:%u:%g:%s "$1")" = "$(stat -c %a:%u:%g:%s "$2")" ] || return 1
  [ "$(stat -c %d:%i "$1")" = "$(stat -c %d:%i "$2")" ] || [ "$(hash_of "$1")" = "$(hash_of "$2")" ]
}

# By a link where it can be: going back must not need room on a full disk.
put_back() { # COPY FILE
  if is_same "$1" "$2"; then return 0; fi
  rm -f -- "$2$staged_suffix"
  if [ -L "$1" ] || ! ln "$1" "$2$staged_suffix" 2>/dev/null; then
    cp -pP -- "$1" "$2$staged_suffix" || return 1
    [ -L "$1" ] || flush "$2$staged_suffix"
  fi
  put_in_place "$2$staged_suffix" "$2"
}

# What an install that was cut off left: half done is undone first, then the new one begins.
recover_all() {
  left=$([ ! -d "$root$state_base" ] || find "$root$state_base" -maxdepth 2 \( -name staged -o -name transaction \
    -o -name transaction.new -o -name undone -o -name discard -o -name removed \) | sort)
  [ -n "$left" ] || return 0
  begin_work
  for record in $left; do
    state=${record#"$root"}
    state=${state%/*}
    if [ "${record##*/}" = transaction ]; then
      step 'An earlier install was cut off: going back to what was there before it'
      read_names "$record/journal"
      undo_transaction || fail_stuck 'run this again'
    fi
    clear_leftovers
  done
  arguments=$given_arguments
  init=
}

clear_leftovers() {
  [ ! -d "$root$state/undone" ] || finish_undo
  clean_staged
  rm -rf -- "$root$state/transaction.new"
  if [ -d "$root$state/discard" ] && [ ! -d "$root$state/previous" ]; then mv "$root$state/discard" "$root$state/previous"; fi
  rm -rf -- "$root$state/discard"
}

run_rollback() {
  begin_work
  record=$root$state/previous
  if [ -d "$root$state/undone" ]; then
    finish_undo
    result "$service is back at $(installed_release)"
    return
  fi
  [ -d "$root$state/transaction" ] || {
    [ -f "$record/journal" ] || fail $exit_usage nothing-to-roll-back "there is no earlier install of $service to go back to" ''
    [ -n "$(values_of release "$record/journal")" ] || fail $exit_usage nothing-to-roll-back \
      "the last install of $service was its first" 'to remove it: sh install.sh --uninstall'
    check_record "$record"
    refuse_to_part_members "$record"
    step "Going back to $(values_of release "$record/journal")"
    record_said_alone "$record"
    mv "$record" "$root$state/transaction"
  }
  undo_transaction || fail_stuck 'run --rollback again'
  result "$service is back at $(installed_release)"
}

check_record() { # DIRECTORY
  for line in $(values_of old "$1/journal"); do
    number=${line%% *}
    rest=${line#* }
    { [ -e "$1/$number" ] || [ -L "$1/$number" ]; } && [ "$(old_hash "$1/$number")" = "${rest%% *}" ] ||
      fail $exit_integrity backup-damaged "the kept copy of ${rest#* } is missing or damaged" \
        'install the bundle of the older release with --allow-downgrade instead'
  done
}
