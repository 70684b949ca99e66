# The YAML of k3s's configuration: keys at the left, each with a scalar on its line or a list below. What is in another form
# is refused where it is about a key that counts here, rather than read for something else.

# Of the keys only these are ever asked for.
is_read_key() { # KEY, OR NOTHING BEFORE THE FIRST
  case ${1%+} in
    '' | '<<' | server | s | token | t | token-file | data-dir | d | docker | node-name | node-ip | i | flannel-backend | \
      cluster-cidr | service-cidr | cluster-init | resolv-conf | embedded-registry) ;;
    *) return 1 ;;
  esac
}

check_config_form() {
  for file in $(site_config_files) $config_layers; do
    read_key=
    for line in $(config_lines "$file"); do
      case $line in
        '!') ! is_read_key "$read_key" || fail $exit_host config-form \
          "$file: ${read_key:-its beginning} is written in a form of YAML that this installer does not read" \
          "write ${read_key:-a key} at the left and its value behind it on the same line, plain or in quotes without escapes" ;;
        -*) ;;
        *) read_key=${line%%:*} ;;
      esac
    done
  done
}

# What YAML 1.1 and the flags of k3s take for true.
is_true() { # VALUE
  case $1 in
    1 | [TtYy] | true | True | TRUE | yes | Yes | YES | on | On | ON) ;;
    *) return 1 ;;
  esac
}

# A top-level value as k3s reads its configuration: a later file wins, `KEY+` adds, items of a list get commas between, a
# key of one letter is the short flag.
config_value() ( # KEY FILE...
  key=$1
  case $key in
    data-dir | server | token) short=${key%"${key#?}"} ;;
    node-ip) short=i ;;
    *) short=$key ;;
  esac
  shift
  value=
  for file in "$@"; do
    inside=
    for line in $(config_lines "$file"); do
      case $line in
        "$key:"* | "$short:"*)
          value=
          inside=yes
          ;;
        "$key+:"* | "$short+:"*) inside=yes ;;
        -*) line=:${line#-} ;;
        *) inside= ;;
      esac
      line=${line#*:}
      [ -z "$inside" ] || value=${value:+$value${line:+,}}$line
    done
  done
  printf '%s\n' "$value"
)

# `KEY:VALUE` for what stands at the left, `-VALUE` for an item, `!` for what is in another form, or goes on with what is
# before it. The first line may begin with a byte order mark.
config_lines() ( # FILE
  [ -f "$1" ] || exit 0
  sed '1s/^[^[:print:][:space:]]*//; s/[[:space:]]*$//; /^[[:space:]]*#/d; /^$/d; /^---$/d; /^{}$/d' "$1" |
    while IFS= read -r line || [ -n "$line" ]; do
      indentation=${line%%[![:blank:]]*}
      word=${line#"$indentation"}
      name=
      case $word in
        - | -[[:blank:]]*) name=- word=${word#-} ;;
        # A key that is not plain may be any key.
        ['{[?&*!|>@%`']*) [ -n "$indentation" ] || name=: word=! ;;
        *:*) [ -n "$indentation" ] || name=$(plain_key "${word%%:*}"): word=${word#*:} ;;
      esac
      if [ -n "$name" ] && read_scalar "$word"; then
        printf '%s%s\n' "$name" "$scalar"
      else
        printf '%s!\n' "${name:+$name$newline}"
      fi
    done
)

plain_key() { # TEXT BEFORE THE COLON
  name=${1%"${1##*[![:blank:]]}"}
  case $name in
    \"*\" | \'*\') name=${name#?} name=${name%?} ;;
  esac
  printf '%s' "$name"
}

# Sets `scalar` to what stands on one line, without quotes and comment; fails where that is not all of it.
read_scalar() { # TEXT
  scalar=${1#"${1%%[![:blank:]]*}"}
  case $scalar in
    \"* | \'*)
      read_quoted
      return
      ;;
    '|'* | '>'* | '&'* | '*'* | '!'* | '{'* | '@'* | '%'* | '`'*) return 1 ;;
    '#'*) scalar= ;;
  esac
  scalar=${scalar%%[[:blank:]]#*}
  scalar=${scalar%"${scalar##*[![:blank:]]}"}
  case $scalar in
    '~' | null | Null | NULL) scalar= ;;
    '['*']')
      scalar=${scalar#?}
      scalar=${scalar%?}
      ;;
    '['*) return 1 ;;
  esac
}

read_quoted() {
  quote=${scalar%"${scalar#?}"}
  scalar=${scalar#?}
  rest=${scalar#*"$quote"}
  [ "$rest" != "$scalar" ] || return 1
  scalar=${scalar%%"$quote"*}
  case $quote$scalar in
    \"*\\*) return 1 ;;
  esac
  rest=${rest#"${rest%%[![:blank:]]*}"}
  case $rest in
    '' | '#'*) ;;
    *) return 1 ;;
  esac
}
