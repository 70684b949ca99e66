"""Where the files of a release come from: servers tried in order, or a folder on this machine."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from requests.auth import AuthBase
from requests.utils import get_netrc_auth

from bundler.errors import (
    AssetNotFoundError,
    BundlerError,
    DigestMismatchError,
    IntegrityError,
    MalformedAnswerError,
    NetworkError,
    host_error,
)
from bundler.k3s.assets import asset_url
from bundler.k3s.channels import latest_of
from bundler.model.release import is_tag, parse_release
from bundler.net.answers import get_bytes, head_size
from bundler.net.download import Download, download
from bundler.net.part import CHUNK, open_part
from bundler.net.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import requests

    from bundler.engines.secrets import Secrets
    from bundler.model.lock import LockedFile
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_sources import ReleaseMirror
    from bundler.model.release import Release
    from bundler.progress import Task

TEXT_LIMIT = 1 << 20
"""Bytes of a checksum file, an image list or the list of channels."""

T = TypeVar("T")


@dataclass(frozen=True)
class AtServer:
    """A file at a server; `name` is its URL."""

    name: str


@dataclass(frozen=True)
class OnDisk:
    """A file on this machine; `name` is its path from the recipe's folder, or its file:// URL, as locks have it."""

    name: str
    path: Path


Place = AtServer | OnDisk


class Releases:
    """Releases as the recipe's sources have them; the session must know the certificates of `Sources.tls`."""

    def __init__(self, recipe: Recipe, secrets: Secrets, session: requests.Session) -> None:
        self._recipe, self._folder = recipe, secrets.folder
        self.session = session
        self._mirrors = recipe.sources.release_mirrors
        self.auth = ReleaseAuthorization(self._mirrors, secrets)
        """What each server of releases wants to know of the builder."""

    def release(self) -> Release:
        """Say which release the recipe means; asks the channel server unless it names a tag."""
        if is_tag(self._recipe.release):
            return parse_release(self._recipe.release)
        channels = self._recipe.sources.channels
        answer = get_bytes(self.session, channels, limit=TEXT_LIMIT, auth=self.auth)
        return latest_of(self._recipe.release, answer.body, channels)

    def places(self, release: Release, asset: str) -> tuple[Place, ...]:
        """List where a file of a release may be, in the recipe's order."""
        return tuple(self._place(mirror, release, asset) for mirror in self._mirrors)

    def read(self, release: Release, asset: str) -> tuple[bytes, str]:
        """Read a small file; gives it with the name of its place. Raises network and host errors."""

        def read(place: Place) -> tuple[bytes, str]:
            if isinstance(place, AtServer):
                return get_bytes(self.session, place.name, limit=TEXT_LIMIT, auth=self.auth).body, place.name
            _size_on_disk(place)
            try:
                with place.path.open("rb") as file:
                    data = file.read(TEXT_LIMIT + 1)
            except OSError as error:
                raise host_error(error, place.path) from error
            if len(data) > TEXT_LIMIT:
                raise MalformedAnswerError(
                    f"{place.name} is longer than the {TEXT_LIMIT} bytes such a file may have",
                    hint="check the folder under sources.releases",
                )
            return data, place.name

        return _first(self.places(release, asset), read)

    def size(self, release: Release, asset: str) -> tuple[int, str]:
        """Ask for the size of a file in bytes; gives it with the name of its place. Raises as `read` does."""

        def size(place: Place) -> tuple[int, str]:
            if isinstance(place, AtServer):
                return head_size(self.session, place.name, auth=self.auth), place.name
            return _size_on_disk(place), place.name

        return _first(self.places(release, asset), size)

    def bring(self, file: LockedFile, release: Release, part: Path, task: Task) -> None:
        """Bring a file of the lock, verified, into `part`: from where the lock found it, then from every other place.

        Raises network, integrity and host errors, with what each place did.
        """
        wanted = Download(urls=(), digest=file.digest, size=file.size)

        def bring(place: Place) -> None:
            if isinstance(place, AtServer):
                from_there = Download(urls=(place.name,), digest=file.digest, size=file.size)
                download(self.session, from_there, part, task=task, auth=self.auth)
            else:
                _copy(place, wanted, part, task)

        places = {place.name: place for place in self.places(release, file.name)}
        first = places.pop(file.url, None if "://" not in file.url else AtServer(file.url))
        _first([*([first] if first else []), *places.values()], bring)

    def _place(self, mirror: ReleaseMirror, release: Release, asset: str) -> Place:
        if mirror.folder is None:
            return AtServer(asset_url(mirror.url, release, mirror.tag_style or "percent", asset))
        tried = [f"{release.tag}/{asset}", f"{release.path_name}/{asset}"]
        if is_tag(self._recipe.release):
            # Nothing in a flat folder says which release it holds, so no channel may decide what it is taken for.
            tried.append(asset)
        folder = self._folder / mirror.folder
        found = next((path for path in tried if (folder / path).is_file()), tried[0])
        return OnDisk(f"{mirror.url}/{found}", folder / found)


class ReleaseAuthorization(AuthBase):
    """Tells each server of releases who asks, and no other server: by the recipe's `auth`, else by ~/.netrc.

    requests calls it for the first request alone; what follows a redirect is up to `Session.rebuild_auth`.
    """

    def __init__(self, mirrors: Sequence[ReleaseMirror], secrets: Secrets) -> None:
        self._mirrors = tuple(mirror for mirror in mirrors if mirror.folder is None)
        self._secrets = secrets

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header; raises SecretMissingError."""
        header = self._header(request.url or "")
        if header:
            request.headers["Authorization"] = header
        return request

    def _header(self, url: str) -> str | None:
        theirs = [mirror for mirror in self._mirrors if _origin(mirror.url) == _origin(url)]
        below = [mirror for mirror in theirs if urlsplit(url).path.startswith(f"{urlsplit(mirror.url).path}/")]
        for mirror in (below or theirs)[:1]:
            if mirror.auth is None:
                found = get_netrc_auth(url)
                return _basic(*found) if found else None
            if mirror.auth.username and mirror.auth.password:
                return _basic(self._secrets.read(mirror.auth.username), self._secrets.read(mirror.auth.password))
            if mirror.auth.token:
                return f"Bearer {self._secrets.read(mirror.auth.token)}"
        return None


def _basic(username: str, password: str) -> str:
    # Encoded here: requests would write text in Latin-1.
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _first(places: Sequence[Place], ask: Callable[[Place], T]) -> T:
    failures: list[BundlerError] = []
    for place in places:
        try:
            return ask(place)
        except (NetworkError, IntegrityError) as failure:
            failures.append(failure)
    raise verdict(failures)


def not_on_disk(place: OnDisk) -> AssetNotFoundError:
    """Say that a folder lacks a file."""
    return AssetNotFoundError(
        f"{place.path} is not there",
        hint="a folder under sources.releases holds <tag>/<file>, or <file> alone when the recipe names an exact tag",
    )


def _size_on_disk(place: OnDisk) -> int:
    try:
        return place.path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise not_on_disk(place) from None
    except OSError as error:
        raise host_error(error, place.path) from error


def _copy(place: OnDisk, wanted: Download, part: Path, task: Task) -> None:
    _size_on_disk(place)
    with open_part(part, wanted.size, task) as file:
        file.restart()
        try:
            with place.path.open("rb") as source:
                while chunk := source.read(CHUNK):
                    file.append(chunk)
        except OSError as error:
            raise host_error(error, place.path) from error
        if file.digest != wanted.digest:
            found = file.digest
            file.restart()
            raise DigestMismatchError(
                f"{place.path} is {found}, expected {wanted.digest}",
                hint="nothing of it was kept: fetch the file into the folder again",
            )
        file.finish()
