# SELinux: the policy k3s needs comes as a package in the bundle, for hosts that enforce.

selinux_enforces() { [ "$(cat /sys/fs/selinux/enforce 2>/dev/null || :)" = 1 ]; }

has_selinux_policy() { [ -n "$(find /usr/share/selinux -name 'k3s.pp*' 2>/dev/null)" ]; }

# The bundle's package for this distribution, by the mark in its name.
selinux_package() {
  family=$(values_of ID_LIKE /etc/os-release)$(values_of ID /etc/os-release)
  version=$(values_of VERSION_ID /etc/os-release | tr -d '"')
  case $family in
    *coreos*) mark=coreos ;;
    *suse* | *sles*) mark=sle ;;
    *) mark=el${version%%.*} ;;
  esac
  files_below rpms | grep "k3s-selinux.*\.$mark\." | sed -n 1p
}

check_selinux() {
  selinux_enforces && [ "${INSTALL_K3S_SKIP_SELINUX_RPM-}" != true ] && ! has_selinux_policy || return 0
  [ -z "$(selinux_package)" ] || ! has rpm || return 0
  set -- selinux-policy 'SELinux enforces, and the policy k3s-selinux is neither installed nor in the bundle' \
    'put k3s-selinux for this distribution into the recipe (rpms), or install it'
  if [ "${INSTALL_K3S_SELINUX_WARN-}" = true ]; then warn "$@"; else problem "$@"; fi
}

readonly selinux_mark=$state_base/selinux-package # there when the package came with an install, and goes with the last

install_selinux_package() { # PATH IN THE BUNDLE
  step "Installing $1"
  printf '' >"$root$selinux_mark" || fail_write "$root$selinux_mark"
  said=$(rpm -U "$bundle/$1" 2>&1) ||
    fail $exit_host selinux-package "$1 cannot be installed: $said" 'its dependencies (container-selinux, selinux-policy) must be there'
}

remove_selinux_package() {
  [ -f "$root$selinux_mark" ] || return 0
  if has rpm; then rpm -e k3s-selinux >/dev/null 2>&1 || :; fi
  rm -f -- "$root$selinux_mark"
}

needed_selinux_package() {
  [ -n "$live" ] && [ "${INSTALL_K3S_SKIP_SELINUX_RPM-}" != true ] || return 0
  ! selinux_enforces || has_selinux_policy || ! has rpm || selinux_package
}

apply_selinux() {
  [ -n "$live" ] && [ "${INSTALL_K3S_SKIP_SELINUX_RPM-}" != true ] || return 0
  package=$(needed_selinux_package)
  [ -z "$package" ] || install_selinux_package "$package"
  if has restorecon; then
    for path in $changed; do restorecon "$root$path" 2>/dev/null || :; done
  fi
}
