"""The lock outlives its holder by no more than one run, and is never taken from a living one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

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
