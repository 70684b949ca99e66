# A server's datastore, copied while k3s stands still before another release takes it over: going back needs the old one.

copy_datastore() {
  [ "$action" = install ] && [ "$role" = server ] && [ -d "$root$data_dir/server/db" ] || return 0
  before=$(installed_release)
  [ -n "$before" ] && [ "$before" != "$(fact release)" ] || return 0
  if [ -n "$live" ] && [ -z "$starts" ] && is_active; then
    warn datastore-not-copied "$service goes on running $before, so its datastore cannot be copied" \
      'a rollback will not bring the data back; stop k3s before an upgrade that is not to start it'
    return 0
  fi
  step 'Copying the datastore'
  stop_service
  copy=$root$state/transaction/datastore
  cp -pR -- "$root$data_dir/server/db" "$copy.new" || fail_write "$copy.new"
  sync
  mv "$copy.new" "$copy"
}

# Neither --rollback nor an upgrade that names nothing has the variables of the first install: the service does.
joined_others() {
  [ -n "${K3S_URL-}$(flag_value --server -s)$(config_value server "$root$etc_dir/config.yaml")" ] ||
    grep -q -s '^K3S_URL=.*:' "$root$(environment_path)"
}

# A member of a cluster may not go back alone: its peers hold it to what it has confirmed to them.
put_back_datastore() { # RECORD
  [ -d "$1/datastore" ] || return 0
  database=$root$data_dir/server/db
  if [ -d "$database/etcd" ] && joined_others; then
    warn datastore-left "the datastore of this cluster member is left as it is" \
      'see docs.k3s.io on restoring a snapshot, should the old release refuse it'
    return 0
  fi
  rm -rf -- "$database.back"
  cp -pR -- "$1/datastore" "$database.back" && sync || return 1
  rm -rf -- "$database.rolled-back"
  [ ! -d "$database" ] || mv "$database" "$database.rolled-back" || return 1
  mv "$database.back" "$database"
}
