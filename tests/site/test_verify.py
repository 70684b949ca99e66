"""Damaged bundles: refused, by name, before the first change; and the same verdict as `k3s-bundler verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.bundles import Site, build_bundle
from tests.site.damages import DAMAGES, flip

if TYPE_CHECKING:
    from pathlib import Path


def files_of(bundle: Path) -> list[str]:
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


def refused(site: Site, bundle: Path) -> str:
    done = site.run(bundle, "server")
    assert done.status == 4, done
    assert site.files().keys() == {"usr/lib/systemd/systemd"}
    assert not (site.root / "var").exists()
    assert site.run(bundle, "--verify").status == 4
    return done.err


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_bit_anywhere_in_any_file_is_refused(site: Site, tmp_path: Path, place: float) -> None:
    pristine = build_bundle(tmp_path / "pristine")
    for number, name in enumerate(files_of(pristine)):
        if name == "SHA256SUMS":
            continue
        bundle = build_bundle(tmp_path / f"flipped{number}")
        size = (bundle / name).stat().st_size
        if name == "install.sh" and place == 0:
            continue  # the shell reads it before it can check itself: `#` became `"`
        flip(bundle / name, -1 if place == -1 else int(size * place))
        if name == "install.sh":
            (bundle / name).write_bytes((pristine / name).read_bytes() + b"#")
        error = refused(site, bundle)
        assert name in error


@pytest.mark.parametrize("place", [0, 40, 64, 66, -1])
def test_a_flipped_bit_in_the_sums_is_refused(site: Site, bundle: Path, place: int) -> None:
    flip(bundle / "SHA256SUMS", place)
    refused(site, bundle)


@pytest.mark.parametrize("size", [0, 1, 7000, -1])
def test_a_truncated_archive_is_refused(site: Site, bundle: Path, size: int) -> None:
    archive = bundle / "images/k3s-airgap-images-amd64.tar"
    archive.write_bytes(archive.read_bytes()[:size])
    assert "images/k3s-airgap-images-amd64.tar" in refused(site, bundle)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_bundle_is_refused_before_the_first_change(site: Site, bundle: Path, name: str) -> None:
    DAMAGES[name](bundle)
    refused(site, bundle)


def test_a_file_swapped_after_the_check_is_noticed_in_the_copy(site: Site, bundle: Path) -> None:
    real = (site.path / "cp").readlink()
    (site.path / "cp").unlink()
    (site.path / "cp").write_text(f'#!/bin/sh\necho tampered >"{bundle}/bin/k3s-amd64"\nexec {real} "$@"\n')
    (site.path / "cp").chmod(0o755)
    done = site.run(bundle, "server")
    assert (done.status, "error[copy-differs]" in done.err) == (4, True), done
    assert not (site.root / "usr/local").exists()


def test_a_check_that_does_not_get_to_its_end_passes_nothing(site: Site, bundle: Path) -> None:
    real = (site.path / "sha256sum").readlink()
    (site.path / "sha256sum").unlink()
    (site.path / "sha256sum").write_text(f'#!/bin/sh\ncase ${{1-}} in -c) kill -9 $$ ;; esac\nexec {real} "$@"\n')
    (site.path / "sha256sum").chmod(0o755)
    assert "error[file-damaged]" in refused(site, bundle)
