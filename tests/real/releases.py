"""Release folders as k3s publishes them, with small real programs in the place of k3s."""

from __future__ import annotations

import enum
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from tests.real.images import K3S_IMAGE_LIST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.model.platform import Architecture

BINARY_NAME: dict[Architecture, str] = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}
CHANNELS_FILE = "channels"


class Era(enum.Enum):
    """Who wrote the checksum files (k3s release pipelines, before and after July 2025)."""

    DRONE = "drone"
    """Every asset by name order; the amd64 file covers k3s-images.txt too."""
    GITHUB = "github"
    """Archives first, then the binary; k3s-images.txt is in no file."""


def release_tree(
    directory: Path,
    tag: str,
    era: Era,
    programs: Mapping[Architecture, Path],
    image_list: Sequence[str] = K3S_IMAGE_LIST,
) -> Path:
    """Write `directory/<tag>/<asset>` and return that folder.

    Binaries are the given programs (real ELF files), each with the tag appended so that releases differ. The image
    archives are not written, but the checksum files name them as upstream's do.
    """
    folder = directory / tag
    folder.mkdir(parents=True)
    (folder / "k3s-images.txt").write_text("".join(f"{line}\n" for line in image_list))
    for architecture, name in BINARY_NAME.items():
        shutil.copyfile(programs[architecture], folder / name)
        with (folder / name).open("ab") as binary:
            binary.write(f"\nstand-in for k3s {tag}\n".encode())
        (folder / f"sha256sum-{architecture}.txt").write_text(_checksums(folder, architecture, era))
    return folder


def write_channels(directory: Path, channels: Mapping[str, str]) -> Path:
    """Write the channel server's collection (rancher/channelserver) as a file and return it.

    `testing` is added without `latest`, as for a channel whose pattern matches no release.
    """
    base = "https://update.k3s.io/v1-release/channels"
    entries: list[dict[str, object]] = [
        {"id": name, "type": "channel", "links": {"self": f"{base}/{name}"}, "name": name, "latest": tag}
        for name, tag in channels.items()
    ]
    entries.append(
        {
            "id": "testing",
            "type": "channel",
            "links": {"self": f"{base}/testing"},
            "name": "testing",
            "latestRegexp": ".*-(alpha|beta|rc).*",
        }
    )
    collection = {
        "type": "collection",
        "links": {"self": base},
        "actions": {},
        "resourceType": "channels",
        "data": entries,
    }
    path = directory / "v1-release" / CHANNELS_FILE
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(collection))
    return path


def _checksums(folder: Path, architecture: Architecture, era: Era) -> str:
    archives = [f"k3s-airgap-images-{architecture}.tar{suffix}" for suffix in ("", ".gz", ".zst")]
    binary = BINARY_NAME[architecture]
    if era is Era.GITHUB:
        names = [*archives, binary]
    else:
        names = sorted([*archives, binary, *(["k3s-images.txt"] if architecture == "amd64" else [])])
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in names)


def _sha256(path: Path) -> str:
    """Digest of an asset; of its name for the archives, which are not written."""
    content = path.read_bytes() if path.exists() else path.name.encode()
    return hashlib.sha256(content).hexdigest()
