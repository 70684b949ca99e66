"""Builds the stand-in for k3s, and image archives it can import and run."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPILERS = {"amd64": "x86_64-linux-gnu-gcc", "arm64": "aarch64-linux-gnu-gcc"}
_SAY = "/bin/busybox cat /etc/message; /bin/busybox sleep 1"  # ctr may miss what a shorter life says
_SOURCE = Path(__file__).with_name("standin.c")


def standin(directory: Path, release: str, arch: str = "amd64") -> bytes:
    """Compile the stand-in of one release and architecture."""
    program = directory / f"k3s-{release}-{arch}"
    subprocess.run(
        [COMPILERS[arch], "-O2", "-Wall", "-Wextra", "-Werror", "-static", f'-DVERSION="{release}"',
         "-o", str(program), str(_SOURCE)],
        check=True,
    )  # fmt: skip
    return program.read_bytes()


def image_archive(references: Sequence[str], arch: str = "amd64", program: Path | None = None) -> bytes:
    """Make an OCI layout in a tar, as bundles hold it: two zstd layers an image, a static busybox and a message."""
    busybox = program or Path(shutil.which("busybox") or "/bin/busybox")
    blobs: dict[str, bytes] = {}
    entries = [_image(reference, arch, busybox.read_bytes(), blobs) for reference in references]
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode(),
        **{f"blobs/sha256/{name.removeprefix('sha256:')}": blob for name, blob in blobs.items()},
    }
    return _tar(files, 0o644)


def _image(reference: str, arch: str, program: bytes, blobs: dict[str, bytes]) -> dict[str, object]:
    layers = [_tar({"bin/busybox": program}, 0o755), _tar({"etc/message": f"this is {reference}\n".encode()}, 0o644)]
    packed = [_put(blobs, zstandard.ZstdCompressor(level=3).compress(layer), "layer.v1.tar+zstd") for layer in layers]
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Entrypoint": ["/bin/busybox", "sh", "-c", _SAY]},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _put(blobs, json.dumps(config).encode(), "config.v1+json"),
        "layers": packed,
    }
    entry = _put(blobs, json.dumps(manifest).encode(), "manifest.v1+json")
    return {**entry, "annotations": {"io.containerd.image.name": reference}}


def _put(blobs: dict[str, bytes], blob: bytes, kind: str) -> dict[str, object]:
    blobs[_digest(blob)] = blob
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": _digest(blob), "size": len(blob)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()
