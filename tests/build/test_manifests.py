"""Manifests of a recipe: their images are in the bundle, with reasons, or there is no bundle."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.upstream.odd_images import NESTED
from tests.workloads.packed import PLAIN, chart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.build.workshop import Workshop

HELLO = "docker.io/example/hello:1.0"
MANIFESTS = "manifests: [./m]\n"
LIST = "k3s-images.txt"
KLIPPER = "docker.io/rancher/klipper-helm:v0.9.8-build20250709"

AT_THE_SITE = """\
apiVersion: helm.cattle.io/v1
kind: HelmChart
metadata: {{name: app, namespace: kube-system}}
spec: {{chart: "https://%{{KUBERNETES_API}}%/static/{chart}"}}
"""


def deployment(image: str, name: str = "web", more: str = "") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  template:
    spec:
      containers:
        - {{name: main, image: "{image}"{more}}}
"""


def write(workshop: Workshop, **files: str) -> None:
    """Write manifests, and a recipe that names no image."""
    for name, text in files.items():
        path = workshop.folder / "m" / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    workshop.write_recipe(extra=[], more=MANIFESTS)


def images_of(bundle: Path) -> dict[str, tuple[str, ...]]:
    lock = json.loads((bundle / "lock.json").read_text())
    return {
        image["reference"]: tuple(image["wantedBy"])
        for each in lock["architectures"]
        for image in (*each["k3SImages"], *each["recipeImages"])
    }


def facts_of(bundle: Path) -> list[str]:
    return (bundle / "bundle.facts").read_text().splitlines()


def test_images_of_manifests_are_carried_and_k3s_deploys_the_files(workshop: Workshop) -> None:
    write(workshop, web=deployment("example/hello:1.0"), sub__db=deployment(NESTED, "db"))
    bundle = workshop.build().path
    assert (bundle / "manifests" / "db.yaml").read_text() == deployment(NESTED, "db")
    found = images_of(bundle)
    assert found[HELLO] == ("m/web.yaml: Deployment web, container main",)
    assert found[NESTED] == ("m/sub/db.yaml: Deployment db, container main",)
    assert not [line for line in facts_of(bundle) if line.startswith(("file=", "digest-names="))]
    again = workshop.build("--locked", "--replace")
    assert again.code == 0, again.err


def test_every_image_has_a_reason(workshop: Workshop) -> None:
    write(workshop, web=deployment("example/hello:1.0"))
    workshop.write_recipe(extra=[HELLO], more=MANIFESTS + "components: {disable: [traefik]}\n")
    bundle = workshop.build().path
    found = images_of(bundle)
    assert found[HELLO] == ("images.extra", "m/web.yaml: Deployment web, container main")
    assert found["docker.io/rancher/mirrored-pause:3.6"] == ("k3s: every node",)
    assert found["docker.io/rancher/mirrored-library-busybox:1.36.1"] == ("k3s: local-storage",)
    assert all(found.values())
    text = workshop.run("inspect", "--explain", bundle).out
    assert f"{HELLO}\n    images.extra\n    m/web.yaml: Deployment web, container main\n" in text
    assert f"{KLIPPER}: only HelmChart objects and traefik would need it" in text
    data = workshop.run("inspect", "--explain", "--json", bundle).document
    assert {image["reference"]: tuple(image["wantedBy"]) for image in data["images"]} == found


def test_plan_explains_what_it_would_fetch_and_what_it_would_not(workshop: Workshop) -> None:
    custom = "{apiVersion: example.com/v1, kind: Db, metadata: {name: d}, spec: {image: 'quay.io/a/b:1'}}"
    write(workshop, web=deployment("example/hello:1.0", more=", imagePullPolicy: Always"), db=custom)
    planned = workshop.run("plan", workshop.recipe, "--cache-dir", workshop.cache, "--explain")
    assert planned.code == 0, planned.err
    assert f"{HELLO}\n    m/web.yaml: Deployment web, container main\n" in planned.out
    assert "quay.io/a/b:1: m/db.yaml: Db d, spec.image" in planned.out
    assert "imagePullPolicy: Always" in planned.out
    data = workshop.run("plan", workshop.recipe, "--cache-dir", workshop.cache, "--json").document
    assert data["maybes"] == [{"text": "quay.io/a/b:1", "where": "m/db.yaml: Db d, spec.image"}]
    assert len(data["notes"]) == 1
    assert {image["reference"]: image["wantedBy"] for image in data["images"]}[HELLO]


def test_a_maybe_is_told_and_carried_once_the_recipe_says_so(workshop: Workshop) -> None:
    custom = "{apiVersion: example.com/v1, kind: Greeting, metadata: {name: g}, spec: {image: 'example/hello:1.0'}}"
    write(workshop, greeting=custom)
    first = workshop.build()
    assert HELLO not in images_of(first.path)
    assert "it may be an image: example/hello:1.0 (m/greeting.yaml: Greeting g, spec.image)" in first.err
    workshop.write_recipe(extra=[HELLO], more=MANIFESTS)
    second = workshop.build("--replace")
    assert HELLO in images_of(second.path)
    assert "may be an image" not in second.err


@pytest.mark.parametrize("change", ["edit", "add", "remove"])
def test_a_change_in_the_folder_makes_the_lock_outdated(workshop: Workshop, change: str) -> None:
    write(workshop, web=deployment(HELLO), db=deployment(NESTED, "db"))
    assert workshop.build().code == 0
    folder = workshop.folder / "m"
    if change == "edit":
        (folder / "web.yaml").write_text(deployment(NESTED))
    elif change == "add":
        (folder / "other.yaml").write_text(deployment(HELLO, "other"))
    else:
        (folder / "web.yaml").unlink()
    refused = workshop.build("--locked", "--replace")
    assert (refused.code, refused.error) == (6, "lock-outdated")
    built = workshop.build("--replace")
    assert built.code == 0, built.err
    assert (HELLO in images_of(built.path)) == (change == "add")


def test_every_mistake_of_every_file_is_told_and_nothing_is_asked(workshop: Workshop) -> None:
    write(workshop, one="kind: Pod", two=deployment("No/Image"), three="a: [")
    result = workshop.build()
    assert (result.code, result.error) == (2, "manifest-invalid")
    for words in ("m/one.yaml: document 1 has no apiVersion", "m/two.yaml: Deployment web, container main", "m/three"):
        assert words in result.err
    assert workshop.upstream.requests == ()


def test_an_image_a_manifest_needs_that_no_registry_has(workshop: Workshop) -> None:
    missing = f"{workshop.upstream.host}/example/none:1.0"
    write(workshop, web=deployment(missing))
    result = workshop.build()
    assert (result.code, result.error) == (3, "image-not-found")
    assert missing in result.err
    assert workshop.left_in_output() == []


def test_excluding_an_image_that_a_manifest_needs_is_refused(workshop: Workshop) -> None:
    write(workshop, web=deployment("rancher/mirrored-library-busybox:1.36.1"))
    text = workshop.recipe.read_text().replace("images:\n", "images:\n  exclude: [rancher/mirrored-library-busybox]\n")
    workshop.recipe.write_text(text)
    result = workshop.build()
    assert (result.code, result.error) == (2, "wrong-use")
    assert "rancher/mirrored-library-busybox is needed: m/web.yaml: Deployment web, container main" in result.err
    assert workshop.left_in_output() == []


def test_klipper_helm_stays_without_traefik_when_there_is_a_helm_chart(workshop: Workshop) -> None:
    chart = "{apiVersion: helm.cattle.io/v1, kind: HelmChart, metadata: {name: a}, spec: {chartContent: H4sI}}"
    write(workshop, web=deployment(HELLO))
    workshop.write_recipe(extra=[], more=MANIFESTS + "components: {disable: [traefik]}\n")
    assert KLIPPER not in images_of(workshop.build().path)
    write(workshop, chart=chart)
    workshop.write_recipe(extra=[], more=MANIFESTS + "components: {disable: [traefik]}\n")
    assert images_of(workshop.build("--replace").path)[KLIPPER] == ("k3s: HelmChart objects",)


# digests


def index_of(workshop: Workshop, reference: str) -> str:
    return workshop.upstream.content.image(reference).top.digest


def test_an_image_that_is_pinned_without_a_tag_gets_one_and_its_digest_name(workshop: Workshop) -> None:
    index = index_of(workshop, HELLO)
    write(workshop, web=deployment(f"example/hello@{index}"))
    bundle = workshop.build().path
    name = f"docker.io/example/hello:pinned-{index[7:23]}"
    assert name in images_of(bundle)
    facts = facts_of(bundle)
    assert "digest-names=yes" in facts
    manifest = workshop.upstream.content.image(HELLO).on("arm64").manifest.digest
    assert [line for line in facts if line.startswith(f"digest.arm64={name} ")] == [
        f"digest.arm64={name} docker.io/example/hello@{index}",
        f"digest.arm64={name} docker.io/example/hello@{manifest}",
    ]


def test_an_image_for_one_platform_has_one_digest_name(workshop: Workshop) -> None:
    workshop.write_recipe(arch=["amd64"], extra=["docker.io/example/single:1.0"])
    facts = facts_of(workshop.build().path)
    assert len([line for line in facts if line.startswith("digest.amd64=docker.io/example/single:1.0 ")]) == 1
    assert "digest-names=yes" not in facts


def test_a_pin_in_the_recipe_asks_for_digest_names_too(workshop: Workshop) -> None:
    workshop.write_recipe(extra=[f"{HELLO}@{index_of(workshop, HELLO)}"])
    assert "digest-names=yes" in facts_of(workshop.build().path)


def test_a_pinned_image_from_an_archive_gets_its_digest_name_too(workshop: Workshop) -> None:
    workshop.write_recipe(extra=[HELLO])
    (workshop.folder / "hello.tar").write_bytes((workshop.build().path / "images/edge-images-arm64.tar").read_bytes())

    def build(image: str) -> Path:
        write(workshop, web=deployment(image))
        text = workshop.recipe.read_text()
        assert "extra: []" in text
        workshop.recipe.write_text(text.replace("extra: []", "extra: [{archive: ./hello.tar}]"))
        return workshop.build("--replace").path

    bundle = build(HELLO)
    assert "digest-names=yes" not in facts_of(bundle)
    (digest, *_) = [line.partition("@")[2] for line in facts_of(bundle) if line.startswith(f"digest.arm64={HELLO} ")]
    assert "digest-names=yes" in facts_of(build(f"{HELLO}@{digest}"))


def test_a_tag_that_is_pinned_twice_differently_is_refused(workshop: Workshop) -> None:
    other = index_of(workshop, NESTED)
    write(workshop, a=deployment(f"{HELLO}@{index_of(workshop, HELLO)}"), b=deployment(f"{HELLO}@{other}"))
    result = workshop.build()
    assert (result.code, result.error) == (2, "wrong-use")
    assert "m/a.yaml" in result.err
    assert "m/b.yaml" in result.err


# flags of k3s


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ("{config: {pause-image: 'example/hello:1.0'}}", "site.config.pause-image"),
        ("{agent: {pause-image: 'docker.io/example/hello:1.0'}}", "site.agent.pause-image"),
        ("{server: {helm-job-image: 'docker.io/example/hello:1.0'}}", "site.server.helm-job-image"),
    ],
)
def test_an_image_that_nodes_are_told_of_is_carried(workshop: Workshop, site: str, reason: str) -> None:
    """Without the pause image that nodes are told to take, no pod starts."""
    workshop.write_recipe(extra=[], more=f"site: {site}\n")
    bundle = workshop.build().path
    assert images_of(bundle)[HELLO] == (reason,)
    assert closure(workshop, bundle).code == 0


def test_an_image_of_a_flag_that_is_missing_on_the_stick_is_found(workshop: Workshop) -> None:
    workshop.write_recipe(extra=[], more="site: {config: {pause-image: 'docker.io/example/hello:1.0'}}\n")
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    lock["architectures"][0]["recipeImages"] = []
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked")
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f"{HELLO} for arm64 is missing: etc/config.yaml: pause-image needs it" in result.err


# closure


def tampered(bundle: Path, path: str, data: bytes) -> None:
    """Write a file of a bundle anew, and its checksum with it."""
    before = hashlib.sha256((bundle / path).read_bytes()).hexdigest()
    (bundle / path).write_bytes(data)
    sums = bundle / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(data).hexdigest()))


def closure(workshop: Workshop, bundle: Path) -> Any:
    return workshop.run("verify", "--closure", bundle)


def test_a_bundle_is_closed_and_says_so(workshop: Workshop) -> None:
    write(workshop, web=deployment(HELLO))
    bundle = workshop.build().path
    assert "whole and complete" in closure(workshop, bundle).out
    assert workshop.run("verify", "--closure", "--json", bundle).document["closed"] is True


def test_a_lock_that_lost_an_image_of_a_manifest_makes_no_bundle(workshop: Workshop) -> None:
    write(workshop, web=deployment(HELLO), db=deployment(NESTED, "db"))
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    images = lock["architectures"][0]["recipeImages"]
    lock["architectures"][0]["recipeImages"] = [image for image in images if image["reference"] != HELLO]
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked")
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f"{HELLO} for arm64 is missing: manifests/web.yaml: Deployment web, container main needs it" in result.err
    assert workshop.left_in_output() == []


def test_a_lock_that_lost_an_image_of_k3s_makes_no_bundle(workshop: Workshop) -> None:
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    images = lock["architectures"][0]["k3SImages"]
    lock["architectures"][0]["k3SImages"] = [image for image in images if "pause" not in image["reference"]]
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked")
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert "docker.io/rancher/mirrored-pause:3.6 for arm64 is missing" in result.err


def test_the_stick_is_asked_itself_and_not_its_lock_alone(workshop: Workshop) -> None:
    """The carried copy of a manifest is what counts: one that needs another image is found on the stick."""
    write(workshop, web=deployment(HELLO))
    bundle = workshop.build().path
    changed = deployment(NESTED).encode()
    lock = json.loads((bundle / "lock.json").read_text())
    about = json.loads((bundle / "bundle.json").read_text())
    for document in (lock, about):
        (file,) = document["files"]
        file |= {"digest": f"sha256:{hashlib.sha256(changed).hexdigest()}", "size": len(changed)}
    tampered(bundle, "manifests/web.yaml", changed)
    tampered(bundle, "lock.json", json.dumps(lock).encode())
    tampered(bundle, "bundle.json", json.dumps(about).encode())
    assert workshop.run("verify", bundle).code == 0
    result = closure(workshop, bundle)
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f"{NESTED} for arm64 is missing" in result.err


def test_pins_of_which_nodes_are_not_told_are_found(workshop: Workshop) -> None:
    write(workshop, web=deployment(f"{HELLO}@{index_of(workshop, HELLO)}"))
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache)
    lock = json.loads(workshop.lock.read_text())
    workshop.lock.write_text(json.dumps({**lock, "digestNames": False}))
    result = workshop.build("--locked")
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert "manifests/web.yaml: Deployment web, container main pins" in result.err
    assert "nodes are not told to name images by digest" in result.err


def carrying_chart(role: str = "server", target: str = "data-dir/server/static/charts/x.tgz") -> str:
    return f"files: [{{source: ./x.tgz, target: {target}, role: {role}}}]\n"


@pytest.mark.parametrize(
    ("taken", "more", "missing"),
    [
        ("charts/x.tgz", "", "charts/x.tgz"),
        ("charts/x.tgz", carrying_chart("agent"), "charts/x.tgz"),
        ("charts/x.tgz", carrying_chart(target="data-dir/server/static/x.tgz"), "charts/x.tgz"),
        ("charts/x%2B1.tgz", carrying_chart(), "charts/x+1.tgz"),
        ("charts/x.tgz", carrying_chart(), ""),
        ("charts/x.tgz", carrying_chart("any"), ""),
        ("charts/x%2B1.tgz", carrying_chart(target="data-dir/server/static/charts/x+1.tgz"), ""),
        ("charts/x.tgz", carrying_chart(target="/var/lib/rancher/k3s/server/static/charts/x.tgz"), ""),
        ("charts/traefik-34.2.1%2Bup34.2.0.tgz", "", ""),
    ],
)
def test_a_chart_that_a_hand_written_helm_chart_takes_from_the_server_has_to_come_with_the_bundle(
    workshop: Workshop, taken: str, more: str, missing: str
) -> None:
    (workshop.folder / "x.tgz").write_bytes(b"a chart")
    write(workshop, app=AT_THE_SITE.format(chart=taken))
    workshop.write_recipe(extra=[], more=MANIFESTS + more)
    result = workshop.build()
    if not missing:
        assert closure(workshop, result.path).code == 0
        assert "m/app.yaml: HelmChart kube-system/app: the images of its chart are not searched" in result.err
        return
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f"m/app.yaml: HelmChart kube-system/app takes its chart from server/static/{missing} " in result.err
    assert f"target: data-dir/server/static/{missing}\n" in result.err
    assert workshop.upstream.bytes_sent("/v2/*/blobs/*") == 0, "nothing big is fetched before"
    assert workshop.run("plan", workshop.recipe, "--cache-dir", workshop.cache).error == "bundle-incomplete"


def test_a_chart_of_the_recipe_may_be_named_by_a_second_object(workshop: Workshop) -> None:
    data = chart({"templates/a.yaml": PLAIN})
    (workshop.folder / "app.tgz").write_bytes(data)
    write(workshop, second=AT_THE_SITE.format(chart=f"charts/app-{hashlib.sha256(data).hexdigest()[:12]}.tgz"))
    workshop.write_recipe(extra=[], more=MANIFESTS + "charts: [{name: app, chart: ./app.tgz}]\n")
    assert closure(workshop, workshop.build(env={"PATH": "/nonexistent"}).path).code == 0


def test_the_stick_is_asked_itself_for_the_charts_of_helm_chart_objects(workshop: Workshop) -> None:
    (workshop.folder / "x.tgz").write_bytes(b"a chart")
    write(workshop, app=AT_THE_SITE.format(chart="charts/x.tgz"))
    workshop.write_recipe(extra=[], more=MANIFESTS + carrying_chart())
    bundle = workshop.build().path
    path = "files/server/data-dir/server/static/charts/x.tgz"
    for name in ("lock.json", "bundle.json"):
        document = json.loads((bundle / name).read_text())
        (file,) = (file for file in document["files"] if file["path"] == path)
        file["role"] = "agent"
        tampered(bundle, name, json.dumps(document).encode())
    facts = (bundle / "bundle.facts").read_bytes().replace(b"file=644 server", b"file=644 agent")
    tampered(bundle, "bundle.facts", facts)
    assert workshop.run("verify", bundle).code == 0
    result = closure(workshop, bundle)
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert "manifests/app.yaml: HelmChart kube-system/app takes its chart from server/static/charts/x.tgz" in result.err


def test_a_list_of_another_release_is_found(workshop: Workshop) -> None:
    bundle = workshop.build().path
    text = (bundle / LIST).read_bytes() + b"docker.io/rancher/new:1\n"
    tampered(bundle, LIST, text)
    result = closure(workshop, bundle)
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert "docker.io/rancher/new:1 for arm64 is missing" in result.err
    assert f"{LIST} is not the list of v1.34.1+k3s1" in result.err


def test_what_the_recipe_excludes_is_left_out_and_told(workshop: Workshop) -> None:
    workshop.write_recipe(extra=[])
    text = workshop.recipe.read_text().replace("images:\n", "images:\n  exclude: [rancher/klipper-lb]\n")
    workshop.recipe.write_text(text)
    bundle = workshop.build().path
    assert closure(workshop, bundle).code == 0
    assert (
        "docker.io/rancher/klipper-lb:v0.4.13: images.exclude names it"
        in workshop.run("inspect", "--explain", bundle).out
    )
