# Files that a recipe carries to a place of their own: certificates, containerd templates, drop-ins, kernel settings.
#
#   file=<mode> <any|server|agent> <path in the bundle> <target: absolute, or data-dir/...>

carried_files= # `MODE PATH TARGET` of each file for this role

choose_carried() {
  own_targets=
  for_every_file note_target
  for line in $(fact file); do
    mode=${line%% *}
    line=${line#* }
    node_role=${line%% *}
    line=${line#* }
    source=${line%% *}
    check_carried "$mode" "$node_role" "$source" "${line#* }"
    case $node_role in
      any | "$role") add_carried "$mode" "$source" "$(site_target "${line#* }")" ;;
    esac
  done
}

note_target() { own_targets=$own_targets$3$newline; } # MODE SOURCE TARGET

check_carried() { # MODE ROLE PATH TARGET
  case $1,$2 in
    [0-7][0145][0145],any | [0-7][0145][0145],server | [0-7][0145][0145],agent) ;;
    *) fail_carried "$3" "'$1 $2' is no mode and role" ;;
  esac
  [ -n "$(sum_of "$3")" ] || fail_carried "$3" 'SHA256SUMS does not list it'
  case $4 in
    /dev/* | /proc/* | /sys/* | /run/* | /tmp/* | "$state_base"/* | *"$staged_suffix") fail_carried "$3" "$4 is no place for it" ;;
    *[!A-Za-z0-9._@+/-]* | *//* | */) fail_carried "$3" "$4 is not a plain path" ;;
    /?* | data-dir/?*) ;;
    *) fail_carried "$3" "$4 is neither absolute nor below data-dir/" ;;
  esac
  case $4/ in
    */./* | */../*) fail_carried "$3" "$4 is not a plain path" ;;
  esac
}

fail_carried() { # PATH REASON
  fail $exit_integrity file-fact "bundle.facts, file $1: $2" 'build the bundle again'
}

site_target() { # TARGET
  case $1 in
    data-dir/*) printf '%s/%s\n' "$data_dir" "${1#data-dir/}" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

add_carried() { # MODE PATH TARGET AT THE SITE
  ! has_line "$own_targets" "$3" || fail $exit_host file-conflict \
    "the bundle carries $2 for $3, where the installer puts a file of its own" \
    'use another --data-dir or INSTALL_K3S_BIN_DIR, or give the file another target in the recipe'
  own_targets=$own_targets$3$newline
  carried_files="$carried_files$1 $2 $3$newline"
}

for_carried() {
  for line in $carried_files; do
    rest=${line#* }
    for_config "${rest%% *}" "${rest#* }" "${line%% *}"
  done
}

module_names() { sed 's/[[:space:]]*[#;].*//; s/^[[:space:]]*//; /^$/d' "$1"; } # FILE

# The kernel takes them now, and from the files at each boot.
apply_kernel_settings() {
  [ -n "$live" ] || return 0
  for path in $changed; do
    case $path in
      /etc/modules-load.d/*.conf) load_modules "$path" ;;
    esac
  done
  # Modules first: a setting may be one of theirs.
  for path in $changed; do
    case $path in
      /etc/sysctl.d/*.conf) apply_sysctl "$path" ;;
    esac
  done
}

load_modules() { # PATH
  for module in $(module_names "$1"); do
    { has modprobe && modprobe -q "$module" 2>/dev/null; } || module_loads "$module" ||
      warn module-missing "the kernel module $module, which $1 names, cannot be loaded" \
        'install the kernel modules package of this distribution'
  done
}

apply_sysctl() { # PATH
  has sysctl && said=$(sysctl -p "$1" 2>&1) ||
    warn sysctl "the kernel does not take all of $1" "$(printf '%s\n' "${said:-there is no command sysctl}" | sed -n 1,5p)"
}

check_carried_modules() {
  for line in $carried_files; do
    rest=${line#* }
    case ${rest#* } in
      /etc/modules-load.d/*.conf) ;;
      *) continue ;;
    esac
    for module in $(module_names "$bundle/${rest%% *}"); do
      module_loads "$module" || warn module-missing "this kernel lacks the module $module, which the bundle asks for" \
        'install the kernel modules package of this distribution'
    done
  done
}

# An uninstall leaves what was edited since: it may be of use to others.
remove_carried() {
  for path in $(values_of carried "$root$state/receipt" 2>/dev/null || :); do
    if is_carried_elsewhere "$path" || [ ! -f "$root$path" ] || [ -L "$root$path" ]; then
      continue
    elif was_installed "$(hash_of "$root$path")" "$path"; then
      rm -f -- "$root$path"
    else
      note "$path was edited and stays"
    fi
  done
}

is_carried_elsewhere() ( # PATH
  for receipt in $(receipts); do
    [ "$receipt" = "$root$state/receipt" ] || ! grep -q -x -F "carried=$1" "$receipt" || exit 0
  done
  exit 1
)
