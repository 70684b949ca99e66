# The only commands this installer runs. Tests run it with a PATH that holds nothing else; preflight names what is missing.

# shellcheck disable=SC2034
readonly required_commands='cat
chmod
cp
date
df
env
find
grep
id
ln
ls
mkdir
mv
od
printf
readlink
rm
rmdir
sed
sha256sum
sleep
sort
stat
sync
tr
uname
wc'

# Used where the host has them.
# shellcheck disable=SC2034
readonly optional_commands='docker
ip
ip6tables-restore
ip6tables-save
iptables-restore
iptables-save
journalctl
modprobe
rc-service
rc-update
restorecon
rpm
sysctl
systemctl
tailscale
umount'

has() { command -v "$1" >/dev/null 2>&1; }
