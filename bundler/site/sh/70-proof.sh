# The proof: the service is up and stays up, every image is there by name, a server's node is registered.

prove_install() {
  step "Waiting for $service to come up (at most $timeout seconds)"
  await_ready || fail_proof not-ready "$service did not come up: $reason"
  await_images || fail_proof images-absent "containerd lacks images of the bundle: $reason"
  await_node || fail_proof node-absent "$reason"
  stays_up || fail_proof crashed "$service came up and went down again within $settle seconds"
}

fail_proof() { # NAME TEXT
  words=$(last_words || :)
  fail $exit_undone "$1" "$2" "its last words were:$newline$words"
}

# Sets reason when it fails.
await_ready() {
  reason="not ready after $timeout seconds"
  waited=0
  first_starts=
  while [ "$waited" -lt "$timeout" ]; do
    if [ "$init" = systemd ]; then
      shown=$(systemctl show -p ActiveState -p NRestarts "$service")
      starts=$(printf '%s\n' "$shown" | sed -n 's/^NRestarts=//p')
      first_starts=${first_starts:-${starts:-0}}
      case $shown in
        *ActiveState=active*) return 0 ;;
        *ActiveState=failed*) reason='it failed' && return 1 ;;
      esac
      [ $((${starts:-0} - first_starts)) -lt 3 ] || { reason='it crashes again and again' && return 1; }
    elif is_active && openrc_ready; then
      return 0
    fi
    sleep 1
    waited=$((waited + 1))
  done
  return 1
}

# supervise-daemon knows no readiness: the API of a server answers, an agent's containerd lists images.
openrc_ready() {
  if [ "$role" = server ]; then
    "$bin_dir/k3s" kubectl get --raw /readyz >/dev/null 2>&1
  else
    present_images >/dev/null 2>&1
  fi
}

present_images() {
  if [ -n "$docker" ]; then
    docker image ls --format '{{.Repository}}:{{.Tag}}'
  else
    "$bin_dir/k3s" ctr -n k8s.io images ls -q
  fi
}

await_images() {
  step 'Checking that every image is there'
  wanted=$(fact "image.$arch")
  waited=0
  while :; do
    absent=
    present=$(present_images 2>/dev/null || :)
    for image in $wanted; do
      has_line "$present" "$image" || { [ -n "$docker" ] && has_line "$present" "$(docker_name "$image")"; } ||
        absent="$absent $image"
    done
    [ -n "$absent" ] || return 0
    reason=${absent# }
    [ "$waited" -lt "$image_timeout" ] && [ "$waited" -lt "$timeout" ] || return 1
    sleep 1
    waited=$((waited + 1))
  done
}

# Docker shows docker.io/library/x as x.
docker_name() { # IMAGE
  name=${1#docker.io/}
  printf '%s\n' "${name#library/}"
}

readonly image_timeout=120

await_node() {
  [ "$role" = server ] && ! has_flag --disable-agent || return 0
  waited=0
  reason="the node did not register within $timeout seconds"
  while [ "$waited" -lt "$timeout" ]; do
    nodes=$("$bin_dir/k3s" kubectl get nodes -o name 2>/dev/null || :)
    for node in $nodes; do
      case $node in
        "node/$node_name" | "node/$node_name"-*) return 0 ;;
      esac
    done
    sleep 1
    waited=$((waited + 1))
  done
  return 1
}

stays_up() {
  process=$(main_process)
  waited=0
  while [ "$waited" -lt "$settle" ]; do
    sleep 1
    waited=$((waited + 1))
    is_active && [ "$(main_process)" = "$process" ] || return 1
  done
}
