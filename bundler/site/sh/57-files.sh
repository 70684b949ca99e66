# Every file of an install, in the order in which it is switched: at each instant what is there can start. One walk
# serves the plan, the dry run, the staging and the cleaning: each gives its own visitor.

for_every_file() { # VISITOR MODE-SOURCE-TARGET...
  visit=$1
  for_every_archive
  if [ "$action" = images-only ]; then return 0; fi
  if [ "$role" = server ]; then
    for path in $(files_below manifests); do "$visit" 600 "bundle:$path" "$data_dir/server/$path"; done
    for path in $(files_below charts); do "$visit" 644 "bundle:$path" "$data_dir/server/static/$path"; done
  fi
  for_carried
  if [ -z "$bin_read_only" ]; then "$visit" 755 "bundle:$(fact "binary.$arch")" "$bin_dir/k3s"; fi
  for_config etc/registries.yaml "$etc_dir/registries.yaml"
  for_config "$(bundled_config_path)" "$etc_dir/config.yaml"
  for_service
  if [ -z "$bin_read_only" ]; then
    for name in $links; do "$visit" link link:k3s "$bin_dir/$name"; done
    "$visit" 755 text:killall "$bin_dir/k3s-killall.sh"
    "$visit" 755 text:uninstall "$(uninstall_path)"
  fi
  "$visit" 755 bundle:install.sh "$state/install.sh"
  "$visit" 644 bundle:lock.json "$state/lock.json"
  "$visit" 600 text:receipt "$state/receipt"
}

# A docker site takes its images through the daemon, not from this directory.
for_every_archive() {
  if [ -n "$docker" ]; then return 0; fi
  for path in $(fact "archive.$arch"); do "$visit" 644 "bundle:$path" "$(images_dir)/${path##*/}"; done
}

for_config() { # SOURCE TARGET [MODE]
  if [ ! -f "$bundle/$1" ] || has_line "$kept" "$2"; then return 0; fi
  "$visit" "${3:-600}" "bundle:$1" "$2"
}

for_service() {
  if [ "$init" = none ]; then return 0; fi
  "$visit" 600 text:environment "$(environment_path)"
  if [ "$init" = openrc ]; then
    "$visit" 644 text:logrotate "/etc/logrotate.d/$service"
    "$visit" 755 text:init-script "$(unit_path)"
  else
    "$visit" 644 text:unit "$(unit_path)"
  fi
}

produce() { # SOURCE
  case $1 in
    bundle:*) cat "$bundle/${1#*:}" ;;
    text:environment) environment_text ;;
    text:init-script) init_script_text ;;
    text:killall) script_text killall 'Stops k3s and every pod on this host; keeps the data.' ;;
    text:logrotate) logrotate_text ;;
    text:receipt) receipt_text ;;
    text:uninstall) script_text uninstall "Removes $service from this host." ;;
    text:unit) unit_text ;;
  esac
}

hash_of() { sha256sum <"$1" | sed 's/ .*//'; } # FILE

expected_hash() { # SOURCE
  case $1 in
    bundle:*) sum_of "${1#*:}" ;;
    link:*) printf '%s\n' "$1" ;;
    *) produce "$1" | sha256sum | sed 's/ .*//' ;;
  esac
}

# Visitor: which targets differ from what the bundle wants.
changed=
expected=

plan_file() { # MODE SOURCE TARGET
  hash=$(expected_hash "$2")
  [ "$2" = text:receipt ] || expected=$expected"file=$hash $1 $3$newline"
  is_as_wanted "$1" "$hash" "$2" "$root$3" || changed=$changed$3$newline
}

is_as_wanted() { # MODE HASH SOURCE FILE
  if [ "$1" = link ]; then
    [ -L "$4" ] && [ "link:$(readlink "$4")" = "$2" ]
    return
  fi
  [ -f "$4" ] && [ ! -L "$4" ] && [ "$(stat -c %a "$4")" = "$1" ] || return 1
  case $3 in
    bundle:*) [ "$(stat -c %s "$4")" = "$(stat -c %s "$bundle/${3#*:}")" ] || return 1 ;;
  esac
  [ "$(hash_of "$4")" = "$2" ]
}

# Visitor: a changed file is written beside its target, checked there and brought to the disk.
readonly staged_suffix=.k3s-bundler-new

stage_file() { # MODE SOURCE TARGET
  has_line "$changed" "$3" || return 0
  staged=$root$3$staged_suffix
  make_directory "${3%/*}"
  rm -rf -- "$staged"
  case $2 in
    link:*) ln -s "${2#link:}" "$staged" || fail_write "$staged" ;;
    *)
      copy_source "$2" "$staged" "$1" || fail_write "$staged"
      [ "$(hash_of "$staged")" = "$(expected_hash "$2")" ] || fail $exit_integrity copy-differs \
        "the copy of ${2#*:} at $staged is not what SHA256SUMS says" 'is the disk full or failing? was the bundle changed meanwhile?'
      flush "$staged"
      ;;
  esac
}

copy_source() { # SOURCE FILE MODE
  case $1 in
    bundle:images/* | bundle:bin/*) copy_with_bar "$bundle/${1#*:}" "$2" ;;
    *) (umask 077 && produce "$1" >"$2") ;;
  esac && chmod "$3" "$2"
}

fail_write() { # FILE
  fail $exit_host write-failed "cannot write $1" "$(df -Pk "$(existing_part "${1%/*}")" 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9-]*%.*$/\1 KiB are free there; is the disk full or read-only?/p')"
}

# What is staged is written down before, for a run that was cut off may be followed by one of another bundle.
record_staged() {
  printf '%s' "$changed" >"$root$state/staged" || fail_write "$root$state/staged"
  flush "$root$state/staged"
}

clean_staged() {
  for path in $(cat "$root$state/staged" 2>/dev/null || :); do rm -rf -- "$root$path$staged_suffix"; done
  rm -f -- "$root$state/staged"
}

# Brings files and directories to the disk: after a power cut a renamed file that was not synced is empty.
flush() { sync "$@" 2>/dev/null || sync; }

# The directories an install makes, written down before the first of them, for the uninstall to remove.
record_directories() {
  make_directory "$state"
  recorded=$(cat "$root$state/directories" 2>/dev/null || :)
  for path in $changed $(enabling_link); do
    directory=${path%/*}
    while [ -n "$directory" ] && [ ! -d "$root$directory" ]; do
      recorded=$recorded$newline$directory
      directory=${directory%/*}
    done
  done
  new=$root$state/directories.new
  printf '%s\n' "$recorded" | sed '/^$/d' | sort -u >"$new" || fail_write "$new"
  flush "$new"
  mv -f "$new" "$root$state/directories" || fail_write "$root$state/directories"
}

remove_directories() {
  for directory in $(sort -r "$root$state/directories" 2>/dev/null || :); do rmdir -- "$root$directory" 2>/dev/null || :; done
}

made=

make_directory() { # PATH AT THE SITE
  missing=
  directory=$1
  while [ -n "$directory" ] && [ ! -d "$root$directory" ]; do
    missing=$directory$newline$missing
    directory=${directory%/*}
  done
  for directory in $missing; do
    mkdir "$root$directory" || fail_write "$root$directory"
    made=$made$directory$newline
  done
}

copy_with_bar() { # FROM TO
  if [ ! -t 2 ] || [ -n "$quiet$json" ]; then
    cp -- "$1" "$2"
    return
  fi
  total=$(stat -c %s "$1")
  cp -- "$1" "$2" &
  copying=$!
  while kill -0 "$copying" 2>/dev/null; do
    so_far=$(stat -c %s "$2" 2>/dev/null || printf 0)
    [ "$total" -eq 0 ] || printf '\r    %s %s%%' "${2##*/}" $((so_far * 100 / total)) >&2
    sleep 1
  done
  printf '\r\033[K' >&2
  wait "$copying"
}
