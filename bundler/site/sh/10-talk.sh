# What is said: steps and results on stdout, warnings and errors on stderr, everything in the log once there is one.

log_file=
json=
quiet=

log() { # TEXT
  [ -z "$log_file" ] || printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" >>"$log_file" 2>/dev/null || :
}

# A reader that went away (`| head`) or a full /dev/stdout never stops an install.
put() { # EVENT NAME TEXT
  log "$1: $3"
  if [ -n "$quiet" ] && [ "$1" != result ]; then return 0; fi
  if [ -n "$json" ]; then
    printf '{"event":"%s","name":"%s","text":"%s"}\n' "$1" "$2" "$(json_text "$3")" 2>/dev/null || :
  else
    case $1 in
      step) printf '==> %s\n' "$3" 2>/dev/null || : ;;
      note) printf '    %s\n' "$3" 2>/dev/null || : ;;
      *) printf '%s\n' "$3" 2>/dev/null || : ;;
    esac
  fi
}

step() { put step step "$1"; }
note() { put note note "$1"; }
result() { put result result "$1"; }

said_error=

complain() { # error|warning NAME TEXT HINT
  [ "$1" != error ] || said_error=yes
  log "$1[$2]: $3"
  if [ -n "$json" ]; then
    printf '{"event":"%s","name":"%s","text":"%s","hint":"%s"}\n' \
      "$1" "$2" "$(json_text "$3")" "$(json_text "$4")" 2>/dev/null || :
  else
    printf '%s[%s]: %s\n' "$1" "$2" "$3" >&2 2>/dev/null || :
    [ -z "$4" ] || printf '  hint: %s\n' "$4" >&2 2>/dev/null || :
  fi
}

warn() { complain warning "$@"; } # NAME TEXT HINT

fail() { # CODE NAME TEXT HINT
  complain error "$2" "$3" "$4"
  exit "$1"
}

json_text() { # TEXT: for a JSON string
  printf '%s' "$1" | tr '\001-\037' ' ' | sed 's/\\/\\\\/g; s/"/\\"/g'
}

human_size() { # BYTES
  if [ "$1" -ge 10485760 ]; then
    printf '%s MiB' $(($1 / 1048576))
  elif [ "$1" -ge 10240 ]; then
    printf '%s KiB' $(($1 / 1024))
  else
    printf '%s bytes' "$1"
  fi
}

# The very first check: without these nothing below can be trusted.
check_commands() {
  absent=
  for name in $required_commands; do
    has "$name" || absent="$absent $name"
  done
  [ -z "$absent" ] || fail $exit_host command-missing "commands are missing:$absent" \
    'install coreutils, findutils, grep and sed, or busybox with all its applets'
}
