"""Small bundles for tests of the installer, and the shells it must run under."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bundler.site.installer import install_script

SHELLS: dict[str, list[str]] = {
    "dash": ["dash"],
    "busybox": ["busybox", "sh"],
    "bash": ["bash", "--posix"],
    "mksh": ["mksh"],
    "yash": ["yash"],
}
MACHINES = {"amd64": (2, 0x3E), "arm64": (2, 0xB7), "arm": (1, 0x28)}
DEFAULT_IMAGES = ("docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-coredns-coredns:1.12.3")


def elf_stub(arch: str, content: bytes = b"stand-in") -> bytes:
    """Return the header of an ELF executable of `arch` (gabi, "ELF Header") with something behind it."""
    elf_class, machine = MACHINES[arch]
    return b"\x7fELF" + bytes([elf_class, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine) + content


@dataclass(frozen=True)
class BundleSpec:
    """What a test bundle holds."""

    release: str = "v1.34.1+k3s1"
    archs: tuple[str, ...] = ("amd64",)
    images: tuple[str, ...] = DEFAULT_IMAGES
    archives: dict[str, bytes] = field(default_factory=lambda: {"k3s-airgap-images": b"image archive\n" * 1000})
    binaries: dict[str, bytes] = field(default_factory=dict)
    config: str = "disable:\n  - traefik\n"
    registries: str = "mirrors: {}\n"
    extra: dict[str, bytes] = field(default_factory=dict)
    unpacked: int = 1000
    facts: tuple[str, ...] = ()


def build_bundle(directory: Path, spec: BundleSpec | None = None) -> Path:
    """Write the bundle `spec` describes to `directory` and return it."""
    spec = spec or BundleSpec()
    files: dict[str, bytes] = {
        "install.sh": install_script(),
        "README.txt": b"read me\n",
        "bundle.json": b"{}\n",
        "lock.json": b"{}\n",
        "etc/config.yaml": spec.config.encode(),
        "etc/registries.yaml": spec.registries.encode(),
        **spec.extra,
    }
    facts = ["format=1", "recipe=edge", f"release={spec.release}", "layers=zstd"]
    for arch in spec.archs:
        files[f"bin/k3s-{arch}"] = spec.binaries.get(arch, elf_stub(arch, spec.release.encode()))
        facts += [f"arch={arch}", f"binary.{arch}=bin/k3s-{arch}", f"unpacked.{arch}={spec.unpacked}"]
        for name, content in spec.archives.items():
            path = f"images/{name}-{arch}.tar" if "." not in name else f"images/{name}"
            files[path] = content
            facts.append(f"archive.{arch}={path}")
        facts += [f"image.{arch}={image}" for image in spec.images]
    files["bundle.facts"] = ("\n".join([*facts, *spec.facts]) + "\n").encode()
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    write_sums(directory)
    return directory


def write_sums(bundle: Path) -> None:
    """Write `SHA256SUMS` for what lies in `bundle` now."""
    lines = []
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle).as_posix()
        if path.is_file() and name not in {"SHA256SUMS", "SHA256SUMS.sig"}:
            lines.append((name.encode(), f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"))
    (bundle / "SHA256SUMS").write_text("".join(line for _, line in sorted(lines)))


def command_names(which: str) -> list[str]:
    """Return the installer's own list of `required` or `optional` commands."""
    text = install_script().decode()
    return text.split(f"{which}_commands='", 1)[1].split("'", 1)[0].split()


def command_directory(directory: Path, *, without: str = "", busybox: bool = False) -> Path:
    """Make a directory that holds the required commands and nothing else, to be the whole PATH."""
    directory.mkdir()
    for name in command_names("required"):
        found = shutil.which("busybox" if busybox else name)
        assert found, name
        if name != without:
            (directory / name).symlink_to(found)
    return directory


@dataclass(frozen=True)
class Outcome:
    """How a run of the installer ended."""

    status: int
    out: str
    err: str


def run_functions(shell: tuple[str, ...], text: str, *arguments: object) -> Outcome:
    """Run shell `text` with the functions of the installer, whose `main` is not called."""
    interpreter = shutil.which(shell[0])
    assert interpreter
    script = install_script().decode().removesuffix('\nmain "$@"\n') + f"\n{text}\n"
    done = subprocess.run(
        [interpreter, *shell[1:], "-c", script, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Site:
    """A scratch root with systemd or OpenRC in it, and how the installer is run for it."""

    root: Path
    path: Path
    shell: tuple[str, ...] = ("dash",)

    def run(
        self,
        bundle: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        script: str = "install.sh",
        cwd: Path | None = None,
    ) -> Outcome:
        """Run the installer of `bundle` with `--root` and a PATH that holds the listed commands only."""
        interpreter = shutil.which(self.shell[0])
        assert interpreter
        done = subprocess.run(
            [interpreter, *self.shell[1:], str(bundle / script), "--root", str(self.root), *arguments],
            env={"PATH": str(self.path), "ARCH": "amd64", **(environment or {})},
            cwd=cwd or self.root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def read(self, path: str) -> str:
        """Return the text of a file at the site."""
        return (self.root / path.lstrip("/")).read_text()

    def files(self) -> dict[str, str]:
        """Return every file and link of the site but the log: path to mode and content, to compare two states."""
        found: dict[str, str] = {}
        for folder, folders, names in os.walk(self.root):
            for name in [*names, *folders]:
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if path.is_symlink():
                    found[key] = f"link {path.readlink()}"
                elif path.is_file() and key != "var/log/k3s-bundler.log":
                    found[key] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        return found


def make_root(directory: Path, init: str = "systemd") -> Path:
    """Make a scratch root in which the installer finds `init`."""
    program = {"systemd": "usr/lib/systemd/systemd", "openrc": "sbin/openrc-run"}[init]
    (directory / program).parent.mkdir(parents=True)
    (directory / program).write_text("")
    (directory / program).chmod(0o755)
    return directory
