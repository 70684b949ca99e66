# What k3s is told: which files it reads, and what they say.

config_layers= # the files k3s will read, in its order: those of the bundle, or of the site where they stay

# The one that fits best. A server that is told of no other is the first of its cluster.
bundled_config_path() {
  if [ "$role" = server ] && [ -f "$bundle/etc/config-first-server.yaml" ] && [ -z "$(joined_server)" ]; then
    printf 'etc/config-first-server.yaml\n'
  elif [ -f "$bundle/etc/config-$role.yaml" ]; then
    printf 'etc/config-%s.yaml\n' "$role"
  else
    printf 'etc/config.yaml\n'
  fi
}

joined_server() {
  files=$(site_config_files)
  printf '%s' "${K3S_URL-}$(flag_value --server -s)$(config_value server $files)"
}

# The one file k3s reads; the variable goes before the flag (findConfigFileFlag of k3s-io/k3s pkg/configfilearg/parser.go).
config_file() (
  told=${K3S_CONFIG_FILE:-$(flag_value --config -c)}
  case $told in
    '') told=$etc_dir/config.yaml ;;
    /*) ;;
    # A service runs in /.
    *) told=/$told ;;
  esac
  printf '%s\n' "$told"
)

# What k3s reads now: that file, then those of the directory beside it by name (dotDFiles, in the same place).
site_config_files() (
  file=$root$(config_file)
  printf '%s\n' "$file"
  [ ! -d "$file.d" ] || find "$file.d/" -maxdepth 1 ! -type d | grep -i '\.ya\{0,1\}ml$' | sort
)

find_config_layers() {
  # Images alone go to the k3s that is here, as it is.
  if [ "$action" = images-only ] && [ -f "$root$state/receipt" ]; then
    config_layers=$(site_config_files)
    return
  fi
  carried=$(fact file | sed -n -e "s/^[0-7]* any //p" -e "s/^[0-7]* $role //p")
  config_layers=$(
    config_layer "$(config_source)" "$(config_file)"
    for path in $(drop_ins); do config_layer "$(carried_source "$path")" "$path"; done
  )
}

config_source() {
  if [ "$(config_file)" = "$etc_dir/config.yaml" ]; then bundled_config_path; else carried_source "$(config_file)"; fi
}

drop_ins() (
  directory=$(config_file).d
  {
    for file in $(site_config_files); do printf '%s\n' "${file#"$root"}"; done
    for line in $carried; do printf '%s\n' "${line#* }"; done
  } | grep -i '\.ya\{0,1\}ml$' | while IFS= read -r path; do
    [ "${path%/*}" != "$directory" ] || printf '%s\n' "$path"
  done | sort -u
)

carried_source() ( # TARGET
  for line in $carried; do [ "${line#* }" != "$1" ] || printf '%s\n' "${line%% *}"; done
)

config_layer() { # PATH IN THE BUNDLE OR NOTHING, TARGET
  if [ -n "$1" ] && [ -f "$bundle/$1" ] && { [ "$config_choice" = replace ] || ! is_edited "$1" "$2"; }; then
    printf '%s\n' "$bundle/$1"
  # What only an earlier bundle brought goes.
  elif [ -n "$1" ] || [ ! -f "$root$2" ] || ! was_installed "$(hash_of "$root$2")" "$2"; then
    printf '%s\n' "$root$2"
  fi
}

configured() { config_value "$1" $config_layers; } # KEY

# What k3s is told: by a flag, else by its configuration.
setting() { # KEY
  told=$(flag_value "--$1")
  printf '%s\n' "${told:-$(configured "$1")}"
}
