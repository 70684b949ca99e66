# The bundle: where it lies, what it says of itself, whether every byte is there.

bundle=
sums=

find_bundle() {
  script=$0
  [ -f "$script" ] || fail $exit_usage no-script-file 'the installer is read from a pipe, so it cannot find its bundle' \
    'run it from its file: sh install.sh'
  while [ -L "$script" ]; do
    link=$(readlink "$script")
    case $link in
      /*) script=$link ;;
      *) script=$(directory_of "$script")/$link ;;
    esac
  done
  bundle=$(cd -P -- "$(directory_of "$script")" && pwd -P && printf x) ||
    fail $exit_usage bundle-unreadable "the directory of $script cannot be entered" ''
  bundle=${bundle%"$newline"x}
}

directory_of() { # PATH
  case $1 in
    /*/*) printf '%s\n' "${1%/*}" ;;
    /*) printf '/\n' ;;
    */*) printf './%s\n' "${1%/*}" ;;
    *) printf '.\n' ;;
  esac
}

fact() { values_of "$1" "$bundle/bundle.facts"; } # KEY

# Checks every file of the bundle against SHA256SUMS; nothing of the bundle is used before.
verify_bundle() {
  for name in SHA256SUMS bundle.facts; do
    [ -f "$bundle/$name" ] && [ -r "$bundle/$name" ] ||
      fail $exit_integrity not-a-bundle "$bundle has no readable $name" 'copy the whole bundle again'
  done
  sums=$(cat "$bundle/SHA256SUMS") && [ -n "$sums" ] ||
    fail $exit_integrity sums-empty "$bundle/SHA256SUMS is empty" 'copy the whole bundle again'
  check_sums_lines
  check_bundle_tree
  step "Checking $(printf '%s\n' "$sums" | wc -l | tr -d ' ') files of the bundle"
  said=$(cd -- "$bundle" && sha256sum -c SHA256SUMS 2>&1) ||
    fail $exit_integrity file-damaged "the bundle is damaged: $(damaged_names "$said")" \
      'copy the bundle again, and check the stick: --verify on the machine that built it must pass'
  [ "$(fact format)" = 1 ] || fail $exit_integrity facts-format \
    "bundle.facts has format '$(fact format)', this installer reads format 1" 'use the install.sh of this very bundle'
}

damaged_names() ( # OUTPUT OF sha256sum -c
  names=
  for line in $1; do
    case $line in
      *': FAILED'*) names="$names ${line%: FAILED*}" ;;
    esac
  done
  printf '%s\n' "${names:- sha256sum did not get to its end}"
)

# GNU text form, no path twice, nothing that leads out of the bundle: `<64 hex><two blanks><path>`.
check_sums_lines() {
  ! grep -q '^$' "$bundle/SHA256SUMS" || fail_sums '' 'an empty line'
  for line in $sums; do
    path=${line#*  }
    case ${line%%  *} in
      *[!0-9a-f]*) fail_sums "$line" 'no lower-case SHA-256 at its start' ;;
      ????????????????????????????????????????????????????????????????) ;;
      *) fail_sums "$line" 'no SHA-256 of 64 digits followed by two blanks at its start' ;;
    esac
    case /$path/ in
      *//* | */./* | */../* | *\\* | *[[:cntrl:]]*) fail_sums "$line" 'a path that leads out of the bundle or is not plain' ;;
    esac
    case $path in
      SHA256SUMS | SHA256SUMS.sig | -*) fail_sums "$line" 'a name that cannot be listed' ;;
    esac
  done
  names=$(printf '%s\n' "$sums" | sed 's/^[0-9a-f]*  //')
  [ "$(printf '%s\n' "$names" | sort)" = "$(printf '%s\n' "$names" | sort -u)" ] ||
    fail_sums "$names" 'a path is listed twice'
  has_line "$names" install.sh && has_line "$names" bundle.facts ||
    fail_sums install.sh 'install.sh or bundle.facts is not listed'
}

fail_sums() { # LINE REASON
  fail $exit_integrity sums-malformed "SHA256SUMS: $2: $1" 'copy the bundle again; do not edit SHA256SUMS'
}

# Every file listed, every listed file a regular file, nothing else in the tree.
check_bundle_tree() {
  found=$(cd -- "$bundle" && find . ! -type d | sed 's/^\.\///' | grep -v -x -e SHA256SUMS -e 'SHA256SUMS\.sig' | sort)
  listed=$(printf '%s\n' "$sums" | sed 's/^[0-9a-f]*  //' | sort)
  for path in $listed; do
    has_line "$found" "$path" ||
      fail $exit_integrity file-missing "the bundle lacks $path" 'copy the whole bundle again'
  done
  for path in $found; do
    has_line "$listed" "$path" || fail $exit_integrity file-extra "the bundle holds $path, which SHA256SUMS does not list" \
      'remove it, or copy the bundle into an empty directory'
    [ -f "$bundle/$path" ] && [ ! -L "$bundle/$path" ] ||
      fail $exit_integrity not-a-file "$path is no regular file" 'copy the whole bundle again'
  done
}

sum_of() ( # PATH IN THE BUNDLE
  for line in $sums; do
    [ "${line#*  }" != "$1" ] || printf '%s\n' "${line%%  *}"
  done
)

files_below() ( # DIRECTORY OF THE BUNDLE
  for line in $sums; do
    case ${line#*  } in
      "$1"/*) printf '%s\n' "${line#*  }" ;;
    esac
  done
)
