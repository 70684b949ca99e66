"""Looks at everything a build would need and says what is wrong, without changing or fetching anything."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from ssl import SSLContext
from typing import TYPE_CHECKING, Literal

from bundler.archive.zstd import compressor
from bundler.engines.access import certificates_of
from bundler.engines.choice import registry_bytes_lost
from bundler.engines.daemon import connect
from bundler.engines.releases import OnDisk, not_on_disk
from bundler.errors import BundlerError, DiskFullError, HostError, LockError, NetworkError, host_error
from bundler.k3s.assets import checksum_asset
from bundler.model.frozen import Frozen
from bundler.model.lock import parse_lock
from bundler.model.reference import DOCKER_HUB, Reference
from bundler.model.release import is_tag
from bundler.net.answers import exchange
from bundler.net.refusals import refusal_of
from bundler.net.session import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

    from bundler.engines.access import RegistryAccess
    from bundler.engines.daemon import DaemonFacts
    from bundler.engines.releases import Place, Releases
    from bundler.engines.secrets import Secrets
    from bundler.model.lock import Lock
    from bundler.model.recipe import EngineChoice, Recipe
    from bundler.model.recipe_images import Images
    from bundler.model.recipe_sources import Sources
    from bundler.net.certificates import Certificates

LEAST_ROOM = 2 << 30
"""Bytes below which no bundle of k3s and its images can be made."""

GOOD_ROOM = 10 << 30
"""Bytes below which a build for several architectures may not fit."""

CLOCK_TOLERANCE = 300
"""Seconds a clock may be off before tokens and certificates are misjudged."""

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_WORST_FIRST = (HostError.exit_code, NetworkError.exit_code, LockError.exit_code)


class Finding(Frozen):
    """One thing that was looked at. `error` is the kind of failure as messages name it, `exit_code` its class."""

    subject: str
    state: Literal["ok", "warning", "error"]
    what: str
    hint: str | None = None
    error: str | None = None
    exit_code: int = 0


class Examination(Frozen):
    """Everything that was found; `engine` is what a build would use now, none when it could use no engine."""

    schema_version: Literal[1] = 1
    engine: Literal["docker", "registry"] | None
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Give the class of the worst error, 0 when there is none: this machine (5) before servers (3), then locks."""
        codes = {finding.exit_code for finding in self.findings if finding.state == "error"}
        return next((code for code in _WORST_FIRST if code in codes), max(codes, default=0))


@dataclass(frozen=True)
class Surroundings:
    """What only the command line knows: folders, environment, and the clock in seconds since 1970.

    `why_not` says why a lock was not made of a recipe as it is written; None when it was.
    """

    cache: Path
    output: Path
    lock: Path | None
    environment: Mapping[str, str]
    clock: Callable[[], float]
    why_not: Callable[[Lock, Recipe], str | None]


def examine(
    recipe: Recipe, engine: EngineChoice, around: Surroundings, releases: Releases, access: RegistryAccess
) -> Examination:
    """Look at engine, servers, proxies, disks, clock and compressor for a build of `recipe`; raises nothing of ours."""
    used, engine_findings = _look_at_engine(engine, recipe.images)
    seen = _Servers(recipe, releases, access, around.clock)
    findings = [
        *engine_findings,
        *_look_at_secrets(recipe.sources, access.secrets),
        *_look_at_certificates(certificates_of(recipe.sources, access.secrets.folder)),
        *seen.findings(),
        *_look_at_proxies(around.environment),
        _look_at_room("cache", around.cache),
        _look_at_room("output", around.output),
        _look_at_clock(seen.drifts),
        *_look_at_compressor(recipe, around),
    ]
    return Examination(engine=used, findings=tuple(findings))


def _ok(subject: str, what: str) -> Finding:
    return Finding(subject=subject, state="ok", what=what)


def _warning(subject: str, what: str, hint: str) -> Finding:
    return Finding(subject=subject, state="warning", what=what, hint=hint)


def _failed(subject: str, error: BundlerError, *, only_warn: bool = False) -> Finding:
    if only_warn:
        return _warning(subject, error.what, error.hint)
    return Finding(
        subject=subject, state="error", what=error.what, hint=error.hint, error=error.name, exit_code=error.exit_code
    )


def _look_at_engine(wanted: EngineChoice, images: Images) -> tuple[Literal["docker", "registry"] | None, list[Finding]]:
    own = [str(source) for source in (*images.builds, *images.from_engine)]
    needs = wanted == "docker" or bool(own)
    try:
        with closing(connect()) as connection:
            daemon = connection.facts()
    except BundlerError as error:
        docker = _failed("docker", error, only_warn=not needs)
        if wanted == "docker":
            return None, [docker]
        if own:
            docker = docker.model_copy(update={"what": f"images.extra has {', '.join(own)}, and {docker.what}"})
        why = "it was asked for" if wanted == "registry" else "no Docker daemon can be used"
        return "registry", [docker, _ok("engine", f"registry, because {why}")]
    findings = [_ok("docker", _daemon_text(daemon))]
    if own and images.layers == "registry" and not daemon.keeps_registry_bytes:
        findings.append(_failed("images.extra", registry_bytes_lost(daemon)))
    if wanted == "registry":
        return "registry", [*findings, _ok("engine", "registry, because it was asked for")]
    if images.layers == "registry" and not daemon.keeps_registry_bytes:
        unfit = registry_bytes_lost(daemon)
        findings.append(_failed("engine", unfit, only_warn=wanted != "docker"))
        return ("registry" if wanted == "auto" else None), findings
    why = "it was asked for" if wanted == "docker" else "its daemon answers"
    return "docker", [*findings, _ok("engine", f"docker, because {why}")]


def _daemon_text(daemon: DaemonFacts) -> str:
    store = "containerd image store" if daemon.keeps_registry_bytes else f"{daemon.storage} image store"
    through = [redacted(proxy) for proxy in daemon.proxies]
    return f"Docker {daemon.version} (API {daemon.api_version}) at {daemon.address}, {store}" + (
        f", through the proxy {' and '.join(through)}" if through else ""
    )


class _Servers:
    """Asks every server once, all at the same time, and remembers how far their clocks are from ours, in seconds."""

    def __init__(self, recipe: Recipe, releases: Releases, access: RegistryAccess, clock: Callable[[], float]) -> None:
        self._recipe, self._releases, self._access, self._clock = recipe, releases, access, clock
        self._session = releases.session
        self.drifts: list[float] = []

    def findings(self) -> list[Finding]:
        """Look at the release and channel servers and at every registry."""
        registries = {DOCKER_HUB: None} | {image.registry: None for image in self._recipe.images.references}
        with ThreadPoolExecutor(8, thread_name_prefix="doctor") as pool:
            releases = pool.submit(self._look_at_releases)
            asked = [pool.submit(self._registry, registry) for registry in registries]
            return [*releases.result(), *(finding for each in asked for finding in each.result())]

    def _look_at_releases(self) -> list[Finding]:
        found = []
        try:
            release = self._releases.release()
        except BundlerError as error:
            urls = [mirror.url for mirror in self._recipe.sources.release_mirrors if mirror.folder is None]
            return [_failed("channels", error), *(self._reachable("releases", url) for url in urls)]
        if not is_tag(self._recipe.release):
            found.append(_ok("channels", f"{self._recipe.sources.channels}: {self._recipe.release} is {release}"))
        told = [
            (place, self._has(place)) for place in self._releases.places(release, checksum_asset(self._recipe.arch[0]))
        ]
        works = any(answer is None for _, answer in told)
        for place, answer in told:
            base = place.name.rpartition("/")[0].removesuffix(f"/{release.tag}")
            has = _ok("releases", f"{base} has {release}")
            found.append(has if answer is None else _failed("releases", answer, only_warn=works))
        return found

    def _has(self, place: Place) -> BundlerError | None:
        if isinstance(place, OnDisk):
            return None if place.path.is_file() else not_on_disk(place)
        try:
            with exchange(self._session, "HEAD", place.name, auth=self._releases.auth) as response:
                self._note_date(response)
                if response.status_code != 200:
                    raise refusal_of(response, settings_of(self._session))
        except BundlerError as error:
            return error
        return None

    def _reachable(self, subject: str, url: str) -> Finding:
        try:
            with exchange(self._session, "HEAD", url, auth=self._releases.auth) as response:
                self._note_date(response)
                if response.status_code >= 500 or response.status_code == 407:
                    raise refusal_of(response, settings_of(self._session))
        except BundlerError as error:
            return _failed(subject, error)
        return _ok(subject, f"{url} answers")

    def _registry(self, registry: str) -> list[Finding]:
        """Ask each endpoint of a registry; one that fails is a warning as long as another one answers."""
        nothing_yet = Reference(registry, "any", "any")
        subject = f"registry {registry}"
        told = [
            (origin, self._version_check(origin))
            for origin in dict.fromkeys(endpoint.origin for endpoint in self._access.endpoints(nothing_yet))
        ]
        works = any(isinstance(answer, str) for _, answer in told)
        return [
            _ok(subject, f"{origin} {answer}") if isinstance(answer, str) else _failed(subject, answer, only_warn=works)
            for origin, answer in told
        ]

    def _version_check(self, origin: str) -> str | BundlerError:
        """Ask for /v2/, as the distribution spec does to find out whether a registry is there (end-1)."""
        try:
            with exchange(self._session, "GET", f"{origin}/v2/") as response:
                self._note_date(response)
                if response.status_code == 200:
                    return "answers"
                if response.status_code == 401:
                    return "answers, and wants to know who asks for what"
                raise refusal_of(response, settings_of(self._session))
        except BundlerError as error:
            return error

    def _note_date(self, response: requests.Response) -> None:
        try:
            stated = parsedate_to_datetime(response.headers.get("Date", ""))
            self.drifts.append(self._clock() - stated.timestamp())
        except (ValueError, TypeError, OverflowError):
            return


def usable_certificates(sources: Sources, folder: Path) -> dict[str, Certificates]:
    """Give those certificates of a recipe in `folder` that a session takes; `examine` tells of the others."""
    found = certificates_of(sources, folder)
    return {host: each for host, each in found.items() if isinstance(_context(each), SSLContext)}


def _context(certificates: Certificates) -> SSLContext | BundlerError:
    try:
        return certificates.context()
    except BundlerError as error:
        return error


def _look_at_certificates(found: Mapping[str, Certificates]) -> Iterator[Finding]:
    for host, certificates in found.items():
        context = _context(certificates)
        subject = f"certificates {host}"
        yield _failed(subject, context) if isinstance(context, BundlerError) else _ok(subject, "can be read")


def _look_at_secrets(sources: Sources, secrets: Secrets) -> Iterator[Finding]:
    """Look whether every secret is where the recipe says; never shows one."""
    named = [
        (f"sources.releases[{index}].auth", mirror.auth) for index, mirror in enumerate(sources.releases or ())
    ] + [(f'sources.registries."{name}".auth', source.auth) for name, source in sources.registries.items()]
    for subject, auth in named:
        if auth is None:
            continue
        try:
            for _, secret in auth:
                if secret is not None:
                    secrets.read(secret)
        except BundlerError as error:
            yield _failed(subject, error)
        else:
            yield _ok(subject, "is there, and was sent nowhere but to its server")


def redacted(value: str) -> str:
    """Give the address of a proxy without name and password, also when it is written without a scheme."""
    scheme, separator, rest = value.rpartition("://")
    _, account, host = rest.rpartition("@")  # also behind a slash: passwords have them
    return f"{scheme}{separator}{'…@' if account else ''}{host}"


def _look_at_proxies(environment: Mapping[str, str]) -> Iterator[Finding]:
    found = {
        name: value
        for name in _PROXIES
        # requests takes the lower-case name first, as curl does.
        if (value := environment.get(name.lower()) or environment.get(name))
    }
    if not found:
        yield _ok("proxy", "none is set")
    for name, value in found.items():
        if name.endswith("_BUNDLE"):
            yield _look_at_authorities(name, Path(value))
        else:
            yield _ok("proxy", f"{name} is {value if name == 'NO_PROXY' else redacted(value)}")


def _look_at_authorities(name: str, path: Path) -> Finding:
    if path.exists():
        return _ok("certificates", f"{name} is {path}")
    return _failed(
        "certificates", HostError(f"{name} is {path}, which does not exist", hint=f"correct {name}, or unset it")
    )


def _look_at_room(subject: str, folder: Path) -> Finding:
    # The folder may not exist yet; a look must not make it.
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
        free = shutil.disk_usage(there).free
    except OSError as error:
        return _failed(subject, host_error(error, there))
    room = f"{folder}: {free / (1 << 30):.1f} GiB free"
    hint = "free some room, or choose another place with --cache-dir and --output"
    if free < LEAST_ROOM:
        return _failed(subject, DiskFullError(f"{room}, no build fits", hint=hint))
    if free < GOOD_ROOM:
        return _warning(subject, f"{room}, a build for several architectures may not fit", hint)
    return _ok(subject, room)


def _look_at_clock(drifts: list[float]) -> Finding:
    if not drifts:
        return _warning("clock", "no server told the time", "see what is wrong with the servers above")
    drift = min(drifts, key=abs)
    if abs(drift) <= CLOCK_TOLERANCE:
        return _ok("clock", "agrees with the servers")
    way = "fast" if drift > 0 else "slow"
    return _warning(
        "clock",
        f"is {abs(drift):.0f} s {way}, says a server",
        "set it (timedatectl set-ntp true): certificates and tokens are refused otherwise",
    )


def _look_at_compressor(recipe: Recipe, around: Surroundings) -> Iterator[Finding]:
    here, lock = compressor(recipe.pack.level), around.lock
    yield _ok("zstd", f"libzstd {here.library}")
    if lock is None:
        return
    try:
        known = parse_lock(lock.read_bytes(), str(lock))
    except FileNotFoundError:
        return
    except LockError as error:
        yield _failed("lock", error)
    except OSError as error:
        yield _failed("lock", host_error(error, lock))
    else:
        why = around.why_not(known, recipe)
        if not why and known.compressor != here:
            why = f"it was made with {known.compressor}, this machine has {here}"
        if not why:
            yield _ok("lock", f"{lock}: {known.release}, fits the recipe as written")
            return
        yield _warning(
            "lock", f"{lock}: {why}", "a build makes it anew, with --locked it refuses: k3s-bundler lock --update"
        )
