# A server's datastore, copied while k3s stands still before another release takes it over: going back needs the old one.

hands_datastore_over() {
  [ "$action" != images-only ] && [ "$role" = server ] && [ -d "$root$data_dir/server/db" ] || return 1
  before=$(installed_release)
  [ -n "$before" ] && [ "$before" != "$(fact release)" ]
}

# What is not to be started is not stopped either: the old release goes on writing.
stays_running() { [ -n "$live" ] && [ -z "$starts" ] && is_active; }

wants_datastore_copy() { hands_datastore_over && ! stays_running; }

datastore_size() ( # in bytes
  blocks=0
  for count in $(find "$root$data_dir/server/db" -type f -exec stat -c %b {} \;); do blocks=$((blocks + count)); done
  printf '%s\n' "$((blocks * 512))"
)

copy_datastore() {
  hands_datastore_over || return 0
  if stays_running; then
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
  K3S_CONFIG_FILE=${K3S_CONFIG_FILE:-$(kept_variable K3S_CONFIG_FILE)}
  [ -n "$(joined_server)" ] || grep -q -s '^K3S_URL=.*:' "$root$(environment_path)"
}

# The members etcd has in its file, which needs no etcd that runs: `NUMBER ADDRESS`. Each is a key, its number in
# hexadecimal, with JSON behind it; one that left is a number with the word "removed" behind it, and its JSON may still
# lie in a free page (etcd-io/etcd server/etcdserver/api/membership/store.go). So may that of members from before a restored
# snapshot, of which nothing says that they left: not every k3s defragments the file at its start. Then only a person knows.
etcd_members() ( # DATABASE DIRECTORY
  file=$1/etcd/member/snap/db
  [ -f "$file" ] || exit 0
  words=$(tr -cs '\041-\174' '\n' <"$file" | grep -e '^[0-9a-f]*{"id":[0-9]*,"peerURLs":' -e '[0-9a-f]removed') || exit 0
  for line in $(printf '%s\n' "$words" | sed -n 's/^\([0-9a-f]*\){"id":[0-9]*,"peerURLs":\["\([^"]*\)".*/\1 \2/p' | sort -u); do
    case $words in
      *"${line%% *}removed"*) ;;
      *) printf '%s\n' "$line" ;;
    esac
  done
)

# An etcd that cannot be read is not taken for one that is alone.
has_other_members() { # DATABASE DIRECTORY
  [ -f "$1/etcd/member/snap/db" ] || return 1
  numbers=$(etcd_members "$1" | sed 's/ .*//' | sort -u)
  case $numbers in
    '' | *"$newline"*) ;;
    *) return 1 ;;
  esac
}

# A member of a cluster may not go back alone: its peers hold it to what it has confirmed to them, and one that does not
# know them begins a cluster of its own under their name. What left since is a peer that would be waited for.
shares_etcd() { # RECORD
  has_other_members "$root$data_dir/server/db" || has_other_members "$1/datastore"
}

# A server that joined others is known to be one of many; of the first server it is not said anywhere else.
refuse_to_part_members() { # RECORD
  if [ ! -d "$1/datastore" ] || has_line "$forced" cluster-members || is_said_alone || joined_others; then return 0; fi
  shares_etcd "$1" || return 0
  addresses=$(for at in "$root$data_dir/server/db" "$1/datastore"; do etcd_members "$at"; done | sed 's/.* //' | sort -u | tr '\n' ' ')
  fail $exit_host cluster-members \
    "other servers share the etcd of $service (${addresses:-its members cannot be read}): the datastore of before the upgrade would part it from them" \
    "if none of them is a server of this cluster any more, --rollback --force only-member takes the datastore back too; to take this server alone back and leave the datastore as it is: --rollback --force cluster-members; to take the data of the whole cluster back, take every server back so, stop k3s on all of them, then here run k3s server --cluster-reset --cluster-reset-restore-path=SNAPSHOT and start $service; on each other server remove $data_dir/server/db and start k3s"
}

# The operator says that this server has its etcd to itself, whatever the file still holds. Of two words the careful one counts.
is_said_alone() { has_line "$forced" only-member && ! has_line "$forced" cluster-members; }

# So that a rollback that is cut off goes on as it was asked for.
record_said_alone() { # RECORD
  rm -f -- "$1/only-member"
  if is_said_alone; then printf '' >"$1/only-member" || fail_write "$1/only-member"; fi
}

# Once the copy is whole it is not made again, so that the newer datastore is moved away once, however often this is cut off.
put_back_datastore() { # RECORD
  database=$root$data_dir/server/db
  if [ -d "$1/datastore" ]; then
    if [ ! -f "$1/only-member" ] && { { [ -d "$database/etcd" ] && joined_others; } || shares_etcd "$1"; }; then
      leave_datastore "$1"
      return
    fi
    rm -rf -- "$database.back"
    cp -pR -- "$1/datastore" "$database.back" && sync && mv "$1/datastore" "$1/datastore.copied" || return 1
  fi
  [ -d "$1/datastore.copied" ] && [ -d "$database.back" ] || return 0
  if [ -d "$database" ]; then
    rm -rf -- "$database.rolled-back" && mv "$database" "$database.rolled-back" || return 1
  fi
  mv "$database.back" "$database"
}

leave_datastore() { # RECORD
  rm -rf -- "$root$state/datastore"
  mv "$1/datastore" "$root$state/datastore" || return 1
  warn datastore-left "the datastore of this cluster member is left as it is" \
    "as it was before the upgrade it is kept in $root$state/datastore until the next install; to take the whole cluster back, restore a snapshot with k3s server --cluster-reset"
}
