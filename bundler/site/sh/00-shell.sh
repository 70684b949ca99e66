#!/bin/sh
# Installs k3s from the bundle this file lies in, with no network. `sh install.sh --help` says how.
#
# Everywhere below words are split at newlines only and no pattern is expanded, so that a list is text with one entry a
# line. There are no here-documents: some shells put them into files, and /tmp may be full.
#
# shellcheck disable=SC2015,SC2086,SC2044
# SC2015: `test || fail` ends the run. SC2086, SC2044: splitting at newlines is meant.

set -euf
umask 022
LC_ALL=C
export LC_ALL
unset CDPATH
newline='
'
IFS=$newline

# A shell opened by `su` has no sbin directories on its PATH, and `env -i` leaves none at all.
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}
case :$PATH: in
  *:/sbin:*) ;;
  *) PATH=$PATH:/usr/sbin:/sbin ;;
esac
export PATH

# Exit codes: 0 done, and
readonly exit_bug=1          # an unforeseen failure; everything was put back
readonly exit_usage=2        # wrong arguments or variables
readonly exit_integrity=4    # the bundle is damaged or incomplete
readonly exit_host=5         # this host cannot take it: permission, disk, tool, preflight
readonly exit_busy=6         # another install is running
readonly exit_undone=7       # the new version did not come up; the old one is back
readonly exit_stuck=8        # putting back failed: the message says what to do by hand
readonly exit_absent=9       # --status: nothing is installed
readonly exit_drift=10       # --status: installed, but not running or not as it was installed
