#!/bin/sh
# What `make demo` shows, while a local release server and registry run. The k3s in it is a stand-in that only says so.
set -eu

arch=$(uname -m)
case $arch in
  x86_64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  arm*) arch=arm ;;
esac
recipe=$DEMO_FOLDER/demo.yaml

step() {
  printf '\n== %s\n$ %s\n' "$1" "$2"
}

step 'the recipe' 'cat demo.yaml'
cat "$recipe"

step 'what a build would fetch' "k3s-bundler plan demo.yaml --arch $arch"
k3s-bundler plan "$recipe" --arch "$arch"

step 'build it' "k3s-bundler build demo.yaml --arch $arch"
bundle=$(k3s-bundler build "$recipe" --arch "$arch" --engine registry --output "$DEMO_FOLDER/dist")

step 'check it, with nothing but itself' 'k3s-bundler verify dist/*'
k3s-bundler verify "$bundle"

step 'what is in it' 'k3s-bundler inspect dist/*'
k3s-bundler inspect "$bundle"

step 'what the site gets' "sh install.sh --root /mnt/image --init systemd"
mkdir "$DEMO_FOLDER/site"
sh "$bundle/install.sh" --root "$DEMO_FOLDER/site" --init systemd
(cd "$DEMO_FOLDER/site" && find . -type f -o -type l | sort)

printf '\nThat was the whole way. With internet: make bundle ARCH=%s\n' "$arch"
