# The command line. This installer's own options may stand anywhere; every other word belongs to k3s.

action=install
root=
live=yes # a running host; empty with --root
timeout=900
settle=15
keep_data=
config_choice=
init_choice=
forced=
allow_downgrade=
digest_names=
arguments=

readonly help_text="Usage: sh install.sh [OPTION]... [server|agent] [K3S FLAG]...

Installs k3s from the bundle this file lies in. Nothing is fetched. Upstream's variables (INSTALL_K3S_EXEC, K3S_URL,
K3S_TOKEN, ...) mean what they mean for get.k3s.io; docs/installer.md of k3s-bundler lists them all.

  --check              say everything that stands in the way of an install; change nothing
  --verify             check every file of the bundle; change nothing
  --dry-run            print every change an install would make; make none
  --images-only        put the image archives in place, nothing else
  --status             what is installed, and whether it still is as it was installed
  --rollback           go back to what the last install replaced
  --uninstall          remove k3s and its data        [--keep-data: leave the data directory and /etc/rancher]
  --killall            stop k3s and every pod; keep the data

  --root DIR           install into the tree at DIR; no service is started
  --init NAME          systemd, openrc or none, instead of what is found
  --config keep|replace  what happens to a config.yaml or registries.yaml edited by hand (default: keep)
  --timeout SECONDS    how long the service may take to come up (default 900)
  --settle SECONDS     how long it must then stay up (default 15)
  --force NAME         let the error NAME of preflight or --rollback pass; may be repeated
  --allow-downgrade    install an older release than the one that is here
  --digest-names       let pods find the images by repository@sha256:... too
  --json               one JSON object a line on stdout
  --quiet              no steps, only the result, warnings and errors
  --help               this text

Exit codes: 0 done, 1 unforeseen failure, 2 wrong use, 4 damaged bundle, 5 this host cannot take it, 6 another install
runs, 7 did not come up and was undone, 8 undoing failed, 9 not installed, 10 installed but not as it should be."

take_options() {
  words_only=
  while [ $# -gt 0 ]; do
    if [ -n "$words_only" ]; then
      add_argument "$1"
      shift
      continue
    fi
    case $1 in
      --check | --verify | --dry-run | --images-only | --status | --rollback | --uninstall | --killall)
        [ "$action" = install ] || [ "$action" = "${1#--}" ] ||
          fail $exit_usage two-actions "--$action and $1 cannot go together" 'give one of them'
        action=${1#--}
        ;;
      --help | -h) action=help ;;
      --keep-data) keep_data=yes ;;
      --digest-names) digest_names=yes ;;
      --allow-downgrade) allow_downgrade=yes ;;
      --json) json=yes ;;
      --quiet) quiet=yes ;;
      --root=* | --init=* | --timeout=* | --settle=* | --force=*) take_value "${1%%=*}" "${1#*=}" ;;
      --config=keep | --config=replace) config_choice=${1#*=} ;;
      --root | --init | --timeout | --settle | --force)
        [ $# -gt 1 ] || fail $exit_usage missing-value "$1 needs a value" "try: sh install.sh --help"
        take_value "$1" "$2"
        shift
        ;;
      --config)
        # k3s has a flag of the same name, whose value is a file.
        case ${2-} in
          keep | replace)
            config_choice=$2
            shift
            ;;
          *) add_argument "$1" ;;
        esac
        ;;
      --) words_only=yes ;;
      *)
        refuse_misspelt "$1"
        add_argument "$1"
        ;;
    esac
    shift
  done
  given_arguments=$arguments
}

# What k3s does not know it ends at: a misspelt question would restart a node.
refuse_misspelt() { # WORD
  case $1 in
    --che* | --ver* | --dry* | --images* | --stat* | --roll* | --unin* | --kill* | --keep* | --time* | --settl* | \
      --forc* | --allow* | --digest* | --json* | --quiet* | --help* | --init* | --instal* | --upgrad* | --remov* | --delet*)
      fail $exit_usage unknown-option "$1 is neither an option of this installer nor a flag of k3s" \
        'try: sh install.sh --help; what follows -- is given to k3s in any case' ;;
  esac
}

take_value() { # OPTION VALUE
  case $1 in
    --root) take_root "$2" ;;
    --force) forced=$forced$newline$2 ;;
    --init)
      case $2 in
        systemd | openrc | none) init_choice=$2 ;;
        *) fail $exit_usage unknown-init "--init $2: not one of systemd, openrc, none" '' ;;
      esac
      ;;
    --timeout | --settle)
      case $2 in
        '' | *[!0-9]* | ??????*) fail $exit_usage not-seconds "$1 $2: not a number of seconds" '' ;;
      esac
      if [ "$1" = --timeout ]; then timeout=$2; else settle=$2; fi
      ;;
  esac
}

take_root() { # DIR
  [ -d "$1" ] || fail $exit_usage root-missing "--root $1: no such directory" 'make it, or name the tree to install into'
  root=$(cd -P -- "$1" && pwd -P) || fail $exit_usage root-unreadable "--root $1 cannot be entered" ''
  case $root in
    *"$newline"*) fail $exit_usage root-newline 'the path given to --root holds a newline' 'rename the directory' ;;
    /) root= ;;
  esac
  live=
}

add_argument() { # WORD
  case $1 in
    *"$newline"*) fail $exit_usage newline-in-argument "a k3s argument holds a newline: $1" 'write it into config.yaml' ;;
  esac
  arguments=$arguments=$1$newline
}
