"""The same lock gives the same bytes, whatever the machine, the order, the cache and the number of jobs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.build.workshop import Workshop, sums_of
from tests.upstream import EXTRA_IMAGE
from tests.upstream.odd_images import NESTED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.upstream import Upstream

OTHER_WORLD = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "de_DE.UTF-8",
    "PYTHONHASHSEED": "4242",
    "SOURCE_DATE_EPOCH": "12345",
    "COLUMNS": "20",
    "PYTHONUTF8": "0",
    "USER": "somebody",
}


def twice(first: Workshop, second: Workshop, *, arch: str = "arm64") -> tuple[dict[str, str], dict[str, str]]:
    """Build one bundle in two worlds that differ in all that should not matter."""
    one = first.build("--jobs", 1, "--arch", arch, env={"PYTHONHASHSEED": "1", "TZ": "UTC"})
    shutil.copy(first.lock, second.lock)
    two = second.build("--jobs", 8, "--arch", arch, "--locked", env=OTHER_WORLD, before=lambda: _umask(0o077))
    assert one.path.name == two.path.name
    return sums_of(one.path), sums_of(two.path)


def _umask(mask: int) -> None:
    import os

    os.umask(mask)


@pytest.mark.parametrize("layers", ["zstd", "plain"])
def test_two_machines_make_the_same_files_with_the_same_modes(layers: str, tmp_path: Path, upstream: Upstream) -> None:
    machines = []
    for name in ("first", "second, with a much longer name/and deeper"):
        machine = Workshop(tmp_path / name, upstream, {"HOME": str(tmp_path / name / "of its own")})
        machine.write_recipe(layers=layers, arch=("amd64", "arm64", "arm"))
        machines.append(machine)
    one, two = twice(*machines)
    assert one == two
    assert {value.rpartition(" ")[2] for value in one.values()} == {"100644"}


@pytest.mark.parametrize("layers", ["zstd", "plain"])
def test_a_warm_cache_changes_nothing(layers: str, workshop: Workshop) -> None:
    workshop.write_recipe(layers=layers)
    bundle = workshop.build("--archive").path
    cold = sums_of(workshop.output)
    workshop.upstream.forget_requests()
    assert workshop.build("--replace", "--archive").path == bundle
    assert sums_of(workshop.output) == cold
    assert workshop.upstream.requests == (), "a rebuild is a copy"


def test_the_cache_of_the_other_form_serves_too(workshop: Workshop, tmp_path: Path) -> None:
    workshop.write_recipe(layers="plain")
    cold = sums_of(workshop.build().path)
    workshop.write_recipe(layers="zstd")
    workshop.run("build", workshop.recipe, "--cache-dir", tmp_path / "cache2", "--output", tmp_path / "zstd")
    workshop.write_recipe(layers="plain")
    result = workshop.run("build", workshop.recipe, "--cache-dir", tmp_path / "cache2", "--output", tmp_path / "plain")
    assert sums_of(result.path) == cold


@pytest.mark.parametrize("layers", ["zstd", "plain"])
def test_the_order_of_extra_images_does_not_matter(layers: str, tmp_path: Path, upstream: Upstream) -> None:
    sums = []
    for name, extra in (("a", [EXTRA_IMAGE, NESTED]), ("b", [NESTED, EXTRA_IMAGE])):
        machine = Workshop(tmp_path / name, upstream)
        machine.write_recipe(extra=extra, layers=layers)
        sums.append(sums_of(machine.build().path))
    assert sums[0] == sums[1]


def test_one_architecture_of_three_is_the_same_now_and_later(tmp_path: Path, upstream: Upstream) -> None:
    now, later = Workshop(tmp_path / "now", upstream), Workshop(tmp_path / "later", upstream)
    for machine in (now, later):
        machine.write_recipe(arch=("amd64", "arm64", "arm"))
    narrow = sums_of(now.build("--arch", "arm64").path)
    assert later.build().path.name.endswith("-multi")
    assert sums_of(later.build("--arch", "arm64").path) == narrow
    assert now.lock.read_bytes() == later.lock.read_bytes()


def test_the_archive_of_a_bundle_is_the_same_and_holds_it_whole(tmp_path: Path, upstream: Upstream) -> None:
    import tarfile

    archives = []
    for name in ("a", "b"):
        machine = Workshop(tmp_path / name, upstream)
        bundle = machine.build("--archive", before=lambda: _umask(0o077)).path
        tar = bundle.with_name(f"{bundle.name}.tar")
        assert tar.stat().st_mode & 0o777 == 0o644
        archives.append(tar.read_bytes())
        with tarfile.open(tar) as opened:
            opened.extractall(tmp_path / name / "out", filter="data")
        unpacked = sums_of(tmp_path / name / "out" / bundle.name)
        assert {path: value.split()[0] for path, value in unpacked.items()} == {
            path: value.split()[0] for path, value in sums_of(bundle).items()
        }
        assert machine.run("verify", tmp_path / name / "out" / bundle.name).code == 0
    assert archives[0] == archives[1]
