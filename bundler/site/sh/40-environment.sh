# The service's environment file: upstream's choice of variables, and the secrets that would else stand in unit and `ps`.

secrets=

# Flags whose value is a secret become the variable k3s reads instead; a flag beats a variable, as in k3s.
hide_secrets() {
  shown=
  name=
  for word in $arguments; do
    word=${word#=}
    if [ -n "$name" ]; then
      secrets=$secrets$name=$word$newline
      name=
      continue
    fi
    name=$(secret_variable "${word%%=*}")
    case $word in
      *=*)
        [ -z "$name" ] || secrets=$secrets$name=${word#*=}$newline
        [ -n "$name" ] || shown=$shown=$word$newline
        name=
        ;;
      *) [ -n "$name" ] || shown=$shown=$word$newline ;;
    esac
  done
  [ -z "$name" ] || fail $exit_usage missing-value 'the last k3s flag has no value' ''
  arguments=$shown
}

secret_variable() { # FLAG
  case $1 in
    --token | -t) printf 'K3S_TOKEN\n' ;;
    --agent-token) printf 'K3S_AGENT_TOKEN\n' ;;
    --datastore-endpoint) printf 'K3S_DATASTORE_ENDPOINT\n' ;;
    --vpn-auth) printf 'K3S_VPN_AUTH\n' ;;
    --etcd-s3-secret-key) printf 'AWS_SECRET_ACCESS_KEY\n' ;;
  esac
}

environment_text() {
  if [ -n "$recalled" ]; then
    kept_environment
    return
  fi
  {
    env | while IFS= read -r line; do
      name=${line%%=*}
      ! is_service_variable "$name" || has_secret "$name" || printf '%s=%s\n' "$name" "$(double_quoted "${line#*=}")"
    done
    for line in $secrets; do printf '%s=%s\n' "${line%%=*}" "$(double_quoted "${line#*=}")"; done
    kept_environment
  } | sort -u
}

is_service_variable() { # NAME
  case $1 in
    *[!A-Za-z0-9_]*) return 1 ;;
    K3S_* | CONTAINERD_* | KINE_*) ;;
    [Hh][Tt][Tt][Pp]_[Pp][Rr][Oo][Xx][Yy] | [Hh][Tt][Tt][Pp][Ss]_[Pp][Rr][Oo][Xx][Yy] | [Nn][Oo]_[Pp][Rr][Oo][Xx][Yy]) ;;
    *) return 1 ;;
  esac
}

has_secret() { # NAME
  case $newline$secrets in
    *"$newline$1="*) ;;
    *) return 1 ;;
  esac
}

# A variable whose value goes on in a second line cannot be told apart from the next variable.
check_environment() {
  previous=
  for line in $(env); do
    case $line in
      [A-Za-z_]*=*) previous=${line%%=*} ;;
      *) ! is_service_variable "$previous" ||
        fail $exit_usage newline-in-variable "the value of $previous holds a newline" 'put it into config.yaml' ;;
    esac
  done
}

# What a re-run keeps of the file: everything when it says nothing of its own, else the tokens it does not name anew.
kept_environment() {
  [ -f "$root$(environment_path)" ] || return 0
  while IFS= read -r kept_line || [ -n "$kept_line" ]; do
    kept_name=${kept_line%%=*}
    if [ -n "$recalled" ]; then
      printf '%s\n' "$kept_line"
      continue
    fi
    case $kept_name in
      K3S_TOKEN) [ -n "${K3S_TOKEN-}${K3S_TOKEN_FILE-}" ] || has_secret K3S_TOKEN || printf '%s\n' "$kept_line" ;;
      K3S_AGENT_TOKEN) [ -n "${K3S_AGENT_TOKEN-}" ] || has_secret K3S_AGENT_TOKEN || printf '%s\n' "$kept_line" ;;
    esac
  done <"$root$(environment_path)"
}

kept_variable() { # NAME
  [ ! -f "$root$(environment_path)" ] || sed -n "s/^$1=//p" "$root$(environment_path)" | sed -n '$p' | sed 's/^"\(.*\)"$/\1/; s/\\\([\"$`]\)/\1/g'
}
