# Removes the service, and with the last one everything of k3s. Runs again from where it was cut off: the installer's copy
# and the receipt go last.

run_uninstall() {
  begin_work
  step "Removing $service"
  kill_everything
  put_back_unfinished
  disable_service
  rm -rf -- "$root$(unit_path)" "$root$(environment_path)" "$root/etc/logrotate.d/$service"
  remove_unfinished
  remove_carried
  reload_services
  forget_service
  if [ "$(receipts | wc -l | tr -d ' ')" -gt 1 ]; then
    note 'Another k3s service is installed: binary and data stay'
  else
    remove_shared
  fi
  remove_state
  result "$service is removed${keep_data:+; its data in $data_dir and $etc_dir is kept}"
}

# What an upgrade that was cut off replaced comes back, for that is what the receipt knows and what others may share. A
# tree that an uninstall before this one has removed stays away.
put_back_unfinished() {
  for line in $(values_of old "$root$state/transaction/journal" 2>/dev/null || :); do
    path=${line#* * }
    [ ! -d "$root${path%/*}" ] || put_back "$root$state/transaction/${line%% *}" "$root$path" || :
  done
}

# What an install that was cut off put in place is in no receipt yet. Trees that go whole, or stay, are left to that, and
# so is the script that may have asked for this.
remove_unfinished() {
  for path in $(values_of new "$root$state/transaction/journal" 2>/dev/null || :); do
    case $path in
      "$state"/* | "$data_dir"/* | "$etc_dir"/* | "$(uninstall_path)") ;;
      *) rm -f -- "$root$path" ;;
    esac
  done
}

remove_shared() {
  remove_selinux_package
  for name in kubectl crictl ctr; do
    link=$root$bin_dir/$name
    [ ! -L "$link" ] || [ "$(readlink "$link")" != k3s ] || rm -f -- "$link"
  done
  if [ -z "$keep_data" ]; then
    remove_tree "$etc_dir"
    remove_tree "$data_dir"
    remove_tree /var/lib/kubelet
  fi
  remove_tree /run/k3s
  remove_tree /run/flannel
  rm -f -- "$root$bin_dir/k3s" "$root$bin_dir/k3s-killall.sh"
}

# What is known of the install goes in one step, and last: until then an uninstall that was cut off can go on.
remove_state() {
  clean_staged
  rm -f -- "$root$(uninstall_path)"
  remove_directories
  rm -rf -- "$root$state_base/removed"
  mv -- "$root$state" "$root$state_base/removed"
  clear_removed
  for directory in "$data_dir" "${data_dir%/*}" "${etc_dir%/*}"; do
    case $directory in
      */rancher*) rmdir -- "$root$directory" 2>/dev/null || : ;;
    esac
  done
}

clear_removed() { rm -rf -- "$root$state_base/removed"; }
