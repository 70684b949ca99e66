# The install itself.

links=
kept=
gone=
docker=
bin_read_only=
node_name=
starts=

decide() {
  recall_install
  find_init
  find_role
  find_service
  recall_variables
  find_config_layers
  check_config_form
  hide_secrets
  find_directories
  check_join
  check_environment
  check_upstream_variables
  if has_flag --docker || is_true "$(configured docker)"; then docker=yes; fi
  [ "$(fact digest-names)" != yes ] || digest_names=yes
  [ "${INSTALL_K3S_BIN_DIR_READ_ONLY-}" != true ] || bin_read_only=yes
  node_name=$(flag_value --node-name)
  node_name=${node_name:-$(configured node-name)}
  node_name=${node_name:-${K3S_NODE_NAME-}}
  node_name=$(printf '%s\n' "${node_name:-$(uname -n)}" | tr '[:upper:]' '[:lower:]')
  choose_links
  choose_carried
  choose_kept
  for_every_file plan_file
  choose_gone
  choose_start
}

# kubectl, crictl and ctr lead to k3s unless another one is there already.
choose_links() {
  [ "${INSTALL_K3S_SYMLINK-}" != skip ] || return 0
  for name in kubectl crictl ctr; do
    target=$root$bin_dir/$name
    if [ "${INSTALL_K3S_SYMLINK-}" = force ]; then
      [ -L "$target" ] || [ ! -d "$target" ] || continue
    elif [ -L "$target" ]; then
      [ "$(readlink "$target")" = k3s ] || continue
    elif [ -e "$target" ]; then
      note "$bin_dir/$name is not k3s's own and stays"
      continue
    elif [ -n "$live" ] && has "$name" && [ "$(command -v "$name")" != "$bin_dir/$name" ]; then
      continue
    fi
    links=$links$name$newline
  done
}

# `SOURCE TARGET` of every file that a person may have reason to edit.
config_files() {
  printf '%s\n' "etc/registries.yaml $etc_dir/registries.yaml" "$(bundled_config_path) $etc_dir/config.yaml"
  for line in $carried_files; do printf '%s\n' "${line#* }"; done
}

is_edited() { # SOURCE TARGET: by hand, or there before the first install
  [ -e "$root$2" ] && [ -f "$bundle/$1" ] || return 1
  hash=$(hash_of "$root$2")
  [ "$hash" != "$(sum_of "$1")" ] && ! was_installed "$hash" "$2"
}

# A file that somebody edited stays unless --config replace asks otherwise.
choose_kept() {
  for line in $(config_files); do
    source=${line%% *}
    target=${line#* }
    is_edited "$source" "$target" || continue
    if [ "$config_choice" = replace ]; then
      warn config-replaced "$target was edited by hand and is replaced" "the edited file is kept in $state_base/saved"
    else
      warn config-kept "$target was edited by hand and is kept" \
        "compare it with $source of the bundle; --config replace takes that one"
      kept=$kept$target$newline
    fi
  done
}

was_installed() { # HASH PATH
  [ -f "$root$state/receipt" ] && grep -q "^file=$1 [0-7]* $2\$" "$root$state/receipt"
}

# Files of the install before this one that this one does not have: old image archives above all.
choose_gone() {
  if [ ! -f "$root$state/receipt" ] || [ "$action" = images-only ]; then return 0; fi
  wanted=$(printf '%s' "$expected" | sed 's/^file=[^ ]* [^ ]* //')
  for line in $(values_of file "$root$state/receipt"); do
    path=${line#* * }
    if has_line "$wanted" "$path" || has_line "$kept" "$path" || is_carried_elsewhere "$path"; then continue; fi
    case $line in
      link:*) [ -L "$root$path" ] || continue ;;
      *) [ -f "$root$path" ] && [ "$(hash_of "$root$path")" = "${line%% *}" ] || continue ;;
    esac
    gone=$gone$path$newline
  done
}

choose_start() {
  starts=yes
  if [ -z "$live" ] || [ "$init" = none ] || [ "$action" = images-only ] ||
    [ "${INSTALL_K3S_SKIP_START-}" = true ] || [ "${INSTALL_K3S_SKIP_ENABLE-}" = true ]; then
    starts=
  fi
}

install_bundle() {
  if [ -z "$changed$gone" ]; then
    finish_unchanged
    return
  fi
  begin_work
  clear_leftovers
  step "Copying $(printf '%s' "$changed" | wc -l | tr -d ' ') files"
  record_directories
  record_staged
  for_every_file stage_file
  begin_transaction
  save_edited
  copy_datastore
  step 'Switching to the new files'
  switch_files
  load_docker_images
  apply_selinux
  apply_kernel_settings
  reload_services
  enable_wanted
  if [ -n "$starts" ]; then
    run_check_config
    restart_service || fail_proof start-failed "$service cannot be started"
    prove_install
  else
    prove_import
  fi
  close_transaction
  finish_changed
}

# k3s's own look at the kernel; it says more than it needs, so it warns and stops nothing.
run_check_config() {
  said=$("$bin_dir/k3s" check-config 2>&1) || warn check-config 'k3s check-config found something' \
    "$(printf '%s\n' "$said" | grep -i -e missing -e fail | sed -n 1,5p)"
}

# A docker site takes its images through the daemon.
load_docker_images() {
  if [ -z "$docker" ] || [ -z "$live" ]; then return 0; fi
  for path in $(fact "archive.$arch"); do
    step "Loading $path into docker"
    docker load --quiet --input "$bundle/$path" >/dev/null ||
      fail $exit_host docker-load "docker cannot load $path" 'is the docker daemon running? has it room?'
  done
}

wants_enabled() {
  [ "$init" != none ] && [ "$action" != images-only ] && [ "${INSTALL_K3S_SKIP_ENABLE-}" != true ]
}

enable_wanted() {
  if ! wants_enabled; then return 0; fi
  said=$(enable_service 2>&1) || fail $exit_host enable-failed "$service cannot be enabled: $said" \
    "see what $root$(enabling_link) and its directory are; INSTALL_K3S_SKIP_ENABLE=true installs without"
}

finish_unchanged() {
  enable_wanted
  if [ -n "$starts" ] && { ! is_active || [ "${INSTALL_K3S_FORCE_RESTART-}" = true ]; }; then
    restart_service || fail $exit_host start-failed "$service cannot be started" "$(last_words || :)"
    prove_install
    result "$service $(fact release) was in place and has been started"
  else
    if [ -n "$starts" ]; then prove_digest_names; else prove_import; fi
    result "$service $(fact release) is in place already; nothing was changed"
  fi
}

# What the recipe left to the operator is named until registries.yaml is no longer as the bundle brought it.
say_what_is_asked() (
  file=$etc_dir/registries.yaml
  [ -f "$root$file" ] && [ "$(hash_of "$root$file")" = "$(sum_of etc/registries.yaml)" ] || exit 0
  for line in $(fact asked); do
    warn secret-asked "$file has an empty ${line#* } for ${line%% *}, which is yours to fill in" \
      "write it there, then restart $service"
  done
)

finish_changed() {
  [ "$action" = images-only ] || say_what_is_asked
  if [ "$action" = images-only ]; then
    result "The image archives are in $root$(images_dir)"
  elif [ -n "$starts" ]; then
    result "$service $(fact release) is installed and running"
  else
    result "$service $(fact release) is installed in ${root:-/}; it was not started"
  fi
}

# An edited file that --config replace overwrites is kept for good, under a name of its own.
save_edited() {
  for line in $(config_files); do
    path=${line#* }
    if [ "$config_choice" != replace ] || [ ! -f "$root$path" ] || ! has_line "$changed" "$path"; then continue; fi
    hash=$(hash_of "$root$path")
    if was_installed "$hash" "$path"; then continue; fi
    mkdir -p "$root$state_base/saved"
    cp -p -- "$root$path" "$root$state_base/saved/${path##*/}.${hash%"${hash#????????????}"}" || fail_write "$root$state_base/saved"
  done
}

show_live_changes() {
  package=$(needed_selinux_package)
  [ -z "$package" ] || result "install the package $package"
  for path in $changed; do
    case $path in
      /etc/modules-load.d/*.conf | /etc/sysctl.d/*.conf) result "apply $path to the running kernel" ;;
    esac
  done
  [ -z "$docker" ] || for path in $(fact "archive.$arch"); do result "load $path into docker"; done
  [ -z "$digest_names" ] || for line in $(fact "digest.$arch"); do result "name ${line%% *} ${line#* } too"; done
}

show_changes() {
  for path in $changed; do
    if [ -e "$root$path" ] || [ -L "$root$path" ]; then result "replace $root$path"; else result "create $root$path"; fi
  done
  for path in $gone; do result "remove $root$path"; done
  if [ -n "$live" ] && [ -n "$changed$gone" ]; then show_live_changes; fi
  if [ -z "$changed$gone" ]; then result 'change nothing'; fi
  if [ -n "$live" ] && [ "$init" != none ] && [ -n "$changed$gone" ]; then
    [ "${INSTALL_K3S_SKIP_ENABLE-}" = true ] || result "enable $service"
    [ -n "${INSTALL_K3S_SKIP_ENABLE-}${INSTALL_K3S_SKIP_START-}" ] || result "restart $service"
  fi
}
