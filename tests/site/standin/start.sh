#!/bin/sh
# Body of the stand-in k3s: a real containerd from the data directory, and the import of every image archive.
set -eu
role=$1
data=$2
address=/run/k3s/containerd/containerd.sock
mkdir -p "$data/agent/containerd" "$data/agent/etc/containerd" "$data/agent/images" "$data/data/current/bin" \
  /run/k3s/containerd /etc/rancher/k3s
for name in containerd containerd-shim-runc-v2 runc; do
  [ -x "$data/data/current/bin/$name" ] || cp "/opt/standin/bin/$name" "$data/data/current/bin/$name"
done
if [ "$role" = server ]; then
  mkdir -p "$data/server/db"
  (
    umask 077
    echo 'kind: Config' >/etc/rancher/k3s/k3s.yaml
    echo K10standin::server:standin >"$data/server/token"
  )
fi
printf '%s\n' 'version = 2' "root = \"$data/agent/containerd\"" 'state = "/run/k3s/containerd"' \
  'disabled_plugins = ["io.containerd.grpc.v1.cri"]' \
  '[plugins."io.containerd.internal.v1.opt"]' "path = \"$data/agent/containerd/opt\"" '[grpc]' "address = \"$address\"" \
  >"$data/agent/etc/containerd/config.toml"
ctr() { /opt/standin/bin/ctr -a "$address" -n k8s.io "$@"; }
# A socket nobody listens on would be waited for.
if ! pgrep -f "^$data/data/current/bin/containerd " >/dev/null; then
  rm -f "$address"
  PATH=$data/data/current/bin:$PATH setsid "$data/data/current/bin/containerd" -c "$data/agent/etc/containerd/config.toml" \
    >>"$data/agent/containerd/containerd.log" 2>&1 </dev/null &
fi
tries=0
until [ -S "$address" ] && ctr version >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || exit 3
  sleep 0.1
done
# As k3s does: what cannot be imported is logged, and the start goes on.
for archive in "$data"/agent/images/*; do
  case $archive in
    *.tar) ctr images import --all-platforms "$archive" ;;
    *.tar.zst) zstd -dc "$archive" | ctr images import --all-platforms - ;;
    *.tar.gz | *.tgz) gzip -dc "$archive" | ctr images import --all-platforms - ;;
    *) continue ;;
  esac >&2 || echo "level=error msg=\"STANDIN cannot import $archive\"" >&2
done
