"""Bundles with the stand-in k3s and a real image, for booted hosts."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.site.bundles import BundleSpec, build_bundle

SOURCE = Path(__file__).parent / "standin" / "k3s.c"
COMPILERS = {"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}
IMAGE = "docker.io/rancher/mirrored-pause:3.6"
OTHER_IMAGE = "docker.io/rancher/mirrored-coredns-coredns:1.12.3"


@functools.cache
def standin(version: str, arch: str = "amd64") -> bytes:
    """Return the stand-in k3s of `version` as a static ELF of `arch`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "k3s")
        subprocess.run(
            [COMPILERS[arch], "-O2", "-Wall", "-Werror", "-static", f'-DVERSION="{version}"', "-o", out, SOURCE],
            check=True,
        )
        return out.read_bytes()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


@functools.cache
def image_archive(reference: str) -> bytes:
    """Return a docker archive with one real amd64 image: the machine's static busybox."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "bin/busybox", busybox, 0o755)
        _add(tar, "etc/image", reference.encode())
    diff_id = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "cat", "/etc/image"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": [reference.removeprefix("docker.io/")], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, f"{name}.json", config)
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def standin_bundle(directory: Path, version: str = "v1.34.1+k3s1", **changes: object) -> Path:
    """Write a bundle that really runs on a host with the stand-in."""
    fields: dict[str, object] = {
        "release": version,
        "images": (IMAGE,),
        "archives": {"k3s-airgap-images": image_archive(IMAGE)},
        "binaries": {"amd64": standin(version)},
        **changes,
    }
    return build_bundle(directory, BundleSpec(**fields))  # type: ignore[arg-type]
