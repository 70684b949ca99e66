# The proof: the service is up and stays up, every image is there by name, a server's node is registered.

prove_install() {
  step "Waiting for $service to come up (at most $timeout seconds)"
  await_ready || fail_proof not-ready "$service did not come up: $reason"
  await_images || fail_proof images-absent "containerd lacks images of the bundle: $reason"
  prove_digest_names
  await_node || fail_proof node-absent "$reason"
  stays_up || fail_proof crashed "$service came up and went down again within $settle seconds"
}

prove_digest_names() { add_digest_names || fail_proof digest-names "containerd does not take the names by digest: $reason"; }

# With --images-only a k3s that runs takes what is new in the directory, or says nothing of it until it starts again.
prove_import() {
  [ "$action" = images-only ] && [ -n "$live" ] && is_active || return 0
  running=$(installed_release)
  running=${running:-$("$bin_dir/k3s" --version 2>/dev/null | sed -n 's/^k3s version \([^ ]*\).*/\1/p')}
  if [ -z "$docker" ] && ! imports_while_running "$running"; then
    warn restart-needed "k3s ${running:-of this host} imports images when it starts only: those of this bundle are not there yet" \
      "restart it: INSTALL_K3S_FORCE_RESTART=true sh install.sh, or restart the service $service"
    return 0
  fi
  await_images || fail_proof images-absent "containerd lacks images of the bundle: $reason"
  prove_digest_names
}

# Releases of January 2025 and later watch the directory (k3s-io/k3s#10973).
imports_while_running() ( # RELEASE
  number=$(release_number "$1")
  case $((number / 1000000)) in
    1029) least=13 ;;
    1030) least=9 ;;
    1031) least=5 ;;
    *) [ $((number / 1000000)) -ge 1032 ] && exit 0 || exit 1 ;;
  esac
  [ $((number / 1000 % 1000)) -ge "$least" ]
)

fail_proof() { # NAME TEXT
  words=$(last_words || :)
  fail $exit_undone "$1" "$2" "its last words were:$newline$words"
}

# Sets reason when it fails.
await_ready() {
  reason="not ready after $timeout seconds"
  waited=0
  first_restarts=
  while [ "$waited" -lt "$timeout" ]; do
    if [ "$init" = systemd ]; then
      shown=$(systemctl show -p ActiveState -p NRestarts "$service")
      # systemd before 235 does not count them.
      restarts=$(printf '%s\n' "$shown" | sed -n 's/^NRestarts=//p')
      first_restarts=${first_restarts:-${restarts:-0}}
      case $shown in
        *ActiveState=active*) return 0 ;;
        *ActiveState=failed*) reason='it failed' && return 1 ;;
      esac
      [ $((${restarts:-0} - first_restarts)) -lt 3 ] || { reason='it crashes again and again' && return 1; }
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

# A pod may ask for repository@sha256:..., by the digest the registry had. k3s of December 2025 and later gives such names
# itself, but by the digests of the bundle's own manifests, which differ from the registry's in most layer forms.
add_digest_names() {
  [ -n "$digest_names" ] || return 0
  if [ -n "$docker" ]; then
    warn digest-names 'docker keeps no image under a digest of its own choice' 'let pods name images by tag'
    return 0
  fi
  wanted=$(fact "digest.$arch")
  present=$(present_images)
  for line in $wanted; do
    has_line "$present" "${line#* }" ||
      "$bin_dir/k3s" ctr -n k8s.io images tag "${line%% *}" "${line#* }" >/dev/null 2>&1 || :
  done
  present=$(present_images)
  reason=
  for line in $wanted; do has_line "$present" "${line#* }" || reason="$reason ${line#* }"; done
  [ -z "$reason" ]
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
