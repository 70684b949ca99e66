"""Builds from mirrors, folders and private servers: the same bundle, and no secret anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.build.workshop import Workshop
from tests.engines.recorder import Asked, Recorder, Reply
from tests.upstream import BearerAccess, Upstream

if TYPE_CHECKING:
    from pathlib import Path

TAG = "v1.34.1+k3s1"
DEAD = "http://127.0.0.1:1/k3s"


def point(workshop: Workshop, releases: str, registries: str | None = None) -> None:
    """Let the recipe fetch releases, and images, from elsewhere."""
    workshop.write_recipe(release=TAG, extra=[])
    text = workshop.recipe.read_text().replace(f"releases: {workshop.upstream.releases_url}", f"releases: {releases}")
    if registries:
        text = text.replace(f"docker.io: ['{workshop.upstream.url}']", registries)
    workshop.recipe.write_text(text)


def files_of(bundle: Path) -> dict[str, bytes]:
    """Everything but the papers that say where it came from."""
    papers = {"lock.json", "SHA256SUMS", "bundle.json"}
    return {
        path.relative_to(bundle).as_posix(): path.read_bytes()
        for path in bundle.rglob("*")
        if path.is_file() and path.name not in papers
    }


@pytest.fixture
def from_server(tmp_path: Path, upstream: Upstream) -> dict[str, bytes]:
    workshop = Workshop(tmp_path / "server", upstream)
    point(workshop, upstream.releases_url)
    return files_of(workshop.build().path)


def test_a_folder_gives_the_same_bundle_and_no_server_of_releases_is_asked(
    tmp_path: Path, upstream: Upstream, from_server: dict[str, bytes]
) -> None:
    workshop = Workshop(tmp_path / "folder", upstream)
    folder = workshop.folder / "assets" / TAG
    folder.mkdir(parents=True)
    for name, data in upstream.content.release(TAG).assets.items():
        (folder / name).write_bytes(data)
    point(workshop, "./assets")
    upstream.forget_requests()
    result = workshop.build()
    assert files_of(result.path) == from_server
    assert not upstream.requests_to("/releases*")
    binary = json.loads(workshop.lock.read_text())["architectures"][0]["binary"]
    assert binary["url"] == f"./assets/{TAG}/k3s-arm64"
    elsewhere = Workshop(tmp_path / "elsewhere", upstream)
    for path in (workshop.recipe, workshop.lock):
        (elsewhere.folder / path.name).write_bytes(path.read_bytes())
    assert elsewhere.build("--locked").error == "asset-not-found"


def test_a_dead_first_mirror_costs_nothing_but_time(
    tmp_path: Path, upstream: Upstream, from_server: dict[str, bytes]
) -> None:
    workshop = Workshop(tmp_path / "mirrors", upstream)
    point(workshop, f"[{DEAD}, {{url: {upstream.dashed_releases_url}, tag_style: dash}}]")
    assert files_of(workshop.build().path) == from_server


def test_a_secret_gets_into_no_file_and_no_line(tmp_path: Path, upstream: Upstream) -> None:
    secrets = {"RELEASE_TOKEN": "token-s3cret-4711", "REGISTRY_PASSWORD": "password-s3cret-4712"}
    assets = upstream.content.release(TAG).assets

    def answer(asked: Asked) -> Reply:
        if asked.login != f"Bearer {secrets['RELEASE_TOKEN']}":
            return Reply(401, b"who are you")
        return Reply(200, assets[asked.path.rpartition("/")[2]])

    access = BearerAccess("robot", secrets["REGISTRY_PASSWORD"])
    with Recorder(answer) as private, Upstream(access=access) as closed:
        workshop = Workshop(tmp_path / "private", upstream)
        (workshop.folder / "user").write_text("robot\n")
        auth = "auth: {username: {file: ./user}, password: {env: REGISTRY_PASSWORD}}"
        point(
            workshop,
            f"[{{url: {private.url}, auth: {{token: {{env: RELEASE_TOKEN}}}}}}]",
            f"docker.io: ['{closed.url}']\n    '{closed.host}': {{{auth}}}",
        )
        missing = workshop.build()
        assert missing.error == "secret-missing"
        assert "RELEASE_TOKEN" in missing.err
        for more in (("--progress", "json"), ("--replace", "--verbose"), ("--replace", "--json")):
            result = workshop.build(*more, env=secrets)
            assert result.code == 0, result.err
            for secret in secrets.values():
                assert secret not in result.out + result.err
        for path in workshop.folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not any(secret.encode() in data for secret in secrets.values()), path
        assert workshop.build("--replace").code == 0, "what is in the cache needs no secret"
