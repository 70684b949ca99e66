"""Build contexts: what goes to the daemon, what its hash depends on, and what it does not."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.engines.context import PROXIES, BuildContext, open_context
from bundler.errors import HostError, RecipeNotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

IGNORE = "# what stays at home\n\n*.log\n**/*.tmp\nsecret\n!secret/keep.txt\nDockerfile\n"


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def context(folder: Path, target: str | None = None, **args: str) -> BuildContext:
    return open_context(folder, "./app", "Dockerfile", target, args)


def ignored(name: str) -> bool:
    """What IGNORE says, in other words: what fits a folder holds for all below it, and the last pattern that fits wins.

    `*` ends at a slash, `**` does not.
    """
    parts = name.split("/")
    if name == "Dockerfile" or parts[:2] == ["secret", "keep.txt"]:
        return False
    return parts[0] == "secret" or parts[0].endswith(".log") or any(part.endswith(".tmp") for part in parts)


def members(context: BuildContext, dockerfile: str | None = None) -> dict[str, tarfile.TarInfo]:
    text = dockerfile if dockerfile is not None else context.dockerfile_text()
    data = b"".join(context.stream(text, context.digest()))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return {member.name: member for member in tar}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    write(folder, {"Dockerfile": b"FROM scratch\n", "page": b"page\n", "bin/run": b"#!/bin/sh\n"})
    return folder


WORDS = st.sampled_from(["a", "b", "secret", "keep", "x.log", "x.tmp", "keep.txt"])
NAMES = st.lists(WORDS, min_size=1, max_size=3).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(names=st.sets(NAMES, min_size=1, max_size=8), data=st.data())
def test_an_ignored_file_does_not_change_the_hash_and_any_other_does(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("context")
    files = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    write(folder, dict.fromkeys(files, b"before") | {".dockerignore": IGNORE.encode(), "Dockerfile": b"FROM x\n"})
    before = context(folder).digest()
    changed = data.draw(st.sampled_from(sorted({*files, "Dockerfile", ".dockerignore"})))
    how = data.draw(st.sampled_from(["content", "mode", "gone"]))
    path = folder / changed

    if how == "content":
        path.write_bytes(path.read_bytes() + b"#")
    elif how == "mode":
        path.chmod(0o751)
    elif changed == "Dockerfile":
        return
    else:
        path.unlink()
    after = context(folder).digest()

    if changed == ".dockerignore" and how == "gone":
        assert after != before
    else:
        assert (after == before) == ignored(changed)


def test_the_hash_depends_on_nothing_of_the_machine(app: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "deeper"
    write(other, {name: (app / name).read_bytes() for name in ("page", "bin/run", "Dockerfile")})
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
        if os.geteuid() == 0:
            os.chown(path, 1234, 1234)

    assert context(other).digest() == context(app).digest()
    for name, member in members(context(other)).items():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0), name
    assert list(members(context(other))) == ["Dockerfile", "bin", "bin/run", "page"]


def test_the_hash_depends_on_target_arguments_and_links_but_not_on_proxies(app: Path) -> None:
    (app / "link").symlink_to("page")
    seen = {
        context(app).digest(),
        context(app, "one").digest(),
        context(app, A="1").digest(),
        context(app, A="2").digest(),
    }
    (app / "link").unlink()
    (app / "link").symlink_to("bin/run")
    seen.add(context(app).digest())
    assert len(seen) == 5
    assert members(context(app))["link"].linkname == "bin/run"
    assert {context(app, **{name: "http://proxy"}).digest() for name in PROXIES} == {context(app).digest()}


def test_another_dockerfile_is_sent_in_place_of_the_one_that_is_hashed(app: Path) -> None:
    found = context(app)
    data = b"".join(found.stream("FROM pinned\n", found.digest()))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        content = tar.extractfile("Dockerfile")
        assert content
        assert content.read() == b"FROM pinned\n"
        assert [member.name for member in tar].count("Dockerfile") == 1


def test_a_file_is_sent_in_pieces(app: Path) -> None:
    with (app / "big").open("wb") as file:
        file.truncate(64 << 20)
    found = context(app)
    assert max(len(part) for part in found.stream("", found.digest())) <= 1 << 20


@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_what_changes_under_the_build_is_noticed_before_the_end_of_the_stream(app: Path, how: str) -> None:
    with (app / "page").open("wb") as file:
        file.truncate(8 << 20)
    found = context(app)
    expected = found.digest()
    stream = found.stream("", expected)
    if how == "gone":
        (app / "page").unlink()
    elif how == "changed":
        with (app / "page").open("r+b") as file:
            file.write(b"x")
    else:
        while len(next(stream)) < 1 << 20:
            pass
        os.truncate(app / "page", 1 << 20)

    with pytest.raises(HostError, match="changed while" if how != "gone" else "page"):
        list(stream)


def test_a_socket_is_passed_over_and_a_pipe_refused_by_name(app: Path) -> None:
    before = context(app).digest()
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(app, os.O_DIRECTORY)
        listening.bind(f"/proc/self/fd/{folder}/s")  # the path of a socket has at most 107 bytes
        os.close(folder)
        assert context(app).digest() == before
    os.mkfifo(app / "pipe")
    with pytest.raises(UsageError, match="pipe is neither a file nor") as refused:
        context(app).digest()
    assert ".dockerignore" in refused.value.hint


def test_what_is_missing_or_leads_out_is_refused(app: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeNotFoundError, match="there is no folder"):
        context(tmp_path / "nowhere")
    (app / "Dockerfile").rename(tmp_path / "Dockerfile")
    with pytest.raises(RecipeNotFoundError, match=r"there is no Dockerfile .*app/Dockerfile"):
        context(app)
    (app / "Dockerfile").symlink_to(tmp_path / "Dockerfile")
    with pytest.raises(UsageError, match="is a link out of its context"):
        context(app)


def test_a_list_of_what_stays_at_home_that_is_a_link_to_nothing_is_refused(app: Path) -> None:
    """What it keeps out, secrets perhaps, would be in the image."""
    (app / ".dockerignore").symlink_to("missing")
    with pytest.raises(UsageError, match=r"\.dockerignore is a link to missing, which leads to nothing"):
        context(app)


def test_a_file_that_cannot_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, {"Dockerfile": b"FROM scratch\n", "page": b"page\n"})
        (folder / "page").chmod(0)
        with as_nobody(), pytest.raises(HostError, match="/page cannot be used: Permission denied") as refused:
            context(folder).digest()
    assert ".dockerignore" in refused.value.hint


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so be somebody else for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)
