"""`doctor` says what a build would use and what is wrong, and its exit code is the class of the worst error."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from bundler.cli.main import main
from bundler.cli.shipped import find_recipe
from bundler.net.session import open_session
from bundler.stages.doctor import Surroundings, examine, redacted
from bundler.stages.lockfile import lock_apart, why_not_of
from bundler.stages.read import read_recipe
from tests.reach import releases_of, through
from tests.recorded_daemon import CONTAINERD, OVERLAY2, RecordedDaemon
from tests.upstream import Upstream
from tests.upstream.access import BearerAccess
from tests.upstream.faults import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECIPE = """\
version: 1
name: edge
release: {release}
arch: [arm64]
images:
  extra: ["{extra}"]
sources:
  releases: {releases}
  tag_style: plain
  channels: {channels}
  registries:
    docker.io: [{mirrors}]
"""

Findings = dict[str, list[dict[str, Any]]]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def dead() -> str:
    """An address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.upper().endswith(("_PROXY", "_BUNDLE")) or name.startswith("DOCKER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")


@dataclass(frozen=True)
class Doctor:
    folder: Path
    upstream: Upstream
    read: Callable[[], str]

    def recipe(self, **other: str) -> Path:
        path = self.folder / "edge.yaml"
        own = {
            "release": "stable",
            "extra": f"{self.upstream.host}/example/hello:1.0",
            "releases": self.upstream.releases_url,
            "channels": self.upstream.channels_url,
            "mirrors": f'"{self.upstream.url}"',
        }
        path.write_text(RECIPE.format(**{**own, **other}))
        return path

    def ask(self, *arguments: str | Path, code: int = 0) -> Findings:
        places = ("--cache-dir", self.folder / "cache", "--output", self.folder / "dist")
        assert main(["doctor", *map(str, (*arguments, *places)), "--json"]) == code
        found: Findings = {}
        for finding in json.loads(self.read())["findings"]:
            found.setdefault(finding["subject"], []).append(finding)
        return found


@pytest.fixture
def doctor(tmp_path: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, upstream, lambda: capsys.readouterr().out)


@pytest.fixture(autouse=True)
def no_way_out(no_surroundings: None, monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    """Docker Hub itself is asked too: through a proxy that is none."""
    monkeypatch.setenv("HTTPS_PROXY", upstream.url)


def states(findings: Findings, subject: str) -> list[str]:
    return [finding["state"] for finding in findings[subject]]


def test_without_docker_everything_is_well_and_the_registry_engine_is_used(doctor: Doctor) -> None:
    found = doctor.ask(doctor.recipe())

    assert states(found, "docker") == ["warning"]
    assert "no Docker daemon answers" in found["docker"][0]["what"]
    assert found["engine"][0]["what"] == "registry, because no Docker daemon can be used"
    assert "stable is v1.34.1+k3s1" in found["channels"][0]["what"]
    for subject in ("channels", "releases", "clock", "zstd", "cache", "output", f"registry {doctor.upstream.host}"):
        assert states(found, subject) in (["ok"], ["warning"]), found[subject]
    assert states(found, "registry docker.io") == ["ok", "warning"], "the mirror answers, Docker Hub cannot be reached"


def test_nothing_is_made_and_nothing_big_is_fetched(doctor: Doctor) -> None:
    doctor.ask(doctor.recipe())

    assert [path.name for path in doctor.folder.iterdir()] == ["edge.yaml"]
    assert not doctor.upstream.requests_to("/v2/?*")
    assert doctor.upstream.bytes_sent("*/sha256sum-*") == 0


@pytest.mark.parametrize(("info", "says"), [(OVERLAY2, "overlay2 image store"), (CONTAINERD, "containerd image store")])
def test_a_daemon_is_described_and_used(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, info: dict[str, Any], says: str
) -> None:
    with RecordedDaemon({**info, "HttpProxy": "http://me:secret@proxy.example:3128"}, b"") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        found = doctor.ask(doctor.recipe())

    assert states(found, "docker") == ["ok"]
    assert "Docker 28.5.2 (API 1.51) at http://127.0.0.1" in found["docker"][0]["what"]
    assert says in found["docker"][0]["what"]
    assert "secret" not in found["docker"][0]["what"]
    assert found["engine"][0]["what"] == "docker, because its daemon answers"


def test_a_daemon_that_does_not_say_what_it_is_is_not_believed(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordedDaemon({"ServerVersion": "28.5.2"}, b"") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        found = doctor.ask(doctor.recipe(), "--engine", "docker", code=3)

    assert [finding["error"] for finding in found["docker"]] == ["daemon-failed"]


def test_docker_asked_for_by_name_and_absent_is_an_error(doctor: Doctor) -> None:
    found = doctor.ask(doctor.recipe(), "--engine", "docker", code=3)

    assert found["docker"][0]["error"] == "daemon-unavailable"
    assert found["docker"][0]["exitCode"] == 3
    assert "engine" not in found


@pytest.mark.parametrize("subject", ["channels", "releases", "registry"])
def test_a_server_that_does_not_answer_is_an_error_with_its_name(doctor: Doctor, dead: str, subject: str) -> None:
    host = dead.removeprefix("http://")
    recipe = doctor.recipe(**{"registry": {"extra": f"{host}/any:1"}}.get(subject, {subject: dead}))

    found = doctor.ask(recipe, code=3)

    finding = found[f"registry {host}" if subject == "registry" else subject][0]
    assert (finding["state"], finding["error"], finding["exitCode"]) == ("error", "host-unreachable", 3)
    assert host in finding["what"]
    assert finding["hint"]


def test_a_registry_of_which_no_endpoint_answers_is_an_error_each(doctor: Doctor, dead: str) -> None:
    found = doctor.ask(doctor.recipe(mirrors=f'"{dead}"'), code=3)

    assert states(found, "registry docker.io") == ["error", "error"]


def test_a_registry_that_wants_a_login_is_fine(tmp_path: Path, doctor: Doctor) -> None:
    with Upstream(access=BearerAccess("me", "secret")) as guarded:
        found = doctor.ask(doctor.recipe(extra=f"{guarded.host}/example/hello:1.0"))

    assert states(found, f"registry {guarded.host}") == ["ok"]
    assert "wants to know who asks" in found[f"registry {guarded.host}"][0]["what"]


def test_a_registry_that_fails_is_told_from_one_that_answers(doctor: Doctor) -> None:
    doctor.upstream.fail("/v2/", Status(503), times=None)

    found = doctor.ask(doctor.recipe(), code=3)

    assert found[f"registry {doctor.upstream.host}"][0]["error"] == "server-error"


def test_a_release_that_the_server_does_not_have_is_an_error(doctor: Doctor) -> None:
    found = doctor.ask(doctor.recipe(release="v1.34.99+k3s1"), code=3)

    assert found["releases"][0]["error"] == "asset-not-found"
    assert "channels" not in found, "an exact release asks no channel server"


@pytest.mark.parametrize(("off", "way"), [(3600, "fast"), (-3600, "slow")])
def test_a_clock_that_is_off_is_a_warning(doctor: Doctor, off: int, way: str) -> None:
    recipe = read_recipe(doctor.recipe())
    around = Surroundings(doctor.folder, doctor.folder, None, {}, lambda: time.time() + off, why_not_of)
    with open_session() as session:
        examination = examine(recipe, "registry", around, releases_of(recipe, session), through())
    found = {finding.subject: finding for finding in examination.findings}

    assert found["clock"].state == "warning"
    assert f"s {way}" in found["clock"].what


def test_accounts_of_proxies_are_never_shown(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dead: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", dead.replace("http://", "http://me:s3cret@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,corp.example")
    recipe = doctor.recipe()
    main(["doctor", str(recipe)])
    told = capsys.readouterr()

    assert f"HTTPS_PROXY is {dead.replace('http://', 'http://…@')}" in told.out
    assert "NO_PROXY is 127.0.0.1,corp.example" in told.out
    assert "s3cret" not in told.out + told.err


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://me:pw@proxy:3128/x", "http://…@proxy:3128/x"),
        ("me:p@w@proxy:3128", "…@proxy:3128"),
        ("http://me:p/w@proxy:3128", "http://…@proxy:3128"),
        ("proxy:3128", "proxy:3128"),
        ("socks5h://proxy", "socks5h://proxy"),
    ],
)
def test_redacting_leaves_the_host(value: str, shown: str) -> None:
    assert redacted(value) == shown


def test_a_missing_file_of_authorities_is_an_error_of_this_machine(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(doctor.folder / "none.pem"))

    found = doctor.ask(doctor.recipe(), code=5)

    assert states(found, "certificates") == ["error"]


@pytest.mark.parametrize(("free", "state", "code"), [(1, "error", 5), (5, "warning", 0), (50, "ok", 0)])
def test_room_is_judged(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, free: int, state: str, code: int) -> None:
    class Usage:
        pass

    Usage.free = free << 30  # type: ignore[attr-defined]
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)

    found = doctor.ask(doctor.recipe(), code=code)

    assert states(found, "cache") == states(found, "output") == [state]


def test_the_disk_comes_before_the_network(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, dead: str) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(doctor.folder / "none.pem"))

    found = doctor.ask(doctor.recipe(releases=dead), code=5)

    assert found["releases"][0]["exitCode"] == 3


def test_a_lock_of_another_compressor_recipe_or_form_is_named(doctor: Doctor) -> None:
    recipe, lock = doctor.recipe(), doctor.folder / "edge.lock.json"
    assert main(["lock", str(recipe), "--cache-dir", str(doctor.folder / "cache")]) == 0
    doctor.read()
    (fits,) = doctor.ask(recipe)["lock"]
    assert fits["state"] == "ok"
    assert fits["what"].endswith(", fits the recipe as written"), "its files are not looked at"

    fitting = lock.read_text()
    data = json.loads(fitting)
    lock.write_text(json.dumps({**data, "compressor": {**data["compressor"], "library": "1.4.0"}}))
    found = doctor.ask(recipe)
    assert states(found, "lock") == ["warning"]
    assert "libzstd 1.4.0" in found["lock"][0]["what"]

    lock.write_text(json.dumps({**data, "compressor": {**data["compressor"], "level": 1}}))
    found = doctor.ask(recipe)
    assert states(found, "lock") == ["warning"]
    assert ", level 1, " in found["lock"][0]["what"]

    lock.write_text(json.dumps({**data, "name": "other"}))
    found = doctor.ask(recipe)
    assert states(found, "lock") == ["warning"]
    assert "it was edited: its name, layers and architectures are not those" in found["lock"][0]["what"]

    lock.write_text("{}")
    assert doctor.ask(recipe, code=6)["lock"][0]["error"] == "lock-malformed"

    lock.write_text(fitting)
    assert states(doctor.ask(doctor.recipe(release="v1.34")), "lock") == ["warning"]


def test_the_lock_is_the_one_that_a_build_with_these_variables_uses(doctor: Doctor) -> None:
    recipe, cache = doctor.recipe(release="${channel}"), doctor.folder / "cache"
    recipe.write_text(recipe.read_text() + "variables: {channel: {default: stable}}\n")
    other = ("--set", "channel=v1.34")
    assert "lock" not in doctor.ask(recipe, *other)
    assert not cache.exists(), "a look makes nothing"
    assert main(["lock", str(recipe), "--cache-dir", str(cache)]) == 0
    assert main(["lock", str(recipe), "--cache-dir", str(cache), *other]) == 0
    doctor.read()
    (apart,) = (cache / "locks").iterdir()

    for arguments, path in (((), doctor.folder / "edge.lock.json"), (other, apart)):
        (found,) = doctor.ask(recipe, *arguments)["lock"]
        assert found["state"] == "ok"
        assert found["what"].startswith(f"{path}: ")

    apart.write_text("{}")
    assert states(doctor.ask(recipe), "lock") == ["ok"]
    assert doctor.ask(recipe, *other, code=6)["lock"][0]["error"] == "lock-malformed"


def test_the_lock_of_a_shipped_recipe_is_looked_at(doctor: Doctor) -> None:
    locks = doctor.folder / "cache" / "locks"
    locks.mkdir(parents=True)
    path, _ = find_recipe("minimal")
    lock_apart(read_recipe(path), locks).write_text("{}")

    assert doctor.ask("minimal", code=3)["lock"][0]["error"] == "lock-malformed"


def test_a_secret_that_is_missing_is_an_error_of_this_machine_and_one_that_is_there_is_not_shown(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIRROR_TOKEN", raising=False)
    (doctor.folder / "password").write_text("s3cret-password")
    recipe = doctor.recipe(
        releases=f"[{{url: {doctor.upstream.releases_url}, auth: {{token: {{env: MIRROR_TOKEN}}}}}}]"
    )
    auth = "auth: {username: {file: ./password}, password: {file: ./password}}"
    recipe.write_text(recipe.read_text() + f"    '{doctor.upstream.host}': {{{auth}}}\n")

    found = doctor.ask(recipe, code=5)
    assert found["sources.releases[0].auth"][0]["error"] == "secret-missing"
    assert "MIRROR_TOKEN" in found["sources.releases[0].auth"][0]["what"]
    assert states(found, f'sources.registries."{doctor.upstream.host}".auth') == ["ok"]

    monkeypatch.setenv("MIRROR_TOKEN", "s3cret-token")
    found = doctor.ask(recipe)
    assert states(found, "sources.releases[0].auth") == ["ok"]
    assert "s3cret" not in json.dumps(found)


def test_certificates_that_cannot_be_read_are_named_and_the_rest_is_looked_at(doctor: Doctor) -> None:
    recipe = doctor.recipe()
    recipe.write_text(recipe.read_text() + "    quay.io: {tls: {ca_file: ./nobody.pem}}\n")

    found = doctor.ask(recipe, code=5)

    assert found["certificates quay.io"][0]["error"] == "certificate-file"
    assert "nobody.pem" in found["certificates quay.io"][0]["what"]
    assert states(found, "releases") == ["ok"]
    trustme.CA().cert_pem.write_to_path(str(doctor.folder / "nobody.pem"))
    assert states(doctor.ask(recipe), "certificates quay.io") == ["ok"]


def test_a_folder_of_releases_is_looked_into_and_one_place_that_has_them_is_enough(doctor: Doctor) -> None:
    tag = "v1.34.1+k3s1"
    (doctor.folder / "assets" / tag).mkdir(parents=True)
    recipe = doctor.recipe(releases="./assets", release=tag)
    found = doctor.ask(recipe, code=3)
    assert found["releases"][0]["error"] == "asset-not-found"
    assert f"assets/{tag}" in found["releases"][0]["what"]

    both = doctor.ask(doctor.recipe(releases=f"[./assets, {doctor.upstream.releases_url}]", release=tag))
    assert states(both, "releases") == ["warning", "ok"]

    (doctor.folder / "assets" / tag / "sha256sum-arm64.txt").write_text("")
    assert states(doctor.ask(doctor.recipe(releases="./assets", release=tag)), "releases") == ["ok"]


def test_text_names_every_finding_with_its_hint(doctor: Doctor, capsys: pytest.CaptureFixture[str], dead: str) -> None:
    code = main(["doctor", str(doctor.recipe(releases=dead)), "--cache-dir", str(doctor.folder / "cache")])
    lines = capsys.readouterr().out.splitlines()

    assert code == 3
    at = next(number for number, line in enumerate(lines) if line.startswith("error[host-unreachable] releases:"))
    assert lines[at + 1].strip().startswith("hint: ")
    assert any(line.startswith("ok       zstd: libzstd") for line in lines)
