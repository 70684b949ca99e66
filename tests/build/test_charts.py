"""Charts of a recipe: locked by digest, carried, installed by a HelmChart object, their images known or no bundle.

`helm` is a stand-in here: it writes down how it was called and prints what it is told to. What helm 3.18.4 does with
these arguments was seen by hand: hooks and CRDs are printed, tests are not, `lookup` is empty, no cluster is asked.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.engines.recorder import Asked, Recorder, Reply, challenge
from tests.upstream.odd_images import NESTED
from tests.workloads.packed import PLAIN, TEMPLATE, VALUES, chart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.build.workshop import Workshop

HELLO = "docker.io/example/hello:1.0"
KLIPPER = "docker.io/rancher/klipper-helm:v0.9.8-build20250709"
TEMPLATED = chart({"templates/a.yaml": TEMPLATE, "values.yaml": VALUES})
WITHOUT_TEMPLATES = chart({"templates/a.yaml": PLAIN})
NO_HELM = {"PATH": "/nonexistent"}
STAND_IN = """\
#!/bin/sh
# Stands in for helm: writes down how it was called, prints what it is told to.
{{ printf '%s\\n' "$@"; cat values.yaml; env; }} >'{folder}/called'
sha256sum chart.tgz >>'{folder}/called'
cat '{folder}/rendered'
"""


def write(workshop: Workshop, text: str, data: bytes = TEMPLATED, more: str = "") -> None:
    (workshop.folder / "app-1.0.0.tgz").write_bytes(data)
    workshop.write_recipe(extra=[], more=f"charts:\n  - {text}\n{more}")


def with_helm(workshop: Workshop, *images: str) -> dict[str, str]:
    """Put the stand-in onto the path; it renders a Deployment for each image."""
    folder = workshop.folder / "bin"
    folder.mkdir(exist_ok=True)
    documents = [PLAIN.replace("plain", f"n{n}").replace(HELLO, image) for n, image in enumerate(images)]
    (folder / "rendered").write_text("---\n".join(documents))
    (folder / "helm").write_text(STAND_IN.format(folder=folder))
    (folder / "helm").chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def lock_in(bundle: Path) -> Any:
    return json.loads((bundle / "lock.json").read_text())


def images_of(bundle: Path) -> dict[str, list[str]]:
    return {
        image["reference"]: image["wantedBy"]
        for each in lock_in(bundle)["architectures"]
        for image in (*each["k3SImages"], *each["recipeImages"])
    }


def helm_chart_in(bundle: Path, name: str = "app") -> Any:
    return yaml.safe_load((bundle / "manifests" / f"{name}.yaml").read_text())


def test_a_chart_is_rendered_carried_and_installed_by_a_helm_chart_object(workshop: Workshop) -> None:
    write(
        workshop,
        "{name: app, chart: ./app-1.0.0.tgz, namespace: shop, values: {image: {tag: '1.0'}}}",
        more="components: {disable: [traefik]}\n",
    )
    bundle = workshop.build(env=with_helm(workshop, HELLO, NESTED)).path
    digest = hashlib.sha256(TEMPLATED).hexdigest()
    path = f"charts/app-{digest[:12]}.tgz"
    assert (bundle / path).read_bytes() == TEMPLATED
    spec = helm_chart_in(bundle)["spec"]
    assert spec["chart"] == f"https://%{{KUBERNETES_API}}%/static/{path}"
    assert yaml.safe_load(spec["valuesContent"]) == {"image": {"tag": "1.0"}}
    found = images_of(bundle)
    assert found[HELLO] == ["charts[0]: app 1.0.0, rendered: Deployment n0, container main"]
    assert found[NESTED] == ["charts[0]: app 1.0.0, rendered: Deployment n1, container main"]
    assert found[KLIPPER] == ["k3s: HelmChart objects"]
    (locked,) = lock_in(bundle)["charts"]
    assert locked["foundBy"] == "helm template"
    assert locked["digest"] == f"sha256:{digest}"


@pytest.mark.parametrize(("text", "written"), [("", []), (", bootstrap: false", []), (", bootstrap: true", [True])])
def test_a_chart_of_a_network_is_installed_before_there_is_one(
    workshop: Workshop, text: str, written: list[object]
) -> None:
    write(workshop, f"{{name: app, chart: ./app-1.0.0.tgz{text}}}", WITHOUT_TEMPLATES)
    spec = helm_chart_in(workshop.build(env=NO_HELM).path)["spec"]
    assert [value for key, value in spec.items() if key == "bootstrap"] == written


def test_helm_is_told_the_release_and_nothing_of_this_machine(workshop: Workshop) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz, namespace: shop, values: {a: 1}}")
    secret = {"KUBECONFIG": "/home/me/.kube/config", "HELM_KUBETOKEN": "geheim", "HELM_PLUGINS": "/home/me/plugins"}
    assert workshop.build(env=with_helm(workshop, HELLO) | secret).code == 0
    called = (workshop.folder / "bin" / "called").read_text().splitlines()
    assert called[:11] == [
        "template", "app", "chart.tgz", "--namespace", "shop", "--values", "values.yaml",
        "--kube-version", "v1.34.1", "--include-crds", "--skip-tests",
    ]  # fmt: skip
    assert called[11] == "a: 1"
    assert "KUBECONFIG=/dev/null" in called
    assert not [line for line in called if "geheim" in line or "/home/me" in line]
    assert called[-1].startswith(hashlib.sha256(TEMPLATED).hexdigest())


def test_a_password_among_the_values_is_told_and_only_the_builder_can_read_it(workshop: Workshop) -> None:
    values = "values: {auth: {password: geheim}, database: {existingSecret: db}}"
    write(workshop, f"{{name: app, chart: ./app-1.0.0.tgz, {values}}}", WITHOUT_TEMPLATES)
    built = workshop.build(env=NO_HELM)
    (told,) = [line for line in built.err.splitlines() if "looks like a secret" in line]
    assert "charts[0]: HelmChart kube-system/app, valuesContent, auth.password looks like a secret" in told
    assert "geheim" not in built.err
    holders = [path for path in built.path.rglob("*") if path.is_file() and b"geheim" in path.read_bytes()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in holders} == {
        "app.yaml": "0o600",
        "lock.json": "0o600",
    }
    assert "manifests/app.yaml: HelmChart kube-system/app, valuesContent, auth.password looks like a secret" in (
        workshop.run("inspect", "--explain", built.path).out
    )


def test_the_lock_is_enough_for_a_machine_without_helm(workshop: Workshop, tmp_path: Path) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}")
    first = (workshop.build(env=with_helm(workshop, HELLO)).path / "SHA256SUMS").read_bytes()
    again = workshop.build("--locked", "--cache-dir", tmp_path / "c", "--output", tmp_path / "o", env=NO_HELM)
    assert (again.path / "SHA256SUMS").read_bytes() == first
    closed = workshop.run("verify", "--closure", again.path, env=NO_HELM)
    assert closed.code == 0, closed.err


def test_without_helm_and_without_a_list_nobody_knows_and_there_is_no_bundle(workshop: Workshop) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}")
    result = workshop.build(env=NO_HELM)
    assert (result.code, result.error) == (2, "chart-invalid")
    assert "charts[0]: app 1.0.0: helm is not installed" in result.err
    assert "charts[0].images" in result.err
    assert workshop.left_in_output() == []


def test_without_helm_the_list_is_believed_and_that_is_said(workshop: Workshop) -> None:
    write(workshop, f"{{name: app, chart: ./app-1.0.0.tgz, images: ['{HELLO}']}}")
    result = workshop.build(env=NO_HELM)
    assert images_of(result.path)[HELLO] == ["charts[0].images"]
    assert "helm is not installed, so that its images are those the recipe names, unchecked" in result.err
    assert "helm was not installed" in lock_in(result.path)["charts"][0]["foundBy"]


def test_an_image_of_a_chart_that_its_list_leaves_out_is_refused(workshop: Workshop) -> None:
    write(workshop, f"{{name: app, chart: ./app-1.0.0.tgz, images: ['{HELLO}']}}")
    result = workshop.build(env=with_helm(workshop, HELLO, NESTED))
    assert (result.code, result.error) == (2, "chart-invalid")
    assert f"{NESTED} (charts[0]: app 1.0.0, rendered: Deployment n1, container main)" in result.err
    assert workshop.left_in_output() == []


def test_a_chart_without_templates_needs_no_helm(workshop: Workshop) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}", WITHOUT_TEMPLATES)
    bundle = workshop.build(env=NO_HELM).path
    assert images_of(bundle)[HELLO] == ["charts[0]: app 1.0.0, templates/a.yaml: Deployment plain, container main"]


def test_a_lock_that_lost_an_image_of_a_chart_makes_no_bundle(workshop: Workshop) -> None:
    write(workshop, f"{{name: app, chart: ./app-1.0.0.tgz, images: ['{HELLO}']}}")
    workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache, env=NO_HELM)
    lock = json.loads(workshop.lock.read_text())
    lock["architectures"][0]["recipeImages"] = []
    workshop.lock.write_text(json.dumps(lock))
    result = workshop.build("--locked", env=NO_HELM)
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f"{HELLO} for arm64 is missing: the chart app needs it" in result.err


def test_a_chart_that_pins_another_image_than_the_archive_of_that_name_has_makes_no_bundle(workshop: Workshop) -> None:
    workshop.write_recipe(extra=[HELLO])
    (workshop.folder / "hello.tar").write_bytes((workshop.build().path / "images/edge-images-arm64.tar").read_bytes())
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}")
    workshop.recipe.write_text(workshop.recipe.read_text().replace("extra: []", "extra: [{archive: ./hello.tar}]"))
    other = workshop.upstream.content.image(NESTED).top.digest
    result = workshop.build("--replace", env=with_helm(workshop, f"{HELLO}@{other}"))
    assert (result.code, result.error) == (4, "bundle-incomplete")
    assert f", not {other}: the chart app needs it" in result.err


def test_a_changed_chart_makes_the_lock_outdated(workshop: Workshop) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}", WITHOUT_TEMPLATES)
    assert workshop.build(env=NO_HELM).code == 0
    (workshop.folder / "app-1.0.0.tgz").write_bytes(chart({"templates/b.yaml": PLAIN}))
    refused = workshop.build("--locked", "--replace", env=NO_HELM)
    assert (refused.code, refused.error) == (6, "lock-outdated")


@pytest.mark.parametrize(
    ("text", "data", "what"),
    [
        ("{name: app, chart: ./none.tgz}", TEMPLATED, "there is no file"),
        ("{name: app, chart: ./bin}", TEMPLATED, "helm package ./bin"),
        ("{name: app, chart: ./app-1.0.0.tgz}", b"none", "no packed chart"),
        ("{name: traefik, chart: ./app-1.0.0.tgz}", TEMPLATED, "a manifest of its own called traefik"),
        ("{name: a_b, chart: ./app-1.0.0.tgz}", TEMPLATED, "not a name for a Helm release"),
        ("{name: app, chart: 'oci://registry.example/app'}", TEMPLATED, "without a version"),
        ("{name: app, chart: 'oci://me:geheim@a.example/app', version: 1.0.0}", TEMPLATED, "holds an account"),
        ("{name: app, chart: ./app-1.0.0.tgz, version: 1.0.1}", TEMPLATED, "the chart says app 1.0.0"),
        ("{name: app, chart: app, repo: 'https://a.example', version: ^1.0}", TEMPLATED, "one exact version"),
    ],
)
def test_what_cannot_be_installed_is_refused(workshop: Workshop, text: str, data: bytes, what: str) -> None:
    write(workshop, text, data)
    result = workshop.build(env=with_helm(workshop, HELLO))
    assert result.code == 2
    assert what in result.err
    assert "geheim" not in result.err
    assert result.error
    assert workshop.left_in_output() == []


@pytest.mark.parametrize("section", ["config", "server", "first_server"])
def test_charts_that_nothing_would_install_are_refused(workshop: Workshop, section: str) -> None:
    more = f"site: {{{section}: {{disable-helm-controller: true}}}}\n"
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}", WITHOUT_TEMPLATES, more=more)
    result = workshop.build(env=NO_HELM)
    assert (result.code, result.error) == (2, "wrong-use")
    assert f"site.{section} has disable-helm-controller" in result.err


def test_verify_finds_a_helm_chart_object_that_was_exchanged_together_with_its_checksum(workshop: Workshop) -> None:
    write(workshop, "{name: app, chart: ./app-1.0.0.tgz}", WITHOUT_TEMPLATES)
    bundle = workshop.build(env=NO_HELM).path
    path, sums = bundle / "manifests/app.yaml", bundle / "SHA256SUMS"
    before = path.read_bytes()
    path.write_bytes(before.replace(b"default", b"another"))
    assert path.read_bytes() != before
    old, new = (hashlib.sha256(data).hexdigest() for data in (before, path.read_bytes()))
    sums.write_text(sums.read_text().replace(old, new))
    found = workshop.run("verify", bundle)
    assert (found.code, found.error) == (4, "bundle-damaged")
    assert "manifests/app.yaml is not the manifest that was locked for the chart app" in found.err


# Repositories and registries


def index(*entries: tuple[str, bytes], url: str = "files/app-{}.tgz") -> bytes:
    listed = [
        {"name": "app", "version": version, "urls": [url.format(version)], "digest": hashlib.sha256(data).hexdigest()}
        for version, data in entries
    ]
    return yaml.safe_dump({"apiVersion": "v1", "entries": {"app": listed}}).encode()


@pytest.mark.parametrize(
    ("version", "taken"), [("", "1.10.0"), (", version: 1.9.0", "1.9.0"), (", version: v1.9.0", "1.9.0")]
)
def test_a_chart_of_a_repository_is_locked_by_digest(workshop: Workshop, version: str, taken: str) -> None:
    charts = {each: chart({"templates/a.yaml": PLAIN}, version=each) for each in ("1.9.0", "1.10.0", "2.0.0-rc.1")}
    workshop.upstream.put("/charts/index.yaml", index(*charts.items()))
    for each, data in charts.items():
        workshop.upstream.put(f"/charts/files/app-{each}.tgz", data)
    write(workshop, f"{{name: web, chart: app, repo: '{workshop.upstream.url}/charts'{version}}}")
    bundle = workshop.build(env=NO_HELM).path
    (locked,) = lock_in(bundle)["charts"]
    assert locked["version"] == taken
    assert (bundle / locked["path"]).read_bytes() == charts[taken]
    workshop.upstream.put("/charts/index.yaml", b"entries: {}")
    again = workshop.build("--locked", "--cache-dir", workshop.folder / "empty", "--replace", env=NO_HELM)
    assert again.code == 0, again.err


def test_a_repository_behind_a_password_gets_the_account_of_the_registry_on_its_host(workshop: Workshop) -> None:
    """As Harbor, Artifactory and Nexus have both; another repository gets nothing, though it asks."""

    def answer(asked: Asked) -> Reply:
        if asked.login != "robot:s3cret":
            return challenge('Basic realm="charts"')
        return Reply(200, served[asked.path.rpartition("/")[2]])

    served = {"index.yaml": index(("1.0.0", WITHOUT_TEMPLATES)), "app-1.0.0.tgz": WITHOUT_TEMPLATES}
    password = {"ROBOT": "robot", "PASSWORD": "s3cret", **NO_HELM}
    with Recorder(answer) as own, Recorder(answer) as other:
        write(workshop, f"{{name: web, chart: app, repo: '{own.url}/charts'}}")
        account = f"    '{own.host}': {{auth: {{username: {{env: ROBOT}}, password: {{env: PASSWORD}}}}}}\n"
        workshop.recipe.write_text(workshop.recipe.read_text().replace("pack:\n", f"{account}pack:\n"))
        assert workshop.build(env=password).code == 0
        again = workshop.build("--locked", "--cache-dir", workshop.folder / "empty", "--replace", env=password)
        assert again.code == 0, again.err
        assert [asked.login for asked in own.asked] == ["", "robot:s3cret"] * 3, "told when it asks, and not before"

        workshop.recipe.write_text(workshop.recipe.read_text().replace(f"'{own.url}/charts'", f"'{other.url}/charts'"))
        refused = workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache, env=password)
        assert (refused.code, refused.error) == (3, "access-denied")
        assert [asked.login for asked in other.asked] == [""]


def test_a_chart_that_is_not_what_the_index_says_is_refused(workshop: Workshop) -> None:
    workshop.upstream.put("/charts/index.yaml", index(("1.0.0", b"another")))
    workshop.upstream.put("/charts/files/app-1.0.0.tgz", WITHOUT_TEMPLATES)
    write(workshop, f"{{name: web, chart: app, repo: '{workshop.upstream.url}/charts'}}")
    result = workshop.build(env=NO_HELM)
    assert (result.code, result.error) == (4, "digest-mismatch")


@pytest.mark.parametrize(
    "body", [b"", b"a: [", b"entries: {}", b"entries: {app: []}", b"entries: {app: [{version: 2}]}"]
)
def test_an_index_without_the_chart_is_told(workshop: Workshop, body: bytes) -> None:
    workshop.upstream.put("/charts/index.yaml", body)
    write(workshop, f"{{name: web, chart: app, repo: '{workshop.upstream.url}/charts', version: 1.0.0}}")
    result = workshop.build(env=NO_HELM)
    assert (result.code, result.error) == (2, "chart-invalid")
    assert "/charts/index.yaml has no app 1.0.0" in result.err


@pytest.mark.parametrize("by", ["itself", "index", "index with tag"])
def test_a_chart_of_a_registry_is_locked_by_digest(workshop: Workshop, by: str) -> None:
    data = chart({"templates/a.yaml": PLAIN}, version="1.0.0+b")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    media_type = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    layer = {"mediaType": media_type, "digest": digest, "size": len(data)}
    config = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": f"sha256:{'0' * 64}", "size": 2}
    manifest = {"schemaVersion": 2, "config": config, "layers": [layer]}
    base = "/v2/charts/app"
    kind = "application/vnd.oci.image.manifest.v1+json"
    workshop.upstream.put(f"{base}/manifests/1.0.0_b", json.dumps(manifest).encode(), kind)
    workshop.upstream.put(f"{base}/blobs/{digest}", data)
    there = f"oci://{workshop.upstream.host}/charts/app"
    if by == "itself":
        write(workshop, f"{{name: web, chart: '{there}', version: 1.0.0+b}}")
    else:
        sent_on = index(("1.0.0+b", data), url=there + (":1.0.0_b" if by == "index with tag" else ""))
        workshop.upstream.put("/charts/index.yaml", sent_on)
        write(workshop, f"{{name: web, chart: app, repo: '{workshop.upstream.url}/charts'}}")
    bundle = workshop.build(env=NO_HELM).path
    assert (bundle / lock_in(bundle)["charts"][0]["path"]).read_bytes() == data
    workshop.upstream.remove(f"{base}/manifests/1.0.0_b")
    again = workshop.build("--locked", "--cache-dir", workshop.folder / "empty", "--replace", env=NO_HELM)
    assert again.code == 0, again.err
    workshop.upstream.put(f"{base}/manifests/1.0.0_b", b'{"layers": []}', kind)
    refused = workshop.run("lock", "--update", workshop.recipe, "--cache-dir", workshop.cache, env=NO_HELM)
    assert (refused.code, refused.error) == (2, "chart-invalid")


@pytest.mark.parametrize("size", ["Infinity", "1e999", "-1", "true", str((1 << 53) + 1)])
def test_a_chart_of_a_registry_whose_size_is_none_is_refused(workshop: Workshop, size: str) -> None:
    layer = f'"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": "sha256:{"0" * 64}"'
    manifest = f'{{"layers": [{{{layer}, "size": {size}}}]}}'
    kind = "application/vnd.oci.image.manifest.v1+json"
    workshop.upstream.put("/v2/charts/app/manifests/1.0.0", manifest.encode(), kind)
    write(workshop, f"{{name: web, chart: 'oci://{workshop.upstream.host}/charts/app', version: 1.0.0}}")
    refused = workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache, env=NO_HELM)
    assert (refused.code, refused.error) == (2, "chart-invalid")
    assert "is not a size" in refused.err
