#!/bin/sh
# The whole job on one machine: build, verify, inspect, install into a scratch root. Run by `make demo`.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
export K3S_BUNDLER_CACHE_DIR="$folder/cache"
export DEMO_FOLDER="$folder"

# The server ends with the command it serves.
python -m tests.upstream --write-recipe "$folder/demo.yaml" -- sh tests/demo/steps.sh
