"""The lock outlives its holder by no more than one run, and is never taken from a living one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.site.bundles import Site


def holder(pid: int) -> str:
    """Name a process of this boot as the installer does: boot id, number, field 22 of its stat."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    return f"{boot}:{pid}:{started}"


def plant(site: Site, name: str, target: str) -> Path:
    lock = site.root / "var/lib/k3s-bundler" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.symlink_to(target)
    return lock


def test_locks_of_the_dead_are_cleared_wherever_they_were_left(every_site: Site, bundle: Path) -> None:
    plant(every_site, "lock", "another-boot:1:1")
    plant(every_site, "lock.4711", "another-boot:2:2")
    done = every_site.run(bundle)
    assert done.status == 0, done.err
    assert list((every_site.root / "var/lib/k3s-bundler").glob("lock*")) == []


def test_the_lock_of_a_living_process_is_respected(every_site: Site, bundle: Path) -> None:
    lock = plant(every_site, "lock", holder(os.getpid()))
    done = every_site.run(bundle)
    assert (done.status, "error[another-install]" in done.err) == (6, True), done.err
    assert str(lock.readlink()) == holder(os.getpid())


# What another install does at the same time, before or after a command of this one.
FASTER = {
    "it clears the lock of the dead before": ("mv", 'rm -f "$LOCK"; exec mv "$@"'),
    "it removes what was moved aside": ("mv", 'mv "$@" || exit; case $* in */lock\\ *) rm -f "$LOCK".* ;; esac'),
    "others come and go": ("ln", 'echo >>"$COUNT"; [ "$(wc -l <"$COUNT")" -gt 2 ] || exit 1; exec ln "$@"'),
}


@pytest.mark.parametrize("what", FASTER)
def test_an_install_that_others_are_faster_than_takes_their_lock_when_it_is_gone(
    every_site: Site, bundle: Path, tmp_path: Path, what: str
) -> None:
    name, script = FASTER[what]
    lock = every_site.root / "var/lib/k3s-bundler/lock"
    if name == "mv":
        plant(every_site, "lock", "another-boot:1:1")
    real = (every_site.path / name).readlink().parent
    (every_site.path / name).unlink()
    (every_site.path / name).write_text(f"#!/bin/sh\nPATH={real}\n{script}\n")
    (every_site.path / name).chmod(0o755)
    done = every_site.run(bundle, environment={"LOCK": str(lock), "COUNT": str(tmp_path / "count")})
    assert (done.status, done.err) == (0, "")


def test_a_zombie_holds_no_lock(site: Site, bundle: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        plant(site, "lock", holder(child))
        done = site.run(bundle)
    finally:
        os.waitpid(child, 0)
    assert done.status == 0, done.err
