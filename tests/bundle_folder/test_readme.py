"""README.txt says what is inside, and nothing that the installer does not know."""

from __future__ import annotations

import re

from bundler.model.bundle import Bundle, BundledArchive, BundledBinary, BundledImage
from bundler.model.digest import digest_of
from bundler.site.installer import install_script
from bundler.site.readme import readme_text

DIGEST = digest_of(b"x")
NAMES = ("docker.io/rancher/mirrored-pause:3.6", "registry.example:5000/team/app:1.0")


def bundle() -> Bundle:
    images = tuple(
        BundledImage(
            name=name, platform="linux/arm64/v8", index=DIGEST, manifest=DIGEST, config=DIGEST, layers=1, size=9
        )
        for name in NAMES
    )
    archives = (
        BundledArchive(path="images/edge-images-arm64.tar", arch="arm64", unpacked=3 << 19, images=images),
        BundledArchive(path="images/edge-images-arm.tar", arch="arm", unpacked=1 << 30, images=()),
    )
    binaries = (
        BundledBinary(path="bin/k3s-arm64", arch="arm64", digest=DIGEST, size=64 << 20),
        BundledBinary(path="bin/k3s-arm", arch="arm", digest=DIGEST, size=1),
    )
    return Bundle(name="edge", release="v1.34.1+k3s1", layers="zstd", binaries=binaries, archives=archives)


def test_the_readme_names_release_architectures_files_and_images_with_their_sizes() -> None:
    text = readme_text(bundle()).decode("ascii")
    assert 'k3s v1.34.1+k3s1 for arm64, arm, with everything it needs: recipe "edge"' in text
    for part in ("bin/k3s-arm64", "64.0 MiB", "images/edge-images-arm64.tar", "2 images, 1.5 MiB unpacked", *NAMES):
        assert part in text
    assert "\r" not in text
    assert text.endswith("\n")


def test_every_option_the_readme_names_is_one_of_the_installer() -> None:
    options = set(re.findall(r"install\.sh (--[a-z]+)", readme_text(bundle()).decode()))
    assert {"--check", "--verify", "--help"} <= options
    script = install_script().decode()
    for option in options:
        assert re.search(rf"{option}\b", script), option
