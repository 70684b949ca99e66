# The machine: its architecture, its init system. Nothing of the bundle is ever run to find out.

arch=
init=

find_arch() {
  machine=${ARCH:-$(uname -m)}
  case $machine in
    amd64 | x86_64) arch=amd64 ;;
    arm64 | aarch64) arch=arm64 ;;
    arm | armhf | armv6* | armv7* | armv8l) arch=arm ;;
    *) fail $exit_host arch-unknown "k3s has no release for a machine of type '$machine'" \
      'k3s runs on amd64 (x86_64), arm64 (aarch64) and arm (armv7l)' ;;
  esac
  carried=$(fact arch)
  has_line "$carried" "$arch" || fail $exit_host arch-absent \
    "this machine is $arch ($machine); the bundle is for $(printf '%s' "$carried" | tr '\n' ' ')" \
    "build it again with --arch $arch"
}

# Reads the ELF header: with binfmt_misc a foreign binary would run, and some shells run a foreign one as a script.
elf_arch() ( # FILE
  header=$(od -An -tx1 -N20 "$1" | tr -d ' \n')
  case $header in
    7f454c4602??????????????????????????3e00) printf 'amd64\n' ;;
    7f454c4602??????????????????????????b700) printf 'arm64\n' ;;
    7f454c4601??????????????????????????2800) printf 'arm\n' ;;
    7f454c46*) printf 'another architecture\n' ;;
    *) printf 'no ELF file\n' ;;
  esac
)

# systemd is told by what runs, not by what is installed: many hosts carry both.
find_init() {
  init=$init_choice
  [ -z "$init" ] || return 0
  if [ -n "$live" ]; then
    if [ -d /run/systemd/system ]; then
      init=systemd
    elif [ -d /run/openrc ] && [ -x /sbin/openrc-run ]; then
      init=openrc
    fi
  elif [ -x "$root/lib/systemd/systemd" ] || [ -x "$root/usr/lib/systemd/systemd" ]; then
    init=systemd
  elif [ -x "$root/sbin/openrc-run" ] || [ -x "$root/usr/sbin/openrc-run" ]; then
    init=openrc
  fi
  [ -n "$init" ] || fail $exit_host no-init-system "neither systemd nor OpenRC runs${root:+ in $root}" \
    'in a chroot or container use --root / (no service is started), or name it: --init systemd|openrc|none'
}

# The value of a flag among the k3s arguments: `--name VALUE`, `--name=VALUE`; the last one wins.
flag_value() ( # NAME [SHORT]
  value=
  next=
  for word in $arguments; do
    word=${word#=}
    if [ -n "$next" ]; then
      value=$word
      next=
      continue
    fi
    case $word in
      "$1" | "${2:-$1}") next=yes ;;
      "$1="* | "${2:-$1}="*) value=${word#*=} ;;
    esac
  done
  printf '%s\n' "$value"
)

has_flag() { # NAME: a switch, given as `--name` or `--name=true`
  has_line "$arguments" "=$1" || has_line "$arguments" "=$1=true"
}
