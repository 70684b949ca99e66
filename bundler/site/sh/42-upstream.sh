# Upstream's variables that choose a download: fine when they agree with the bundle, refused when they ask for another.

check_upstream_variables() {
  release=$(fact release)
  case ${INSTALL_K3S_VERSION-} in
    '' | "$release") ;;
    *) fail $exit_usage version-differs "INSTALL_K3S_VERSION is $INSTALL_K3S_VERSION, the bundle carries $release" \
      'unset it, or take the bundle of that release' ;;
  esac
  [ -z "${INSTALL_K3S_COMMIT-}${INSTALL_K3S_PR-}" ] || fail $exit_usage commit-build \
    'INSTALL_K3S_COMMIT and INSTALL_K3S_PR ask for a build from the network' 'unset them'
  case ${INSTALL_K3S_CHANNEL-} in
    '') ;;
    v*) case $release in
      "$INSTALL_K3S_CHANNEL".*) ;;
      *) fail $exit_usage channel-differs "INSTALL_K3S_CHANNEL is $INSTALL_K3S_CHANNEL, the bundle carries $release" 'unset it' ;;
    esac ;;
    *) warn channel-unchecked "INSTALL_K3S_CHANNEL=$INSTALL_K3S_CHANNEL is not looked up: the bundle carries $release" '' ;;
  esac
  for name in INSTALL_K3S_SKIP_DOWNLOAD INSTALL_K3S_ARTIFACT_URL INSTALL_K3S_CHANNEL_URL GITHUB_URL; do
    ! env | grep -q "^$name=." || note "$name changes nothing here: nothing is ever downloaded"
  done
  case ${INSTALL_K3S_SYMLINK-} in
    '' | skip | force) ;;
    *) fail $exit_usage symlink-choice "INSTALL_K3S_SYMLINK=$INSTALL_K3S_SYMLINK: not one of skip, force" '' ;;
  esac
  case ${INSTALL_K3S_TYPE:-notify} in
    *[!a-z-]*) fail $exit_usage unit-type "INSTALL_K3S_TYPE=$INSTALL_K3S_TYPE is no type of a systemd service" '' ;;
  esac
}
