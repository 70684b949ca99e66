"""Static busybox programs of Debian for every architecture: real ELF files for images and release assets.

They are fetched once with a private apt state, so the architectures of this machine stay as they are, and kept in
`${XDG_CACHE_HOME:-~/.cache}/k3s-bundler-tests`.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.model.platform import ARCHITECTURES, ELF_MACHINE
from tests.real.packages import SEARCH_PATH, PackagesUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.platform import Architecture

DEBIAN_ARCHITECTURE: dict[Architecture, str] = {"amd64": "amd64", "arm64": "arm64", "arm": "armhf"}

_PACKAGE = "busybox-static"
_ATTEMPTS = 3
_TIMEOUT = 240


def busybox_programs() -> dict[Architecture, Path]:
    """Path of the program for each architecture; raises PackagesUnavailableError when they cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-bundler-tests" / "busybox"
    programs: dict[Architecture, Path] = {name: cache / name / "busybox" for name in ARCHITECTURES}
    wanted = [name for name, path in programs.items() if not _is_program_of(path, name)]
    if wanted:
        _fetch(wanted, programs)
    return programs


def _is_program_of(path: Path, architecture: Architecture) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.read(20)
    return header[:4] == b"\x7fELF" and int.from_bytes(header[18:20], "little") == ELF_MACHINE[architecture]


def _fetch(wanted: Sequence[Architecture], programs: dict[Architecture, Path]) -> None:
    if shutil.which("apt-get") is None:
        raise PackagesUnavailableError(f"{_PACKAGE} of Debian is not cached, and this machine has no apt-get")
    answer = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(2 * attempt)
        with tempfile.TemporaryDirectory(prefix="kb-apt-") as directory:
            answer = _download(wanted, Path(directory))
            for name in wanted:
                for package in Path(directory).glob(f"{_PACKAGE}_*_{DEBIAN_ARCHITECTURE[name]}.deb"):
                    _keep(_program_in(package), programs[name])
        if all(_is_program_of(programs[name], name) for name in wanted):
            return
    last = " | ".join(answer.strip().splitlines()[-3:])
    raise PackagesUnavailableError(f"{_PACKAGE} for {', '.join(wanted)} not fetched in {_ATTEMPTS} attempts: {last}")


def _download(wanted: Sequence[Architecture], directory: Path) -> str:
    """Fetch the packages into `directory` with an apt that knows nothing of the machine but its sources and proxies."""
    names = [DEBIAN_ARCHITECTURE[name] for name in wanted]
    for folder in ("state/lists/partial", "cache/archives/partial", "parts", "sources"):
        (directory / folder).mkdir(parents=True)
    (directory / "status").touch()
    (directory / "sources" / "debian.sources").write_text(_sources())
    (directory / "apt.conf").write_text(_output(["apt-config", "dump", "Acquire"], directory) + _settings(directory))
    said = _output(["apt-get", "-q", "update"], directory)
    return said + _output(["apt-get", "-q", "download", *(f"{_PACKAGE}:{name}" for name in names)], directory)


def _settings(directory: Path) -> str:
    every = " ".join(f'"{name}";' for name in DEBIAN_ARCHITECTURE.values())
    return f"""
APT::Architectures {{ {every} }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::PDiffs "false";
Acquire::Retries "2";
Dir::State "{directory}/state";
Dir::State::status "{directory}/status";
Dir::Cache "{directory}/cache";
Dir::Etc::parts "{directory}/parts";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{directory}/sources";
"""


def _sources() -> str:
    """The main archive of the running release, as this machine's own sources name it; other sources are left out."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.MULTILINE))
    codename = release.get("VERSION_CODENAME", "")
    stanzas = []
    for file in sorted([Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]):
        text = file.read_text(errors="replace") if file.is_file() else ""
        stanzas += _stanzas(text, codename) if file.suffix == ".sources" else _lines(text, codename)
    if not stanzas:
        raise PackagesUnavailableError(f"no source of this machine offers the main archive of {codename or 'Debian'}")
    return "\n\n".join(stanzas) + "\n"


def _stanzas(text: str, codename: str) -> list[str]:
    kept = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        if codename in fields.get("Suites", "").split() and "main" in fields.get("Components", "").split():
            signed = f"\nSigned-By: {fields['Signed-By']}" if fields.get("Signed-By") else ""
            kept.append(f"Types: deb\nURIs: {fields['URIs']}\nSuites: {codename}\nComponents: main{signed}")
    return kept


def _lines(text: str, codename: str) -> list[str]:
    kept = []
    for match in re.finditer(r"^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text, re.MULTILINE):
        options, uri, suite, components = match.groups()
        if suite == codename and "main" in components.split():
            signed = "".join(f"\nSigned-By: {path}" for path in re.findall(r"signed-by=(\S+)", options or ""))
            kept.append(f"Types: deb\nURIs: {uri}\nSuites: {codename}\nComponents: main{signed}")
    return kept


def _output(command: Sequence[str], directory: Path) -> str:
    environment = {**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}
    if (directory / "apt.conf").exists():
        environment["APT_CONFIG"] = str(directory / "apt.conf")
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{' '.join(command)} took more than {_TIMEOUT} s\n"
    return done.stdout


def _program_in(package: Path) -> bytes:
    listing = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", str(package)], capture_output=True, check=True, timeout=60
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(listing)) as tree:
        for member in tree:
            if member.isreg() and member.name.endswith("bin/busybox"):
                content = tree.extractfile(member)
                assert content is not None
                return content.read()
    raise PackagesUnavailableError(f"{package.name} holds no busybox")


def _keep(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    temporary = Path(file.name)
    temporary.chmod(0o755)
    temporary.replace(path)
