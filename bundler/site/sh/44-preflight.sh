# Preflight: everything that stands in the way, all at once, each with its remedy. Errors stop, warnings do not.

problems=0

problem() { # NAME TEXT REMEDY
  if has_line "$forced" "$1"; then
    complain warning "$1" "$2" 'let pass by --force'
  else
    problems=$((problems + 1))
    complain error "$1" "$2" "$3"
  fi
}

check_root() {
  [ "$(id -u)" = 0 ] || [ -z "$live" ] || fail $exit_host not-root 'this must run as root' "$(sudo_hint)"
}

# sudo drops variables unless told otherwise, and without K3S_URL an agent would become a server.
sudo_hint() {
  names=$(env | while IFS= read -r line; do
    case ${line%%=*} in
      INSTALL_K3S_*) printf '%s,' "${line%%=*}" ;;
      *) ! is_service_variable "${line%%=*}" || printf '%s,' "${line%%=*}" ;;
    esac
  done)
  printf 'with the same arguments: sudo %ssh %s\n' "${names:+--preserve-env=${names%,} }" "$(shell_word "$0")"
}

preflight() {
  step 'Looking for what stands in the way'
  check_binary
  check_targets
  check_data_dir
  check_room
  check_release_step
  if [ -z "$live" ]; then
    check_tree
  elif [ "$action" != images-only ]; then
    check_host
    check_network
  fi
  [ "$problems" -eq 0 ] || fail $exit_host preflight "$problems problem(s) stand in the way; nothing was changed" \
    'solve them, or let one pass by name: --force NAME'
}

# A tree that becomes the root of many hosts.
check_tree() {
  case $(cat "$root/etc/machine-id" 2>/dev/null || :) in
    '' | uninitialized) ;;
    *) warn machine-id-shared "$root/etc/machine-id is set: every host made from this tree would have it" \
      'empty it before the tree is copied, and remove var/lib/dbus/machine-id' ;;
  esac
}

check_binary() {
  binary=$(fact "binary.$arch")
  found=$(elf_arch "$bundle/$binary")
  [ "$found" = "$arch" ] || problem binary-architecture "$binary is for $found, this machine is $arch" 'build the bundle again'
  [ -n "$bin_read_only" ] || return 0
  if [ ! -x "$root$bin_dir/k3s" ]; then
    problem binary-absent "$bin_dir/k3s is not there, and INSTALL_K3S_BIN_DIR_READ_ONLY forbids to put it there" 'put k3s there first'
  elif [ "$(hash_of "$root$bin_dir/k3s")" != "$(sum_of "$binary")" ]; then
    problem binary-differs "$bin_dir/k3s is not the k3s of this bundle" 'put that of the bundle there'
  fi
}

# A target may be a file or a link, which are replaced whole; never a directory, never on a read-only file system.
check_targets() {
  for path in $changed $gone; do
    [ ! -d "$root$path" ] || [ -L "$root$path" ] ||
      problem target-directory "$root$path is a directory" 'move it away'
    directory=$(existing_part "$root${path%/*}")
    [ -w "$directory" ] || problem target-unwritable "$directory cannot be written to" 'run this as root'
    is_inside_root "$directory" || problem target-outside-root \
      "$directory leads out of $root by a link: the host's own files would be changed" 'make the link relative, or run this in a chroot'
    ! read_only_mount "$directory" || problem target-read-only "$directory is on a read-only file system" \
      'mount it writable, or use INSTALL_K3S_BIN_DIR=/opt/bin and --data-dir'
  done
}

is_inside_root() { # DIRECTORY
  [ -n "$root" ] || return 0
  case $(cd -P -- "$1" && pwd -P)/ in
    "$root"/*) ;;
    *) return 1 ;;
  esac
}

# k3s would begin a new cluster there, and leave the old one lying.
check_data_dir() {
  [ -f "$root$state/receipt" ] && [ "$action" != images-only ] || return 0
  here=$(values_of data_dir "$root$state/receipt")
  [ "$here" = "$data_dir" ] || problem data-dir-moved \
    "$service has its data in $here and would look for it in $data_dir" \
    "give --data-dir $here, or set data-dir in $(config_file); to move it, stop $service, move $here and let this pass"
}

# Bytes of changed files by file system, with the layers unpacked by containerd where the data directory lies.
check_room() {
  devices=
  for_every_file measure_file
  [ "$action" = images-only ] || [ -n "$docker" ] || [ -z "$changed" ] || measure "$(existing_part "$root$data_dir")" "$(unpacked_size)"
  ! wants_datastore_copy || measure "$(existing_part "$root$state")" "$(datastore_size)"
  for device in $(printf '%s' "$devices" | sed 's/ .*//' | sort -u); do
    needed=0
    directory=
    for line in $devices; do
      [ "${line%% *}" = "$device" ] || continue
      rest=${line#* }
      needed=$((needed + (${rest%% *} + 1023) / 1024))
      directory=${rest#* }
    done
    free=$(df -Pk "$directory" 2>/dev/null | sed -n '2s/^.* \([0-9][0-9]*\)  *[0-9-]*%.*$/\1/p')
    # In a chroot without /proc nobody can tell.
    [ -z "$free" ] || [ "$free" -ge "$needed" ] || problem disk-full \
      "$directory has $free KiB free, $needed KiB are needed" 'free some space, or use another --data-dir'
  done
}

# With what k3s unpacks of itself, which is less than four times its own size.
unpacked_size() {
  size=$(fact "unpacked.$arch")
  case $size in
    '' | *[!0-9]*) size=0 ;;
  esac
  printf '%s\n' "$((size + 4 * $(stat -c %s "$bundle/$(fact "binary.$arch")")))"
}

measure_file() { # MODE SOURCE TARGET
  has_line "$changed" "$3" || return 0
  case $2 in
    bundle:*) measure "$(existing_part "$root${3%/*}")" "$(stat -c %s "$bundle/${2#*:}")" ;;
    *) measure "$(existing_part "$root${3%/*}")" 4096 ;;
  esac
}

measure() { # DIRECTORY BYTES
  devices=$devices$(stat -c %d "$1")" $2 $1$newline"
}

# Kubernetes supports no skipped minor and no way back over one.
check_release_step() {
  here=$(installed_release)
  there=$(fact release)
  [ -n "$here" ] && [ "$action" != images-only ] || return 0
  old=$(release_number "$here")
  new=$(release_number "$there")
  if [ "$new" -lt "$old" ] && [ -z "$allow_downgrade" ]; then
    problem downgrade "$here is installed, the bundle carries the older $there" \
      'use --rollback, or --allow-downgrade when the datastore is known to fit'
  elif [ $((new / 1000000 - old / 1000000)) -gt 1 ]; then
    problem minor-skipped "from $here to $there a minor release is skipped" 'upgrade by one minor release at a time'
  fi
  if [ "$((old / 1000000))" -lt 1034 ] && [ "$((new / 1000000))" -ge 1034 ] && [ -d "$root$data_dir/server/db/etcd" ]; then
    warn etcd-step "v1.34 brings etcd 3.6: $here must carry etcd 3.5.26 or newer" \
      'upgrade to a v1.32 or v1.33 release of January 2026 or later first'
  fi
}

# v1.34.1+k3s2 -> 1034001002, to compare; its millions are the minor release.
release_number() ( # TAG
  tag=${1#v}
  suffix=${tag##*+k3s}
  [ "$suffix" != "$tag" ] || suffix=0
  IFS=.
  set -- ${tag%%[-+]*}
  IFS=$newline
  suffix=${suffix%%[!0-9]*}
  printf '%d\n' "$((${1:-0} * 1000000000 + ${2:-0} * 1000000 + ${3:-0} * 1000 + ${suffix:-0}))"
)
