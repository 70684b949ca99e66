"""Whatever goes wrong ends in one clear error with its exit code, and no bundle."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.upstream import Cut, Status
from tests.upstream.odd_images import NO_ARM64, WRONG_ARCHITECTURE, WRONG_DIFF_ID

if TYPE_CHECKING:
    from tests.command import CommandLine
    from tests.upstream import Upstream

TAG = "v1.34.1+k3s1"
RELEASE = f"/releases/{TAG}"


def refused(done: subprocess.CompletedProcess[str], command: CommandLine, name: str, code: int, *words: str) -> None:
    """One error of that name with these words, its hint, its exit code, no traceback, nothing made."""
    assert done.returncode == code, done.stderr
    assert re.findall(r"error\[([a-z0-9-]+)\]", done.stderr) == [name], done.stderr
    assert done.stderr.count("\nhint: ") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""
    assert command.built() == []


def test_an_unknown_channel(command: CommandLine) -> None:
    done = command.try_build(command.recipe(release="v1.99"))
    refused(done, command, "release-unknown", 2, "v1.99", "stable")


def test_a_channel_without_a_release(command: CommandLine) -> None:
    done = command.try_build(command.recipe(release="testing"))
    refused(done, command, "release-unknown", 2, "testing")


def test_a_tag_that_does_not_exist(command: CommandLine) -> None:
    done = command.try_build(command.recipe(release="v1.34.99+k3s1"))
    refused(done, command, "asset-not-found", 3, "v1.34.99", "k3s-images.txt")


def test_a_release_without_the_architecture(command: CommandLine, upstream: Upstream) -> None:
    upstream.remove(f"{RELEASE}/sha256sum-arm.txt")
    done = command.try_build(command.recipe(arch="arm"))
    refused(done, command, "architecture-unsupported", 2, TAG, "arm")


def test_an_architecture_nobody_releases(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="s390x"))
    refused(done, command, "recipe-invalid", 2, "s390x", "amd64, arm64, arm")
    done = command.try_build(command.recipe(), "--arch", "s390x")
    refused(done, command, "wrong-use", 2, "s390x", "amd64, arm64, arm")


def test_a_binary_that_is_gone(command: CommandLine, upstream: Upstream) -> None:
    upstream.remove(f"{RELEASE}/k3s-armhf")
    done = command.try_build(command.recipe(arch="arm"))
    refused(done, command, "asset-not-found", 3, "k3s-armhf")


def test_a_checksum_that_is_missing(command: CommandLine, upstream: Upstream) -> None:
    path = f"{RELEASE}/sha256sum-arm64.txt"
    lines = upstream.document(path).body.decode().splitlines(keepends=True)
    upstream.put(path, "".join(line for line in lines if not line.endswith("k3s-arm64\n")).encode())
    done = command.try_build(command.recipe(arch="arm64"))
    refused(done, command, "checksum-missing", 4, "k3s-arm64", "sha256sum-arm64.txt")


def test_a_checksum_that_is_wrong(command: CommandLine, upstream: Upstream) -> None:
    path = f"{RELEASE}/sha256sum-arm64.txt"
    lines = upstream.document(path).body.decode().splitlines(keepends=True)
    wrong = [f"{'0' * 64}  k3s-arm64\n" if line.endswith("k3s-arm64\n") else line for line in lines]
    upstream.put(path, "".join(wrong).encode())
    done = command.try_build(command.recipe(arch="arm64"))
    refused(done, command, "digest-mismatch", 4, "k3s-arm64", "0" * 64)
    assert not list((command.folder / ".cache/k3s-bundler/partial").glob("*")), "a wrong file stayed"


@pytest.mark.parametrize("content", [b"<html>login</html>\n", b"abc  k3s-arm64\n"])
def test_a_checksum_file_that_is_none(command: CommandLine, upstream: Upstream, content: bytes) -> None:
    upstream.put(f"{RELEASE}/sha256sum-arm64.txt", content)
    done = command.try_build(command.recipe(arch="arm64"))
    refused(done, command, "checksum-file-malformed", 4, "sha256sum-arm64.txt:1")


@pytest.mark.parametrize("content", [b"", b"docker.io/rancher/mirrored-pause:3.6\n\n", b"<html>\n", b"Not/A/Name:1\n"])
def test_an_image_list_that_is_empty_or_malformed(command: CommandLine, upstream: Upstream, content: bytes) -> None:
    upstream.put(f"{RELEASE}/k3s-images.txt", content)
    done = command.try_build(command.recipe(arch="arm64"))
    refused(done, command, "image-list-malformed", 4, "k3s-images.txt")


def test_an_image_list_that_its_checksum_file_disowns(command: CommandLine, upstream: Upstream) -> None:
    upstream.put("/releases/v1.30.0+k3s1/k3s-images.txt", b"docker.io/example/hello:1.0\n")
    done = command.try_build(command.recipe(arch="arm64", release="v1.30.0+k3s1"))
    refused(done, command, "digest-mismatch", 4, "k3s-images.txt")


def test_an_image_that_does_not_exist(command: CommandLine, upstream: Upstream) -> None:
    done = command.try_build(command.recipe(arch="arm64", extra=f"{upstream.host}/nobody/nothing:1"))
    refused(done, command, "image-not-found", 3, f"{upstream.host}/nobody/nothing:1")


def test_an_image_without_the_platform(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64", extra=NO_ARM64))
    refused(done, command, "image-without-platform", 4, NO_ARM64, "linux/arm64", "linux/amd64")


def test_an_image_whose_config_lies_about_its_architecture(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64", extra=WRONG_ARCHITECTURE))
    refused(done, command, "wrong-architecture", 4, WRONG_ARCHITECTURE, "arm64", "amd64")


def test_an_image_whose_layers_are_not_those_of_its_config(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64", extra=WRONG_DIFF_ID))
    refused(done, command, "digest-mismatch", 4, WRONG_DIFF_ID)


@pytest.mark.parametrize(
    ("status", "name"), [(401, "access-denied"), (403, "access-denied"), (429, "rate-limited"), (500, "server-error")]
)
def test_a_registry_that_refuses(command: CommandLine, upstream: Upstream, status: int, name: str) -> None:
    upstream.fail("/v2/rancher/mirrored-pause/*", Status(status, {"Retry-After": "7200"}), times=None)
    done = command.try_build(command.recipe(arch="arm64"))
    refused(done, command, name, 3, "mirrored-pause", upstream.host)


def test_no_server_at_all_is_told_within_half_a_minute(command: CommandLine) -> None:
    away = replace(command, channels="http://127.0.0.1:9/channels", releases="http://127.0.0.1:9")
    recipe = away.recipe(arch="arm64")
    done = subprocess.run(
        away.command("build", recipe, "--engine", "registry", "--output", away.folder / "dist"),
        check=False,
        capture_output=True,
        text=True,
        cwd=away.folder,
        env=away.variables(),
        timeout=30,
    )
    refused(done, away, "host-unreachable", 3, "127.0.0.1:9", "make demo", "sources")


def test_a_cache_that_cannot_be_written(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    taken = command.folder / "taken"
    taken.write_text("a file where the cache should be")
    done = command.try_build(recipe, "--cache-dir", taken)
    assert done.returncode == 5, done.stderr
    assert str(taken) in done.stderr
    assert "Traceback" not in done.stderr
    assert command.built() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a small file system")
def test_a_full_disk(command: CommandLine) -> None:
    small = command.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(small)], check=True)
    try:
        done = command.try_build(command.recipe(arch="arm64"), "--cache-dir", small)
        refused(done, command, "disk-full", 5, str(small))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_output_that_exists_already_stays_as_it_is(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    bundle = command.build(recipe)
    (bundle / "mine").write_text("kept")

    done = command.try_build(recipe)

    assert done.returncode == 2
    assert "error[output-exists]" in done.stderr
    assert "--replace" in done.stderr
    assert (bundle / "mine").read_text() == "kept"
    assert not (command.build(recipe, "--replace") / "mine").exists()


def test_a_missing_or_outdated_lock_when_locked(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    refused(command.try_build(recipe, "--locked"), command, "lock-outdated", 6, "edge.lock.json", "there is none")
    assert not (command.folder / "edge.lock.json").exists()

    assert command.run("lock", recipe).returncode == 0
    changed = command.recipe(arch="arm64", extra="docker.io/example/hello:1.0")
    refused(command.try_build(changed, "--locked"), command, "lock-outdated", 6, "recipe changed")


def test_a_lock_of_another_compressor_when_locked(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    path = command.folder / "edge.lock.json"
    path.write_text(re.sub(r'"library": "[^"]+"', '"library": "1.0.0"', path.read_text()))
    refused(command.try_build(recipe, "--locked"), command, "lock-outdated", 6, "libzstd 1.0.0")


@pytest.mark.parametrize("content", ["", "{}", '{"lockVersion": 2}', "not json"])
def test_a_lock_that_is_none(command: CommandLine, content: str) -> None:
    recipe = command.recipe(arch="arm64")
    (command.folder / "edge.lock.json").write_text(content)
    refused(command.try_build(recipe), command, "lock-malformed", 6, "edge.lock.json")


def test_a_manifest_that_the_registry_lost_after_it_was_locked(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    layer = upstream.content.image("docker.io/rancher/mirrored-pause:3.6").on("arm64").layers[-1]
    upstream.remove(f"/v2/rancher/mirrored-pause/blobs/{layer.digest}")
    done = command.try_build(recipe)
    # The registry itself is asked last; here nobody reaches it.
    assert done.returncode == 3
    assert f"docker.io/rancher/mirrored-pause:3.6: {upstream.url}/v2/rancher/mirrored-pause/blobs/" in done.stderr
    assert "does not exist" in done.stderr
    assert command.built() == []


def test_a_body_that_is_cut_is_gone_on_with_and_nothing_is_sent_twice(command: CommandLine, upstream: Upstream) -> None:
    path = f"{RELEASE}/k3s-arm64"
    size = len(upstream.document(path).body)
    upstream.fail(path, Cut(after=size // 2))

    command.build(command.recipe(arch="arm64"))

    assert upstream.bytes_sent(path) == size
    assert len(upstream.requests_to(path, "GET")) == 2
