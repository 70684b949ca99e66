"""A lock stays until its recipe changes or somebody asks for another; what moved is said aloud."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.build.workshop import Workshop, sums_of
from tests.upstream import EXTRA_IMAGE
from tests.upstream.odd_images import NESTED
from tests.upstream.routes import CHANNELS
from tests.workloads.packed import PLAIN, chart

if TYPE_CHECKING:
    from pathlib import Path

NEW, OLD = "v1.34.1+k3s1", "v1.30.0+k3s1"


def move_channel(workshop: Workshop, tag: str) -> None:
    body = json.loads(workshop.upstream.document(CHANNELS).body)
    for entry in body["data"]:
        if entry["name"] == "stable":
            entry["latest"] = tag
    workshop.upstream.put(CHANNELS, json.dumps(body).encode(), "application/json")


def move_tag(workshop: Workshop) -> None:
    """Let the extra image's tag point to what another image's does."""
    other = workshop.upstream.document("/v2/rancher/mirrored-pause/manifests/3.6")
    workshop.upstream.put_document("/v2/example/hello/manifests/1.0", other)
    for digest in json.loads(other.body)["manifests"]:
        name = digest["digest"]
        path = f"/v2/rancher/mirrored-pause/manifests/{name}"
        manifest = workshop.upstream.document(path)
        workshop.upstream.put_document(path.replace("rancher/mirrored-pause", "example/hello"), manifest)
        parts = json.loads(manifest.body)
        for blob in (parts["config"], *parts["layers"]):
            path_of_blob = f"/v2/rancher/mirrored-pause/blobs/{blob['digest']}"
            workshop.upstream.put_document(
                path_of_blob.replace("rancher/mirrored-pause", "example/hello"),
                workshop.upstream.document(path_of_blob),
            )


def lock(workshop: Workshop, *more: object) -> tuple[int, str, str]:
    result = workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache, *more)
    return result.code, result.out, result.err


def test_the_lock_lies_beside_the_recipe_and_its_path_is_printed(workshop: Workshop) -> None:
    code, out, _ = lock(workshop)
    assert (code, out) == (0, f"{workshop.lock}\n")
    locked = json.loads(workshop.lock.read_text())
    assert locked["release"] == NEW
    assert [each["arch"] for each in locked["architectures"]] == ["arm64"]


def test_lock_json_prints_the_very_lock(workshop: Workshop) -> None:
    code, out, _ = lock(workshop, "--json")
    assert code == 0
    assert out.encode() == workshop.lock.read_bytes()


def test_a_lock_is_the_same_each_time_it_is_made(workshop: Workshop, tmp_path: Path) -> None:
    lock(workshop, "--jobs", 1)
    other = Workshop(tmp_path / "other", workshop.upstream)
    other.run("lock", other.recipe, "--jobs", 8, "--cache-dir", other.cache, env={"PYTHONHASHSEED": "77"})
    assert other.lock.read_bytes() == workshop.lock.read_bytes()


def test_a_channel_that_moves_does_not_move_the_lock(workshop: Workshop) -> None:
    bundle = workshop.build().path
    before, sums = workshop.lock.read_bytes(), sums_of(bundle)
    move_channel(workshop, OLD)
    move_tag(workshop)
    assert workshop.build("--replace").path == bundle
    assert workshop.build("--replace", "--locked").path == bundle
    assert workshop.lock.read_bytes() == before
    assert sums_of(bundle) == sums


def test_update_moves_the_lock_and_shows_what_moved(workshop: Workshop) -> None:
    lock(workshop)
    move_channel(workshop, OLD)
    code, _, err = lock(workshop, "--update")
    assert code == 0
    assert f"release {NEW} -> {OLD}" in err
    assert "- docker.io/rancher/klipper-lb:v0.4.13 (arm64)" in err
    assert "+ docker.io/rancher/klipper-lb:v0.4.7 (arm64)" in err
    assert json.loads(workshop.lock.read_text())["release"] == OLD


def test_update_shows_a_tag_that_was_pushed_anew_by_both_digests(workshop: Workshop) -> None:
    lock(workshop)
    before = json.loads(workshop.lock.read_text())["architectures"][0]["recipeImages"][0]["manifest"]
    move_tag(workshop)
    code, _, err = lock(workshop, "--update")
    after = json.loads(workshop.lock.read_text())["architectures"][0]["recipeImages"][0]["manifest"]
    assert code == 0
    assert before != after
    line = next(line for line in err.splitlines() if EXTRA_IMAGE in line and "~" in line)
    assert before[:19] in line
    assert after[:19] in line


def test_update_of_what_did_not_move_changes_no_byte(workshop: Workshop) -> None:
    lock(workshop)
    before = workshop.lock.read_bytes()
    assert lock(workshop, "--update")[0] == 0
    assert workshop.lock.read_bytes() == before


def test_a_changed_recipe_is_locked_anew_aloud(workshop: Workshop) -> None:
    assert workshop.build().code == 0
    workshop.write_recipe(extra=[], release=OLD)
    result = workshop.build()
    assert result.path.name == "edge-v1.30.0-k3s1-arm64"
    assert "the recipe changed" in result.err
    assert f"release {NEW} -> {OLD}" in result.err
    assert f"- {EXTRA_IMAGE} (arm64)" in result.err


def with_file(workshop: Workshop, text: str, *, channel: str = "stable") -> None:
    (workshop.folder / "motd").write_text(text)
    workshop.write_recipe(release=channel, more="files: [{source: ./motd, target: /etc/motd}]\n")


def test_a_file_that_changed_moves_nothing_but_itself(workshop: Workshop) -> None:
    """Who edits a file does not ask for another k3s; who wants that says `lock --update`."""
    with_file(workshop, "one\n")
    lock(workshop)
    before = json.loads(workshop.lock.read_text())
    move_channel(workshop, OLD)
    move_tag(workshop)
    with_file(workshop, "two\n")
    workshop.upstream.forget_requests()
    result = workshop.build()
    assert result.path.name == "edge-v1.34.1-k3s1-arm64"
    assert f"locked {NEW} in {workshop.lock}: ./motd changed since it was locked" in result.err
    assert [line for line in result.err.splitlines() if line.strip().startswith(("~", "+", "-"))] == [
        "  ~ files/any/etc/motd"
    ]
    assert not workshop.upstream.requests_to(CHANNELS)
    assert not workshop.upstream.requests_to("/v2/*/manifests/*", "HEAD")
    after = json.loads(workshop.lock.read_text())
    assert {key for key in after if after[key] != before[key]} == {"files"}

    assert f"release {NEW} -> {OLD}" in lock(workshop, "--update")[2]
    with_file(workshop, "three\n", channel="v1.34")
    assert f"release {OLD} -> {NEW}" in lock(workshop)[2], "with another recipe everything is asked again"


def test_what_an_edited_file_needs_anew_is_looked_up(workshop: Workshop) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
    (workshop.folder / "pod.yaml").write_text(pod.format(image=EXTRA_IMAGE))
    workshop.write_recipe(extra=[], more="manifests: [./pod.yaml]\n")
    lock(workshop)
    digest = workshop.upstream.content.image(NESTED).top.digest
    (workshop.folder / "pod.yaml").write_text(pod.format(image=f"{NESTED}@{digest}"))
    code, _, err = lock(workshop)
    assert code == 0
    assert f"- {EXTRA_IMAGE} (arm64)" in err
    assert f"+ {NESTED} (arm64)" in err
    other = "sha256:" + "0" * 64
    (workshop.folder / "pod.yaml").write_text(pod.format(image=f"{NESTED}@{other}"))
    code, _, err = lock(workshop)
    assert (code, other in err) == (3, True), "a pin is asked for, whatever the lock has of that name"


def test_the_newest_chart_stays_that_of_the_lock_when_a_file_changed(workshop: Workshop) -> None:
    charts = {version: chart({"templates/a.yaml": PLAIN}, version=version) for version in ("1.0.0", "1.1.0")}
    entries = [{"name": "app", "version": version, "urls": [f"app-{version}.tgz"]} for version in charts]
    for version, data in charts.items():
        workshop.upstream.put(f"/charts/app-{version}.tgz", data)

    def publish(count: int) -> None:
        workshop.upstream.put("/charts/index.yaml", json.dumps({"entries": {"app": entries[:count]}}).encode())

    def locked_version(text: str, *more: object) -> str:
        (workshop.folder / "motd").write_text(text)
        assert lock(workshop, *more)[0] == 0
        return str(json.loads(workshop.lock.read_text())["charts"][0]["version"])

    more = f"charts: [{{name: web, chart: app, repo: '{workshop.upstream.url}/charts'}}]\n"
    workshop.write_recipe(more=more + "files: [{source: ./motd, target: /etc/motd}]\n")
    publish(1)
    assert locked_version("one\n") == "1.0.0"
    publish(2)
    assert locked_version("two\n") == "1.0.0"
    assert locked_version("two\n", "--update") == "1.1.0"


def with_a_chart(workshop: Workshop, version: str) -> tuple[bytes, dict[str, Any]]:
    """Lock a chart of a repository and a file; gives the chart's bytes and the lock."""
    data = chart({"templates/a.yaml": PLAIN})
    entry = {"name": "app", "version": "1.0.0", "urls": ["app.tgz"]}
    workshop.upstream.put("/charts/app.tgz", data)
    workshop.upstream.put("/charts/index.yaml", json.dumps({"entries": {"app": [entry]}}).encode())
    (workshop.folder / "motd").write_text("one\n")
    repo = f"repo: '{workshop.upstream.url}/charts'{version}"
    more = f"charts: [{{name: web, chart: app, {repo}}}]\nfiles: [{{source: ./motd, target: /etc/motd}}]\n"
    workshop.write_recipe(more=more)
    assert lock(workshop)[0] == 0
    locked = json.loads(workshop.lock.read_text())
    (workshop.folder / "motd").write_text("two\n")
    workshop.upstream.forget_requests()
    return data, locked


@pytest.mark.parametrize("version", ["", ", version: 1.0.0"])
@pytest.mark.parametrize("since", ["dropped", "published anew"])
def test_a_chart_stays_that_of_the_lock_when_a_file_changed_whatever_its_repository_has_now(
    workshop: Workshop, since: str, version: str
) -> None:
    _, before = with_a_chart(workshop, version)
    if since == "dropped":
        workshop.upstream.put("/charts/index.yaml", b"entries: {}")
        workshop.upstream.remove("/charts/app.tgz")
    else:
        workshop.upstream.put("/charts/app.tgz", chart({"templates/a.yaml": PLAIN, "README.md": "anew"}))
    code, _, err = lock(workshop)
    assert code == 0, err
    after = json.loads(workshop.lock.read_text())
    assert {key for key in after if after[key] != before[key]} == {"files"}
    assert after["charts"] == before["charts"]
    assert not workshop.upstream.requests_to("/charts/*"), "the cache has it"


def test_a_locked_chart_that_the_cache_lacks_comes_from_where_it_was_or_not_at_all(
    workshop: Workshop, tmp_path: Path
) -> None:
    data, before = with_a_chart(workshop, "")
    empty = ("lock", workshop.recipe, "--cache-dir")
    workshop.upstream.put("/charts/app.tgz", data[:-1] + bytes([data[-1] ^ 1]))
    refused = workshop.run(*empty, tmp_path / "one")
    assert (refused.code, refused.error) == (4, "digest-mismatch")
    assert json.loads(workshop.lock.read_text()) == before
    workshop.upstream.put("/charts/app.tgz", data)
    workshop.upstream.forget_requests()
    again = workshop.run(*empty, tmp_path / "two")
    assert again.code == 0, again.err
    assert json.loads(workshop.lock.read_text())["charts"] == before["charts"]
    assert [asked.path for asked in workshop.upstream.requests_to("/charts/*")] == ["/charts/app.tgz"]


def test_another_version_of_a_chart_on_disk_is_locked_anew(workshop: Workshop) -> None:
    workshop.write_recipe(more="charts: [{name: web, chart: ./app.tgz}]\n")
    for version in ("1.0.0", "1.1.0"):
        (workshop.folder / "app.tgz").write_bytes(chart({"templates/a.yaml": PLAIN}, version=version))
        assert lock(workshop)[0] == 0
        assert json.loads(workshop.lock.read_text())["charts"][0]["version"] == version


def test_quiet_or_not_the_lock_is_the_same(workshop: Workshop) -> None:
    assert workshop.build("--quiet").err == ""
    assert workshop.lock.exists()


def test_comments_order_and_engine_do_not_outdate_a_lock(workshop: Workshop) -> None:
    lock(workshop)
    text = workshop.recipe.read_text().replace("engine: registry\n", "engine: docker\n")
    workshop.recipe.write_text(f"# a comment\n\n{text}# another\n")
    assert lock(workshop, "--check")[0] == 0
    lines = workshop.recipe.read_text().splitlines(keepends=True)
    release = next(line for line in lines if line.startswith("release:"))
    lines.remove(release)
    workshop.recipe.write_text("".join([*lines, release]))
    assert lock(workshop, "--check")[0] == 0


@pytest.mark.parametrize(
    "more",
    ["components: {disable: [traefik]}\n", "site: {config: {write-kubeconfig-mode: '0644'}}\n"],
)
def test_check_sees_a_change_and_asks_nobody(more: str, workshop: Workshop) -> None:
    lock(workshop)
    before = workshop.lock.read_bytes()
    workshop.write_recipe(more=more)
    workshop.upstream.forget_requests()
    code, out, err = lock(workshop, "--check")
    assert (code, out) == (6, "")
    assert "error[lock-outdated]" in err
    assert str(workshop.lock) in err
    assert workshop.upstream.requests == ()
    assert workshop.lock.read_bytes() == before


def test_check_of_no_lock_makes_none(workshop: Workshop) -> None:
    assert lock(workshop, "--check")[0] == 6
    assert not workshop.lock.exists()


@pytest.mark.parametrize(
    "override",
    [("--release", OLD), ("--level", "3"), ("--layers", "plain"), ("--arch", "amd64"), ("--arch", "arm64,arm")],
)
def test_an_override_is_locked_apart(override: tuple[str, str], workshop: Workshop) -> None:
    lock(workshop)
    before = workshop.lock.read_bytes()
    result = workshop.build(*override)
    assert result.code == 0, result.err
    assert workshop.lock.read_bytes() == before
    apart = list((workshop.cache / "locks").glob("edge-*.lock.json"))
    assert len(apart) == 1
    move_channel(workshop, OLD)
    assert workshop.build(*override, "--replace").path == result.path, "a lock apart is kept as well"


@pytest.mark.parametrize("override", [("--release", "stable"), ("--arch", "arm64"), ("--level", "1")])
def test_an_override_that_changes_nothing_uses_the_recipes_lock(override: tuple[str, str], workshop: Workshop) -> None:
    lock(workshop)
    assert workshop.build("--locked", *override).code == 0
    assert not list((workshop.cache / "locks").iterdir())


def test_a_failed_update_leaves_the_lock(workshop: Workshop) -> None:
    lock(workshop)
    before = workshop.lock.read_bytes()
    workshop.upstream.remove("/v2/example/hello/manifests/1.0")
    code, out, _ = lock(workshop, "--update")
    assert (code, out) == (3, "")
    assert workshop.lock.read_bytes() == before
    assert sorted(path.name for path in workshop.folder.iterdir()) == ["cache", "edge.lock.json", "edge.yaml"]


def test_the_bundle_carries_the_lock_it_was_made_of(workshop: Workshop) -> None:
    bundle = workshop.build().path
    assert (bundle / "lock.json").read_bytes() == workshop.lock.read_bytes()


def test_the_lock_of_another_libzstd_is_made_anew_aloud(workshop: Workshop) -> None:
    lock(workshop)
    fresh = workshop.lock.read_bytes()
    old = json.loads(fresh)
    old["compressor"]["library"] = "1.4.4"
    workshop.lock.write_text(json.dumps(old))
    result = workshop.build()
    assert result.code == 0
    assert "1.4.4" in result.err
    assert workshop.lock.read_bytes() == fresh
