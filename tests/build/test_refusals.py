"""Whatever is wrong ends a build in one clear error with the right exit code, and leaves no bundle."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from bundler.model.digest import digest_of
from tests.build.workshop import Workshop, sums_of
from tests.real.process import socket_directory
from tests.upstream import EXTRA_IMAGE, BasicAccess, Filler, Flip, Reset, Stall, Status, Upstream, standard_content
from tests.upstream.odd_images import NO_ARM64, WRONG_ARCHITECTURE, WRONG_DIFF_ID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAG = "v1.34.1+k3s1"
ASSETS = f"/releases/{TAG}"
HELLO = "/v2/example/hello"


def put(path: str, text: str) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.upstream.put(path, text.encode())


def remove(path: str) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.upstream.remove(path)


def fail_always(pattern: str, fault: Status | Flip) -> Callable[[Workshop], None]:
    return lambda workshop: workshop.upstream.fail(pattern, fault, None)


def take(*extra: str, release: str = "stable", arch: tuple[str, ...] = ("arm64",)) -> Callable[[Workshop], None]:
    """Write a recipe; HOST in a reference is the upstream as a registry of its own, with nothing to fall back on."""
    return lambda workshop: workshop.write_recipe(
        extra=[name.replace("HOST", workshop.upstream.host) for name in extra] or [EXTRA_IMAGE],
        release=release,
        arch=arch,
    )


def schema_1(workshop: Workshop) -> None:
    """Serve what registries kept from before 2016."""
    path = f"{HELLO}/manifests/1.0"
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    old = replace(workshop.upstream.document(path), content_type=kind, by_accept=False)
    body = b'{"schemaVersion": 1, "fsLayers": []}'
    workshop.upstream.put_document(path, replace(old, body=body, headers={}))


def foreign_layer(workshop: Workshop) -> None:
    """Serve an image with a layer that only its publisher hands out, as those of Windows were."""
    upstream, manifests = workshop.upstream, f"{HELLO}/manifests"
    top = upstream.document(f"{manifests}/1.0")
    index = json.loads(top.body)
    for entry in index["manifests"]:
        old = upstream.document(f"{manifests}/{entry['digest']}")
        manifest = json.loads(old.body)
        manifest["layers"][0] |= {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "urls": ["https://publisher.example/layer"],
        }
        body = json.dumps(manifest).encode()
        entry["digest"], entry["size"] = digest_of(body), len(body)
        upstream.put_document(f"{manifests}/{entry['digest']}", replace(old, body=body, headers={}))
    upstream.put_document(f"{manifests}/1.0", replace(top, body=json.dumps(index).encode(), headers={}))


def indexes_without_end(workshop: Workshop) -> None:
    """Serve an index whose only entry is an index, and so on; what is in the middle nobody asks for any more."""
    top = workshop.upstream.document(f"{HELLO}/manifests/1.0")
    body = top.body
    for _ in range(6):
        inner = {"mediaType": top.content_type, "digest": digest_of(body), "size": len(body)}
        workshop.upstream.put_document(f"{HELLO}/manifests/{inner['digest']}", replace(top, body=body, headers={}))
        body = json.dumps({"schemaVersion": 2, "mediaType": top.content_type, "manifests": [inner]}).encode()
    workshop.upstream.put_document(f"{HELLO}/manifests/1.0", replace(top, body=body, headers={}))


@dataclass(frozen=True)
class Case:
    what: str
    prepare: Callable[[Workshop], None]
    code: int
    error: str
    named: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.what.replace(" ", "-")


CASES = (
    Case("unknown channel", take(release="v9.9"), 2, "release-unknown", ("v9.9", "HOST")),
    Case("channel without a release", take(release="testing"), 2, "release-unknown", ("testing", "HOST")),
    Case("tag that does not exist", take(release="v1.33.3+k3s1"), 3, "asset-not-found", ("v1.33.3", "HOST")),
    Case("architecture not known", take(arch=("s390x",)), 2, "recipe-invalid", ("s390x", "arm64")),
    Case(
        "tag without the architecture",
        remove(f"{ASSETS}/sha256sum-arm64.txt"), 2, "architecture-unsupported", ("arm64", TAG),
    ),
    Case("binary 404", remove(f"{ASSETS}/k3s-arm64"), 3, "asset-not-found", ("k3s-arm64", "HOST")),
    Case("image list 404", remove(f"{ASSETS}/k3s-images.txt"), 3, "asset-not-found", ("k3s-images.txt", "HOST")),
    Case("channels are no JSON", put("/v1-release/channels", "<html>"), 3, "answer-malformed", ("HOST",)),
    Case(
        "checksum missing",
        put(f"{ASSETS}/sha256sum-arm64.txt", f"{'0' * 64}  k3s-airgap-images-arm64.tar\n"),
        4, "checksum-missing", ("k3s-arm64", "sha256sum-arm64.txt"),
    ),
    Case(
        "checksum wrong",
        put(f"{ASSETS}/sha256sum-arm64.txt", f"{'0' * 64}  k3s-arm64\n"), 4, "digest-mismatch", ("k3s-arm64", "0" * 64),
    ),
    Case(
        "checksum file is no checksum file",
        put(f"{ASSETS}/sha256sum-arm64.txt", "<html>login</html>\n"),
        4, "checksum-file-malformed", ("sha256sum-arm64.txt",),
    ),
    Case("binary damaged", fail_always(f"{ASSETS}/k3s-arm64", Flip(100)), 4, "digest-mismatch", ("k3s-arm64",)),
    Case("image list empty", put(f"{ASSETS}/k3s-images.txt", ""), 4, "image-list-malformed", ("k3s-images.txt",)),
    Case(
        "image list malformed",
        put(f"{ASSETS}/k3s-images.txt", "docker.io/rancher/mirrored-pause:3.6\n<html>\n"),
        4, "image-list-malformed", ("k3s-images.txt",),
    ),
    Case("image missing", take("HOST/example/none:1.0"), 3, "image-not-found", ("HOST/example/none:1.0",)),
    Case("image without platform", take(NO_ARM64), 4, "image-without-platform", (NO_ARM64, "arm64", "amd64")),
    Case("config that lies", take(WRONG_ARCHITECTURE), 4, "wrong-architecture", (WRONG_ARCHITECTURE, "arm64", "amd64")),
    Case("layer that is not the config's", take(WRONG_DIFF_ID), 4, "digest-mismatch", (WRONG_DIFF_ID,)),
    Case("schema 1", schema_1, 4, "image-unsupported", (EXTRA_IMAGE, "schema 1", "a newer tag")),
    Case("foreign layer", foreign_layer, 4, "image-unsupported", (EXTRA_IMAGE, "foreign", "does not let registries")),
    Case("indexes without end", indexes_without_end, 3, "answer-malformed", (EXTRA_IMAGE, "indexes of indexes")),
    Case("registry 401", fail_always(f"{HELLO}/*", Status(401)), 3, "access-denied", (EXTRA_IMAGE, "HOST")),
    Case("registry 403", fail_always(f"{HELLO}/*", Status(403)), 3, "access-denied", (EXTRA_IMAGE, "HOST")),
    # Longer than any build waits for; without it the tries of a server that fails take half a minute.
    Case(
        "registry 429",
        fail_always(f"{HELLO}/*", Status(429, {"Retry-After": "3600"})), 3, "rate-limited", (EXTRA_IMAGE, "HOST"),
    ),
    Case(
        "registry 500",
        fail_always(f"{HELLO}/*", Status(500, {"Retry-After": "3600"})), 3, "server-error", (EXTRA_IMAGE, "HOST"),
    ),
    Case("manifest damaged", fail_always(f"{HELLO}/manifests/sha256*", Flip(9)), 4, "digest-mismatch", (EXTRA_IMAGE,)),
    Case("layers damaged", fail_always(f"{HELLO}/blobs/*", Flip(9)), 4, "digest-mismatch", (EXTRA_IMAGE,)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_clear_error_and_no_bundle(case: Case, workshop: Workshop) -> None:
    case.prepare(workshop)
    result = workshop.build("--progress", "lines")
    assert result.error == case.error, result.err
    assert result.code == case.code
    for name in case.named:
        assert name.replace("HOST", workshop.upstream.host) in result.err
    assert workshop.left_in_output() == []
    assert not list((workshop.cache / "tmp").glob("*"))


@pytest.mark.parametrize("case", CASES[:12], ids=str)
def test_what_was_wrong_can_be_put_right(case: Case, workshop: Workshop, tmp_path: Path) -> None:
    """What a failed build left in the cache does no harm to the next."""
    case.prepare(workshop)
    assert workshop.build().code == case.code
    with Upstream() as healthy:
        again = Workshop(tmp_path / "again", healthy)
        result = again.run("build", again.recipe, "--cache-dir", workshop.cache, "--output", workshop.output)
    assert result.code == 0, result.err


def test_a_registry_that_wants_a_password_names_itself_and_docker_login(tmp_path: Path) -> None:
    with Upstream(access=BasicAccess("ann", "secret")) as upstream:
        workshop = Workshop(tmp_path / "workshop", upstream)
        workshop.write_recipe(extra=[])
        result = workshop.build()
        assert result.error == "access-denied"
        assert "docker login" in result.err
        assert upstream.host in result.err
        login = workshop.folder / "docker"
        login.mkdir()
        auths = {upstream.host: {"auth": "YW5uOnNlY3JldA=="}}
        (login / "config.json").write_text(json.dumps({"auths": auths}))
        allowed = workshop.build(env={"DOCKER_CONFIG": str(login)})
    assert allowed.code == 0, allowed.err
    assert "secret" not in allowed.err + result.err


def test_a_server_that_fails_twice_is_asked_again(workshop: Workshop) -> None:
    workshop.upstream.fail(f"{HELLO}/blobs/*", Status(500), 1)
    workshop.upstream.fail(f"{ASSETS}/k3s-arm64", Status(503), 2)
    assert workshop.build().code == 0


def test_a_connection_reset_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    content = standard_content(Filler(4))
    with Upstream(content) as upstream:
        workshop = Workshop(tmp_path / "workshop", upstream)
        image = next(each for each in content.images if "klipper-helm:v0.9.8" in each.reference)
        bulk = max(image.on("arm64").layers, key=lambda layer: len(layer.data))
        blob = f"/v2/*/blobs/{bulk.digest}"
        upstream.fail(blob, Reset(1 << 20), 3)
        assert workshop.build().code == 0
        assert len(upstream.requests_to(blob, "GET")) == 4
        assert upstream.bytes_sent(blob) <= 1.05 * len(bulk.data)


# this machine


def full_at(size: int) -> Callable[[], None]:
    """Let no file of the child grow beyond `size` bytes: the same error path as a full disk (EFBIG)."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def modes_matter() -> None:
    """Take from root, for good, what lets it write where modes forbid it; other users have no such thing."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.fixture
def bulky(tmp_path: Path) -> object:
    with Upstream(standard_content(Filler(1))) as upstream:
        yield Workshop(tmp_path / "bulky", upstream)


def test_a_disk_that_fills_up_during_the_fetch(bulky: Workshop) -> None:
    result = bulky.build(before=full_at(400 << 10))
    assert (result.error, result.code) == ("disk-full", 5)
    assert str(bulky.cache) in result.err
    assert bulky.left_in_output() == []
    assert bulky.build().code == 0


def test_a_disk_that_fills_up_while_the_bundle_is_written(bulky: Workshop) -> None:
    whole = bulky.build()
    whole.path.rename(bulky.folder / "kept")
    result = bulky.build(before=full_at(400 << 10))
    assert (result.error, result.code) == ("disk-full", 5)
    assert str(bulky.output) in result.err
    assert bulky.left_in_output() == []
    assert sums_of(bulky.build().path) == sums_of(bulky.folder / "kept")


def test_a_disk_that_fills_up_while_replacing_keeps_the_old_bundle(bulky: Workshop) -> None:
    before = sums_of(bulky.build().path)
    result = bulky.build("--replace", before=full_at(400 << 10))
    assert result.error == "disk-full"
    assert sums_of(next(bulky.output.iterdir())) == before


def test_a_disk_that_fills_up_while_the_one_file_is_written(bulky: Workshop) -> None:
    size = max(path.stat().st_size for path in bulky.build().path.rglob("*"))
    result = bulky.build("--replace", "--archive", before=full_at(size + 512))
    assert result.error == "disk-full"
    assert not [name for name in bulky.left_in_output() if ".tar" in name]


@pytest.mark.parametrize("part", ["", "tmp", "blobs/sha256", "layers", "partial"])
def test_a_cache_nobody_may_write(part: str, workshop: Workshop) -> None:
    workshop.run("cache", "ls", "--cache-dir", workshop.cache)
    folder = workshop.cache / part
    folder.chmod(0o555)
    (workshop.cache / "tmp").chmod(0o555 if part in {"", "tmp"} else 0o755)
    try:
        result = workshop.build(before=modes_matter)
    finally:
        folder.chmod(0o755)
    assert (result.error, result.code) == ("not-writable", 5), result.err
    assert str(workshop.cache) in result.err
    assert "--cache-dir" in result.err
    assert workshop.left_in_output() == []


def test_a_docker_socket_that_may_not_be_used_is_told_with_the_way_out(workshop: Workshop) -> None:
    with socket_directory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = folder / "docker.sock"
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        env = {"DOCKER_HOST": f"unix://{path}"}

        refused = workshop.build("--engine", "docker", env=env, before=modes_matter)
        assert (refused.error, refused.code) == ("daemon-permission", 3)
        assert "group docker" in refused.err

        look = ("doctor", workshop.recipe, "--engine", "docker", "--json", "--cache-dir", workshop.cache)
        seen = workshop.run(*look, env=env, before=modes_matter)
        (docker,) = [each for each in seen.document["findings"] if each["subject"] == "docker"]
        assert (seen.code, docker["state"], docker["error"]) == (3, "error", "daemon-permission")
        assert "group docker" in docker["hint"]

        built = workshop.build("--engine", "auto", env=env, before=modes_matter)
        assert built.code == 0, built.err
        assert "engine registry: this user may not use the Docker socket" in built.err


def test_an_output_in_a_folder_nobody_may_enter(workshop: Workshop) -> None:
    workshop.output.mkdir(mode=0)
    try:
        result = workshop.build("--output", workshop.output / "inside", before=modes_matter)
    finally:
        workshop.output.chmod(0o755)
    assert (result.error, result.code) == ("not-writable", 5)
    assert str(workshop.output) in result.err


def test_an_output_folder_nobody_may_write(workshop: Workshop) -> None:
    workshop.output.mkdir(mode=0o555)
    result = workshop.build(before=modes_matter)
    assert (result.error, result.code) == ("not-writable", 5)
    assert str(workshop.output) in result.err
    assert workshop.left_in_output() == []


def test_a_recipe_folder_nobody_may_write_still_says_what_to_do(workshop: Workshop) -> None:
    workshop.cache.mkdir()
    workshop.output.mkdir()
    workshop.folder.chmod(0o555)
    result = workshop.build(before=modes_matter)
    workshop.folder.chmod(0o755)
    assert (result.error, result.code) == ("not-writable", 5)
    assert str(workshop.lock) in result.err
    assert "hint: a lock lies beside its recipe" in result.err


def test_a_lock_in_the_cache_that_cannot_be_written_sends_nobody_to_the_recipe(workshop: Workshop) -> None:
    locks = workshop.cache / "locks"
    locks.mkdir(parents=True)
    locks.chmod(0o555)
    for verb in (("build", "--output", workshop.output), ("lock",), ("lock", "--update")):
        call = (*verb, workshop.recipe, "--cache-dir", workshop.cache, "--level", 3)
        result = workshop.run(*call, before=modes_matter)
        assert (result.error, result.code) == ("not-writable", 5)
        assert str(locks) in result.err
        assert "hint: this lock lies in the cache" in result.err
        assert "--cache-dir" in result.err
    locks.chmod(0o755)


def test_an_output_that_exists_is_left_as_it_is(workshop: Workshop) -> None:
    bundle = workshop.build().path
    before = sums_of(bundle)
    result = workshop.build()
    assert (result.error, result.code) == ("output-exists", 2)
    assert str(bundle) in result.err
    assert "--replace" in result.err
    assert sums_of(bundle) == before
    assert workshop.build("--replace").path == bundle
    assert workshop.left_in_output() == [bundle.name]


def test_a_foreign_file_in_the_place_of_the_one_file_is_found_before_anything_is_fetched(workshop: Workshop) -> None:
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    workshop.output.mkdir()
    foreign = workshop.output / "edge-v1.34.1-k3s1-arm64.tar"
    foreign.write_text("mine")
    workshop.upstream.forget_requests()
    for more in ((), ("--replace",)):
        result = workshop.build("--archive", *more)
        assert (result.error, result.code) == ("output-exists", 2)
        assert str(foreign) in result.err
    assert workshop.upstream.requests == ()
    assert workshop.left_in_output() == [foreign.name]
    assert foreign.read_text() == "mine"


def test_a_file_where_the_output_folder_should_be(workshop: Workshop) -> None:
    workshop.output.write_text("not a folder")
    result = workshop.build()
    assert result.code == 5
    assert str(workshop.output) in result.err
    assert result.error


def test_a_file_where_the_cache_should_be(workshop: Workshop) -> None:
    workshop.cache.write_text("not a folder")
    result = workshop.build()
    assert result.code == 5
    assert result.error


# the cache


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, truncate, empty])
@pytest.mark.parametrize("kind", ["blobs", "layers"])
def test_a_damaged_cache_is_healed(kind: str, damage: Callable[[Path], None], workshop: Workshop) -> None:
    bundle = workshop.build().path
    expected = sums_of(bundle)
    for path in (workshop.cache / kind).rglob("*"):
        if path.is_file():
            damage(path)
    result = workshop.build("--replace")
    assert result.code == 0, result.err
    assert sums_of(bundle) == expected
    assert workshop.run("cache", "verify", "--cache-dir", workshop.cache).code == 0


def test_one_damaged_layer_costs_one_layer(workshop: Workshop) -> None:
    workshop.build()
    records = sorted((workshop.cache / "layers").glob("*.json"))
    packed = json.loads(records[0].read_text())["layer"]["digest"].removeprefix("sha256:")
    flip(workshop.cache / "blobs" / "sha256" / packed)
    workshop.upstream.forget_requests()
    assert workshop.build("--replace").code == 0
    assert len(workshop.upstream.requests_to("*", "GET")) == 1


def test_a_layer_that_unpacks_to_other_bytes_never_gets_into_a_bundle(workshop: Workshop) -> None:
    """A record that names the wrong blob: whole by its own digest, not what the image says."""
    bundle = workshop.build().path
    expected = sums_of(bundle)
    first, second = sorted((workshop.cache / "layers").glob("*.json"))[:2]
    kept, other = json.loads(first.read_text()), json.loads(second.read_text())
    for seal in (kept["seal"], other["seal"]):
        mixed = {**other["layer"], "diffId": kept["layer"]["diffId"]}
        first.write_text(json.dumps({"layer": mixed, "seal": seal}))
        result = workshop.build("--replace")
        assert result.code == 0, result.err
        assert sums_of(bundle) == expected
        assert json.loads(first.read_text()) == kept


# locks that do not fit


def test_locked_refuses_a_missing_lock(workshop: Workshop) -> None:
    result = workshop.build("--locked")
    assert (result.error, result.code) == ("lock-outdated", 6)
    assert str(workshop.lock) in result.err
    assert not workshop.lock.exists()
    assert workshop.upstream.requests == ()


def test_locked_refuses_the_lock_of_another_recipe(workshop: Workshop) -> None:
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    before = workshop.lock.read_bytes()
    workshop.write_recipe(extra=[])
    result = workshop.build("--locked")
    assert (result.error, result.code) == ("lock-outdated", 6)
    assert "recipe changed" in result.err
    assert workshop.lock.read_bytes() == before
    assert workshop.left_in_output() == []


def test_locked_refuses_the_lock_of_another_libzstd_and_names_both(workshop: Workshop) -> None:
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    here, lock["compressor"]["library"] = lock["compressor"]["library"], "1.4.4"
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked")
    assert (result.error, result.code) == ("lock-outdated", 6)
    assert "1.4.4" in result.err
    assert here in result.err


@pytest.mark.parametrize(("what", "value", "said"), [("level", 19, "level 19, "), ("windowLog", 20, "window 2^20, ")])
def test_locked_refuses_the_lock_of_another_level_or_window_and_names_both(
    what: str, value: int, said: str, workshop: Workshop
) -> None:
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    lock["compressor"][what] = value
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked")
    assert (result.error, result.code) == ("lock-outdated", 6)
    was, _, here = result.err.partition("this machine has")
    assert said in was
    assert said not in here
    assert workshop.left_in_output() == []


@pytest.mark.parametrize("text", ["", "{}", "[]", "{", "null", '{"lockVersion": 2}', "\x00"])
def test_a_lock_that_is_none_is_an_error_and_stays(text: str, workshop: Workshop) -> None:
    workshop.lock.write_text(text)
    result = workshop.build()
    assert (result.error, result.code) == ("lock-malformed", 6)
    assert str(workshop.lock) in result.err
    assert workshop.lock.read_text() == text


TOO_LONG = "x" * 300


@pytest.mark.parametrize(
    ("extra", "more"),
    [
        ("[]", f"files: [{{source: ./{TOO_LONG}, target: /etc/x}}]\n"),
        ("[]", f"manifests: [./{TOO_LONG}]\n"),
        ("[]", f"charts: [{{name: a, chart: ./{TOO_LONG}}}]\n"),
        (f"[{{archive: ./{TOO_LONG}}}]", ""),
        (f"[{{build: ./{TOO_LONG}, ref: 'a:1'}}]", ""),
    ],
)
def test_what_the_system_refuses_to_look_at_is_an_error_of_this_machine(
    workshop: Workshop, extra: str, more: str
) -> None:
    """As for a file in a folder that only somebody else may enter."""
    workshop.write_recipe(extra=[], more=more)
    workshop.recipe.write_text(workshop.recipe.read_text().replace("extra: []", f"extra: {extra}"))
    result = workshop.build()
    assert (result.error, result.code) == ("host", 5)
    assert f"{TOO_LONG}: File name too long" in result.err


def test_a_registry_that_falls_silent_keeps_other_work(workshop: Workshop) -> None:
    """One silent answer is asked again; nothing fails."""
    workshop.upstream.fail(f"{HELLO}/blobs/*", Stall(after=10, seconds=1))
    assert workshop.build().code == 0
