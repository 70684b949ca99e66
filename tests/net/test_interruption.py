from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import DiskFullError, HostError, NotWritableError
from bundler.model.digest import digest_of
from bundler.net.download import Download, download
from tests.net.conftest import Watched
from tests.upstream import Abreast
from tests.upstream.conftest import absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from tests.upstream import Upstream

ROOT = Path(__file__).parents[2]
PATH = "/files/large"
LARGE = random.Random(3).randbytes(40 << 20)

CHILD = """
import signal, sys
from pathlib import Path
from bundler.errors import BundlerError
from bundler.model.digest import parse_digest
from bundler.net.download import Download, download
from bundler.net.session import open_session
from bundler.progress import SilentTask

# A shell that starts something with & and without job control lets it, and all that it starts, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
url, digest, size, part = sys.argv[1:]
try:
    download(open_session(), Download((url,), parse_digest(digest), int(size)), Path(part), task=SilentTask())
except BundlerError as error:
    sys.exit(f"{error.name} {error.what}")
"""


def command(upstream: Upstream, content: bytes, part: Path) -> list[str]:
    return [sys.executable, "-c", CHILD, upstream.url + PATH, digest_of(content), str(len(content)), str(part)]


def size_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_work_done_before_the_process_was_ended_is_not_done_again(
    upstream: Upstream, tmp_path: Path, ending: signal.Signals
) -> None:
    upstream.put(PATH, LARGE)
    part = tmp_path / "part"
    upstream.fail(PATH, Abreast(lambda: size_of(part)), times=None)
    dice = random.Random(ending)
    for _ in range(3):
        point = size_of(part) + dice.randint(1 << 20, 8 << 20)
        process = subprocess.Popen(command(upstream, LARGE, part), cwd=ROOT, stderr=subprocess.PIPE)
        while size_of(part) < point and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(ending)
        process.communicate(timeout=20)
        assert process.returncode == -ending, "it was still at work"
        kept = size_of(part)
        assert part.read_bytes() == LARGE[:kept]
    subprocess.run(command(upstream, LARGE, part), cwd=ROOT, check=True, timeout=60)
    assert part.read_bytes() == LARGE
    assert upstream.bytes_sent() <= 1.05 * len(LARGE)
    assert [request.status for request in upstream.requests] == [200, 206, 206, 206]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_system_that_takes_no_more_is_told_and_the_part_goes_on_later(
    session: requests.Session, upstream: Upstream, tmp_path: Path
) -> None:
    content = LARGE[:3_000_000]
    upstream.put(PATH, content)
    part = tmp_path / "part"
    order = Download((upstream.url + PATH, upstream.url + PATH), digest_of(content), len(content))
    with largest_file(1_000_000), pytest.raises(DiskFullError, match="part"):
        download(session, order, part, task=Watched())
    assert len(upstream.requests) == 1, "another mirror does not help against a full disk"
    assert part.read_bytes() == content[:1_000_000]
    upstream.forget_requests()
    download(session, order, part, task=Watched())
    assert part.read_bytes() == content
    assert upstream.bytes_sent() == 2_000_000


def test_a_full_disk_is_told(upstream: Upstream, tmp_path: Path) -> None:
    # the mount is of a namespace that ends with the process: nothing can stay behind
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        absent("unshare with the right to mount", "a download onto a full disk")
    upstream.put(PATH, LARGE)
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size=2m tmpfs {disk} && "$@"; code=$?; ls {disk}; exit $code'
    found = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command(upstream, LARGE, disk / "part")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr.startswith("disk-full no room is left for")
    assert "part" in found.stdout.split()
    assert os.listdir(disk) == []  # noqa: PTH208 - the mount is gone


def test_a_place_nobody_may_write_to_is_told(session: requests.Session, upstream: Upstream) -> None:
    upstream.put(PATH, b"x")
    order = Download((upstream.url + PATH,), digest_of(b"x"), 1)
    with pytest.raises(NotWritableError, match="/sys/part"):  # not even root may
        download(session, order, Path("/sys/part"), task=Watched())
    assert upstream.requests == ()


def test_a_folder_that_is_missing_is_told(session: requests.Session, upstream: Upstream, tmp_path: Path) -> None:
    order = Download((upstream.url + PATH,), digest_of(b"x"), 1)
    with pytest.raises(HostError, match="nowhere"):
        download(session, order, tmp_path / "nowhere" / "part", task=Watched())
