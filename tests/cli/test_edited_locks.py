"""Locks and bundles that somebody edited: a clean error or a whole bundle, never a traceback or a file outside."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.cli.main import main
from bundler.model.lock import parse_lock
from bundler.stages.lockfile import what_moved
from tests.recorded_daemon import RECORDED
from tests.upstream import Upstream
from tests.workloads.packed import PLAIN, chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COREDNS = "127.0.0.1:5099/demo/coredns:1.12.3"
HELLO_NAME = "docker.io/example/hello:1.0"
RECIPE = """\
version: 1
name: edge
release: v1.34.1+k3s1
arch: [arm64]
images:
  extra: [{{archive: ./app.tar, ref: "{ref}"}}, "{hello}"]
  exclude: [docker.io/rancher/klipper-lb]
components: {{disable: [metrics-server]}}
manifests: [./web.yaml]
charts: [{{name: app, chart: ./app.tgz, version: 1.0.0}}]
files: [{{source: ./web.yaml, target: /etc/site/web.yaml}}]
sources:
  releases: {releases}
  tag_style: plain
  registries:
    docker.io: ["{url}"]
"""
NASTY: tuple[Any, ...] = (
    "", " ", ".", "..", "../x", "/x", "a/../../x", "manifests/../../x", "a b", "a\nb", "a\0b", "é", "A", "%",
    "x" * 5000,
    "docker.io/library/hello", "hello@sha256:0", f"sha256:{'0' * 64}", "linux/amd64", "linux", "arm", "amd64", "0.0.0",
    "oci://", "oci://a b:c", "file:///etc/passwd", "ftp://a.example/x", "http://[", "http://a.example:99999/x",
    -1, 0, 1, 2**53, 2**64, 10**400, 1.5, True, False, None, [], {}, [None], [""], {"": ""},
)  # fmt: skip
Place = tuple[str | int, ...]


@dataclass(frozen=True, repr=False)
class Shop:
    """A recipe that was locked and built, with its cache warm, and its bundle."""

    folder: Path
    lock: dict[str, Any]
    bundle: Path

    def build(self, lock: object) -> int:
        (self.folder / "edge.lock.json").write_text(json.dumps(lock))
        places = ("--cache-dir", self.folder / "cache", "--output", self.folder / "dist")
        return run("build", self.folder / "edge.yaml", *places, "--engine", "registry", "--locked", "--replace")

    def stick(self, name: str, document: object) -> Path:
        """The bundle with another `lock.json` or `bundle.json`, its checksum with it."""
        stick = self.folder / "stick"
        shutil.rmtree(stick, ignore_errors=True)
        shutil.copytree(self.bundle, stick)
        before = hashlib.sha256((stick / name).read_bytes()).hexdigest()
        data = json.dumps(document).encode()
        (stick / name).write_bytes(data)
        sums = stick / "SHA256SUMS"
        sums.write_text(sums.read_text().replace(before, hashlib.sha256(data).hexdigest()))
        return stick


def run(*arguments: object) -> int:
    return main([*map(str, arguments), "--quiet"])


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "app.tar").write_bytes((RECORDED / "docker20-overlay2.names-arm64.tar").read_bytes())
    (folder / "app.tgz").write_bytes(chart({"templates/a.yaml": PLAIN}))
    (folder / "web.yaml").write_text(PLAIN)
    with Upstream() as upstream:
        hello = f"{HELLO_NAME}@{upstream.content.image(HELLO_NAME).top.digest}"
        text = RECIPE.format(ref=COREDNS, hello=hello, releases=upstream.releases_url, url=upstream.url)
        (folder / "edge.yaml").write_text(text)
        places = ("--cache-dir", folder / "cache", "--output", folder / "dist")
        assert run("build", folder / "edge.yaml", *places, "--engine", "registry") == 0
        lock = json.loads((folder / "edge.lock.json").read_text())
        bundle = (folder / "dist" / "edge-v1.34.1-k3s1-arm64").rename(folder / "bundle")
        yield Shop(folder, lock, bundle)


def paths_in(value: object, path: Place = ()) -> Iterator[Place]:
    """Every place in a document but its root; of a list the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from paths_in(child, (*path, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1}) if value else ():
            yield from paths_in(value[index], (*path, index))


def edited(document: Any, path: Place, value: object) -> Any:
    """A copy of a document with another value at one place."""
    whole = copy.deepcopy(document)
    holder = whole
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    return whole


def doubled(document: Any, path: Place) -> Any:
    """A copy of a document with one list twice as long."""
    found = document
    for part in path:
        found = found[part]
    return edited(document, path, [*found, *found]) if isinstance(found, list) else edited(document, path, found)


edits = st.sampled_from(NASTY) | st.text(max_size=30) | st.integers()


def clean(capsys: pytest.CaptureFixture[str], code: int) -> bool:
    said = capsys.readouterr().err
    return code in {0, 2, 3, 4, 5, 6} and "error[bug]" not in said and (code == 0 or said.count("\nhint: ") == 1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_edited_lock_is_a_clean_error_or_a_bundle(
    data: st.DataObject, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data.draw(st.sampled_from(sorted(paths_in(shop.lock), key=str)))
    lock = data.draw(st.just(doubled(shop.lock, path)) | edits.map(lambda value: edited(shop.lock, path, value)))
    assert clean(capsys, shop.build(lock))
    assert {path.name for path in (shop.folder / "dist").iterdir()} <= {"edge-v1.34.1-k3s1-arm64"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["lock.json", "bundle.json"]))
def test_an_edited_stick_is_a_clean_error_or_whole(
    data: st.DataObject, name: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((shop.bundle / name).read_text())
    path = data.draw(st.sampled_from(sorted(paths_in(document), key=str)))
    stick = shop.stick(name, data.draw(edits.map(lambda value: edited(document, path, value))))
    for command in (("verify", "--closure"), ("verify", "--unpack"), ("inspect",), ("inspect", "--explain")):
        assert clean(capsys, run(*command, stick)), command


HELLO = ("architectures", 0, "recipeImages", 1)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("charts", 0, "images", 0), "A b"),
        (("charts", 0, "images", 0), "hello"),
        (("charts", 0, "path"), "../x"),
        (("charts", 0, "path"), "charts/other.tgz"),
        (("charts", 0, "digest"), f"sha256:{'0' * 64}"),
        (("charts", 0, "name"), "../../x"),
        (("files", 0, "path"), "manifests/../../x"),
        (("files", 0, "path"), "bin/k3s-arm64"),
        (("name",), "../x"),
        (("release",), "v1.34"),
        (("architectures",), []),
        ((*HELLO, "reference"), "hello"),
        ((*HELLO, "platform"), "linux"),
        ((*HELLO, "platform"), "linux/amd64"),
        ((*HELLO, "configSize"), 10**400),
        ((*HELLO, "layers", 0, "size"), 10**400),
        (("architectures", 0, "recipeImages", 0, "archive", "path"), "a\0b"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(
    path: Place, value: object, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = edited(shop.lock, path, value)
    assert shop.build(lock) == 6
    assert "error[lock-malformed]: " in capsys.readouterr().err
    stick = shop.stick("lock.json", lock)
    assert run("verify", "--closure", stick) == 4
    assert "error[bundle-damaged]: " in capsys.readouterr().err
    assert run("inspect", "--explain", stick) == 6
    assert "error[lock-malformed]: " in capsys.readouterr().err


@pytest.mark.parametrize("path", [("architectures",), ("files",), ("charts",), ("architectures", 0, "k3SImages")])
def test_nothing_is_locked_twice(path: Place, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.build(doubled(shop.lock, path)) == 6
    assert "is there twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("name",), "other", "its name, layers and architectures are not those of the recipe"),
        (("layers",), "plain", "its name, layers and architectures are not those of the recipe"),
        (("release",), "v1.30.0+k3s1", "it is for v1.30.0+k3s1, the recipe for v1.34.1+k3s1"),
        (("charts",), [], "its charts are not those of the recipe"),
        (("architectures", 0, "recipeImages"), [], f"{COREDNS} for arm64 is not in it"),
        ((*HELLO, "archive"), {"path": "/dev/zero", "size": 0, "digest": f"sha256:{'0' * 64}"}, "from archives that"),
        ((*HELLO, "engineId"), f"sha256:{'0' * 64}", "images from the Docker engine that the recipe does not name"),
        ((*HELLO, "index"), f"sha256:{'0' * 64}", f"{HELLO_NAME} is sha256:{'0' * 64}, the recipe pins sha256:"),
        (("charts", 0, "version"), "9.9.9", "it has 9.9.9 of the chart app, the recipe 1.0.0"),
    ],
)
def test_a_lock_that_says_something_else_than_its_recipe_is_outdated_and_made_anew(
    path: Place, value: object, why: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the recipe names would be missing from the bundle, and nobody would have been told."""
    assert shop.build(edited(shop.lock, path, value)) == 6
    said = capsys.readouterr().err
    assert "error[lock-outdated]: " in said
    assert "it was edited: " in said
    assert why in said
    assert run("lock", shop.folder / "edge.yaml", "--cache-dir", shop.folder / "cache") == 0
    assert json.loads((shop.folder / "edge.lock.json").read_text()) == shop.lock


def refused_as_edited(shop: Shop, lock: object, why: str, capsys: pytest.CaptureFixture[str]) -> bool:
    code, said = shop.build(lock), capsys.readouterr().err
    return code == 6 and f"it was edited: {why}" in said


def test_no_image_of_k3s_is_left_out_or_let_in_against_the_recipe(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left out, it would be missing at the site, and the closure check would believe the lock."""
    images, left = shop.lock["architectures"][0]["k3SImages"], shop.lock["leftOut"]
    assert len(left) == 2, "one that is excluded, and one of a component that is disabled"
    assert any("klipper-helm" in image["reference"] for image in images), "the chart needs it"
    for number, image in enumerate(images):
        lock = edited(shop.lock, ("architectures", 0, "k3SImages"), images[:number] + images[number + 1 :])
        lock["leftOut"].append({"reference": image["reference"], "why": "images.exclude names it"})
        why = f"{image['reference']} is left out, and the recipe does not say so"
        assert refused_as_edited(shop, lock, why, capsys), image["reference"]
    for number, each in enumerate(left):
        lock = edited(shop.lock, ("leftOut",), left[:number] + left[number + 1 :])
        lock["architectures"][0]["k3SImages"].append({**images[0], "reference": each["reference"]})
        why = f"{each['reference']} is in it, and the recipe leaves it out"
        assert refused_as_edited(shop, lock, why, capsys), each["reference"]


def test_no_file_comes_from_a_server_that_the_recipe_does_not_name(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = f"sha256:{'0' * 64}"
    file = {"source": "x", "path": "files/any/etc/cron.d/x", "size": 1, "digest": digest, "target": "/etc/cron.d/x"}
    lock = edited(shop.lock, ("files",), [*shop.lock["files"], {**file, "url": "http://127.0.0.1:1/x"}])
    assert refused_as_edited(shop, lock, "it has files from servers that the recipe does not name", capsys)


def test_a_malformed_lock_is_made_anew_by_an_update(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what the hint of the error says."""
    assert shop.build({}) == 6
    assert "lock --update" in capsys.readouterr().err
    assert run("lock", "--update", shop.folder / "edge.yaml", "--cache-dir", shop.folder / "cache") == 0
    assert json.loads((shop.folder / "edge.lock.json").read_text()) == shop.lock


def test_an_archive_for_an_architecture_that_is_not_in_the_bundle_is_found(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((shop.bundle / "bundle.json").read_text())
    archive = {**about["archives"][0], "arch": "amd64", "path": "images/other.tar"}
    stick = shop.stick("bundle.json", {**about, "archives": [*about["archives"], archive]})
    for more in ((), ("--unpack",)):
        assert run("verify", *more, stick) == 4
        assert "images/other.tar is for amd64, and the bundle is not" in capsys.readouterr().err


def test_a_binary_that_was_published_anew_under_its_tag_is_told(shop: Shop) -> None:
    old = parse_lock(json.dumps(shop.lock).encode(), "a")
    digest = ("architectures", 0, "binary", "digest")
    new = parse_lock(json.dumps(edited(shop.lock, digest, f"sha256:{'0' * 64}")).encode(), "b")
    assert what_moved(old, new) == ("~ k3s-arm64: published anew as v1.34.1+k3s1",)
    assert what_moved(old, old) == ()
