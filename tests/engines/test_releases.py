"""Releases from mirrors in order, from folders, and from servers that want to know who asks."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from bundler.engines.releases import Releases
from bundler.engines.secrets import Secrets
from bundler.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    DigestMismatchError,
    HostUnreachableError,
    SecretMissingError,
)
from bundler.model.digest import digest_of
from bundler.model.lock import LockedFile
from bundler.model.release import parse_release
from bundler.progress import SilentTask
from bundler.stages.read import parse_recipe
from tests.engines.recorder import Asked, Recorder, Reply
from tests.upstream import Cut, Flip, Redirect, Status, Upstream, standard_content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.net.session import Session

TAG = "v1.34.1+k3s1"
RELEASE = parse_release(TAG)
ASSETS = standard_content().release(TAG).assets
BINARY = ASSETS["k3s-arm64"]
SUMS = "sha256sum-arm64.txt"
DEAD = "http://127.0.0.1:1/k3s"


def releases(
    session: Session,
    sources: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    release: str = TAG,
) -> Releases:
    text = f"{{version: 1, name: edge, release: {release}, arch: [arm64], sources: {sources}}}"
    return Releases(parse_recipe(text.encode(), "edge.yaml"), Secrets(folder, environment or {}), session)


def locked(url: str) -> LockedFile:
    return LockedFile(name="k3s-arm64", url=url, size=len(BINARY), digest=digest_of(BINARY))


def fill(folder: Path, assets: Mapping[str, bytes] = ASSETS) -> None:
    folder.mkdir(parents=True)
    for name, data in assets.items():
        (folder / name).write_bytes(data)


# Mirrors


def test_mirrors_are_asked_in_order_until_one_has_it(session: Session, tmp_path: Path) -> None:
    with Upstream() as one, Upstream() as two:
        one.fail(f"*/{SUMS}", Status(404), times=None)
        mirrors = f"[{DEAD}, {one.releases_url}, {two.releases_url}]"
        found = releases(session, f"{{releases: {mirrors}, tag_style: plain}}", tmp_path)
        assert found.read(RELEASE, SUMS) == (ASSETS[SUMS], f"{two.releases_url}/{TAG}/{SUMS}")
        assert found.size(RELEASE, "k3s-arm64") == (len(BINARY), f"{one.releases_url}/{TAG}/k3s-arm64")
        assert not two.requests_to("*/k3s-arm64")


def test_each_mirror_writes_tags_in_its_own_way(session: Session, tmp_path: Path) -> None:
    with Upstream() as one:
        dashed = f"{{url: {one.dashed_releases_url}, tag_style: dash}}"
        found = releases(session, f"{{releases: [{DEAD}, {dashed}]}}", tmp_path)
        assert [place.name for place in found.places(RELEASE, SUMS)] == [
            f"{DEAD}/v1.34.1%2Bk3s1/{SUMS}",
            f"{one.dashed_releases_url}/v1.34.1-k3s1/{SUMS}",
        ]
        assert found.read(RELEASE, SUMS)[0] == ASSETS[SUMS]


def test_what_every_mirror_did_is_told_and_the_one_out_of_reach_names_the_kind(
    session: Session, tmp_path: Path
) -> None:
    with Upstream() as one:
        one.fail("*", Status(404), times=None)
        found = releases(session, f"{{releases: [{one.releases_url}, {DEAD}]}}", tmp_path)
        with pytest.raises(HostUnreachableError, match=rf"{one.host}.* does not exist .*; then 127\.0\.0\.1:1 "):
            found.read(RELEASE, SUMS)


def test_a_mirror_with_wrong_bytes_is_passed_over(session: Session, tmp_path: Path) -> None:
    with Upstream() as one, Upstream() as two:
        one.fail("*/k3s-arm64", Flip(7), times=None)
        found = releases(session, f"{{releases: [{one.releases_url}, {two.releases_url}]}}", tmp_path)
        found.bring(locked(f"{one.releases_url}/{TAG}/k3s-arm64"), RELEASE, tmp_path / "part", SilentTask())
        assert (tmp_path / "part").read_bytes() == BINARY
        two.fail("*/k3s-arm64", Flip(8), times=None)
        (tmp_path / "part").unlink()
        with pytest.raises(DigestMismatchError, match=rf"{one.host}.*; then .*{two.host}"):
            found.bring(locked(f"{one.releases_url}/{TAG}/k3s-arm64"), RELEASE, tmp_path / "part", SilentTask())
        assert not (tmp_path / "part").exists()


def test_where_the_lock_found_it_is_asked_first_and_the_next_goes_on_at_the_byte(
    session: Session, tmp_path: Path
) -> None:
    with Upstream() as one, Upstream() as two:
        two.fail("*/k3s-arm64", Cut(len(BINARY) // 2))
        two.fail("*/k3s-arm64", Status(404), times=None)
        found = releases(session, f"{{releases: [{one.releases_url}, {two.releases_url}], tag_style: plain}}", tmp_path)
        found.bring(locked(f"{two.releases_url}/{TAG}/k3s-arm64"), RELEASE, tmp_path / "part", SilentTask())
        assert (tmp_path / "part").read_bytes() == BINARY
        assert one.bytes_sent() == len(BINARY) - len(BINARY) // 2


# Folders


@pytest.mark.parametrize("below", [TAG, "v1.34.1-k3s1", "."])
@pytest.mark.parametrize("written", ["path", "url"])
def test_a_folder_gives_the_files_of_a_release(below: str, written: str, session: Session, tmp_path: Path) -> None:
    fill(tmp_path / "as sets" / below)
    base = f"file://{tmp_path}/as%20sets" if written == "url" else "./as sets"
    found = releases(session, f"{{releases: '{base}'}}", tmp_path)
    layout = "" if below == "." else f"{below}/"
    assert found.read(RELEASE, SUMS) == (ASSETS[SUMS], f"{base}/{layout}{SUMS}")
    size, place = found.size(RELEASE, "k3s-arm64")
    assert (size, place) == (len(BINARY), f"{base}/{layout}k3s-arm64")
    found.bring(locked(place), RELEASE, tmp_path / "part", SilentTask())
    assert (tmp_path / "part").read_bytes() == BINARY


def test_a_flat_folder_is_not_believed_to_be_what_a_channel_means(session: Session, tmp_path: Path) -> None:
    fill(tmp_path / "assets")
    with pytest.raises(AssetNotFoundError, match="is not there") as caught:
        releases(session, "{releases: ./assets}", tmp_path, release="stable").read(RELEASE, SUMS)
    assert "exact tag" in caught.value.hint


def test_a_damaged_file_in_a_folder_is_refused_and_a_server_behind_it_helps(session: Session, tmp_path: Path) -> None:
    fill(tmp_path / "assets" / TAG, {**ASSETS, "k3s-arm64": BINARY[:-1] + b"!"})
    file = locked(f"./assets/{TAG}/k3s-arm64")
    with pytest.raises(DigestMismatchError, match=r"assets/.*k3s-arm64 is sha256:"):
        releases(session, "{releases: ./assets}", tmp_path).bring(file, RELEASE, tmp_path / "part", SilentTask())
    assert not (tmp_path / "part").exists()
    with Upstream() as one:
        both = releases(session, f"{{releases: [./assets, {one.releases_url}]}}", tmp_path)
        both.bring(file, RELEASE, tmp_path / "part", SilentTask())
    assert (tmp_path / "part").read_bytes() == BINARY


def test_what_a_dead_server_left_does_not_spoil_the_copy(session: Session, tmp_path: Path) -> None:
    fill(tmp_path / "assets" / TAG)
    (tmp_path / "part").write_bytes(b"half of something else")
    found = releases(session, "{releases: ./assets}", tmp_path)
    found.bring(locked(f"./assets/{TAG}/k3s-arm64"), RELEASE, tmp_path / "part", SilentTask())
    assert (tmp_path / "part").read_bytes() == BINARY
    assert stat.S_ISREG((tmp_path / "part").lstat().st_mode)


# Accounts


def guarded(login: str, thief: str | None = None) -> Recorder:
    """Give files to `login` alone, from another host when `thief` is one."""

    def answer(asked: Asked) -> Reply:
        if asked.login != login:
            return Reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        if thief:
            return Reply(302, b"", {"Location": f"{thief}{asked.path}"})
        return Reply(200, ASSETS[asked.path.rpartition("/")[2]])

    return Recorder(answer)


AUTHS = {
    "token": ("{token: {env: MIRROR_TOKEN}}", "Bearer s3cret-token"),
    "password": ("{username: {env: MIRROR_USER}, password: {file: ./password}}", "robot$k3s:pässwörd €"),
}
ENVIRONMENT = {"MIRROR_TOKEN": "s3cret-token", "MIRROR_USER": "robot$k3s"}


@pytest.mark.parametrize("kind", AUTHS)
def test_a_private_mirror_gets_its_account_and_nobody_else_does(kind: str, session: Session, tmp_path: Path) -> None:
    auth, login = AUTHS[kind]
    (tmp_path / "password").write_text("pässwörd €\n", encoding="utf-8")
    with Upstream() as cdn, Upstream() as public, guarded(login, cdn.url) as private:
        public.fail("*", Status(404), times=None)
        mirrors = f"[{public.releases_url}, {{url: {private.url}/releases, auth: {auth}}}]"
        found = releases(session, f"{{releases: {mirrors}, tag_style: plain}}", tmp_path, ENVIRONMENT)
        assert found.read(RELEASE, SUMS)[0] == ASSETS[SUMS]
        cdn.fail("*/k3s-arm64", Cut(len(BINARY) // 2))
        found.bring(locked(f"{private.url}/releases/{TAG}/k3s-arm64"), RELEASE, tmp_path / "part", SilentTask())
        assert (tmp_path / "part").read_bytes() == BINARY
        assert {asked.login for asked in private.asked} == {login}
        assert len(cdn.requests) == 3
        assert not any("authorization" in request.headers for request in (*cdn.requests, *public.requests))


def test_a_refused_account_is_an_error_without_the_secret(session: Session, tmp_path: Path) -> None:
    with guarded("Bearer other") as private:
        mirror = f"[{{url: {private.url}, auth: {{token: {{env: MIRROR_TOKEN}}}}}}]"
        with pytest.raises(AccessDeniedError, match=private.host) as caught:
            releases(session, f"{{releases: {mirror}}}", tmp_path, ENVIRONMENT).read(RELEASE, SUMS)
        assert "s3cret-token" not in str(caught.value)


def test_a_secret_that_is_not_there_ends_it_at_once_by_name(session: Session, tmp_path: Path) -> None:
    with guarded("Bearer x") as private, Upstream() as public:
        mirrors = f"[{{url: {private.url}, auth: {{token: {{env: MIRROR_TOKEN}}}}}}, {public.releases_url}]"
        with pytest.raises(SecretMissingError, match="variable MIRROR_TOKEN"):
            releases(session, f"{{releases: {mirrors}}}", tmp_path).read(RELEASE, SUMS)
        assert private.asked == []
        assert public.requests == ()


def test_two_mirrors_at_one_host_have_an_account_each(session: Session, tmp_path: Path) -> None:
    with Recorder(lambda asked: Reply(404)) as host:
        mirrors = ", ".join(f"{{url: {host.url}/{each}, auth: {{token: {{env: {each}}}}}}}" for each in ("A", "B"))
        with pytest.raises(AssetNotFoundError):
            releases(session, f"{{releases: [{mirrors}]}}", tmp_path, {"A": "one", "B": "two"}).read(RELEASE, SUMS)
        assert [asked.login for asked in host.asked] == ["Bearer one", "Bearer two"]


def test_netrc_speaks_for_servers_of_releases_and_follows_no_redirect(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password from-netrc\n")
    (tmp_path / "netrc").chmod(0o600)
    with Upstream() as cdn, guarded("me:from-netrc", cdn.url) as private:
        found = releases(session, f"{{releases: {private.url}/releases, tag_style: plain}}", tmp_path)
        assert found.read(RELEASE, SUMS)[0] == ASSETS[SUMS]
        assert "authorization" not in cdn.requests[0].headers


def test_a_written_account_comes_before_netrc(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password from-netrc\n")
    with guarded("Bearer s3cret-token") as private:
        mirror = f"[{{url: {private.url}, auth: {{token: {{env: MIRROR_TOKEN}}}}}}]"
        assert releases(session, f"{{releases: {mirror}}}", tmp_path, ENVIRONMENT).read(RELEASE, SUMS)


def test_the_channel_server_gets_an_account_only_at_the_host_of_the_mirror(session: Session, tmp_path: Path) -> None:
    channels = Reply(200, b'{"data":[{"name":"stable","latest":"v1.34.1+k3s1"}]}')
    with Recorder(lambda _: channels) as same, Recorder(lambda _: channels) as other:
        mirror = f"[{{url: {same.url}/k3s, auth: {{token: {{env: MIRROR_TOKEN}}}}}}]"
        for host in (same, other):
            sources = f"{{releases: {mirror}, channels: {host.url}/channels}}"
            assert releases(session, sources, tmp_path, ENVIRONMENT, "stable").release() == RELEASE
        assert [same.asked[0].login, other.asked[0].login] == ["Bearer s3cret-token", ""]


# Presets


def test_the_preset_cn_is_the_layout_of_the_mirror_and_what_is_written_wins(session: Session, tmp_path: Path) -> None:
    def urls(sources: str) -> list[str]:
        return [place.name for place in releases(session, sources, tmp_path).places(RELEASE, SUMS)]

    assert urls("{preset: cn}") == [f"https://rancher-mirror.rancher.cn/k3s/v1.34.1-k3s1/{SUMS}"]
    assert urls("{preset: cn, releases: http://own/k3s}") == [f"http://own/k3s/v1.34.1-k3s1/{SUMS}"]
    assert urls("{preset: cn, tag_style: plain}") == [f"https://rancher-mirror.rancher.cn/k3s/{TAG}/{SUMS}"]


def test_redirects_of_mirrors_are_followed(session: Session, tmp_path: Path) -> None:
    with Upstream() as cdn, Upstream() as one:
        one.fail("*", Redirect(cdn.url), times=None)
        found = releases(session, f"{{releases: {one.releases_url}}}", tmp_path)
        assert found.size(RELEASE, "k3s-arm64")[0] == len(BINARY)
