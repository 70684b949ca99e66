"""Which files a list of manifests means, and what k3s could not deploy."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bundler.errors import HostError, ManifestError, RecipeNotFoundError
from bundler.workloads.files import manifest_files
from tests.store.children import AS_NOBODY, AS_PYTHON_3_14, finish, start

FILES = "from bundler.workloads.files import manifest_files\n"
TREE = ("app.yaml", "m/web.yml", "m/db/db.json", "m/README.md", "m/.draft.yaml", "m/.git/x.yaml", "m/notes.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["app.yaml"], ["app.yaml"]),
        (["./app.yaml", "app.yaml"], ["app.yaml"]),
        (["m"], ["m/db/db.json", "m/web.yml"]),
        (["./m/"], ["m/db/db.json", "m/web.yml"]),
        (["m/*"], ["m/db/db.json", "m/web.yml"]),
        (["m/*.yml"], ["m/web.yml"]),
        (["**/*.y*ml"], ["app.yaml", "m/web.yml"]),
        (["m/d?", "[a-b]*.yaml"], ["app.yaml", "m/db/db.json"]),
        (["m", "app.yaml"], ["app.yaml", "m/db/db.json", "m/web.yml"]),
    ],
)
def test_files_folders_and_globs(folder: Path, patterns: list[str], found: list[str]) -> None:
    assert list(manifest_files(patterns, folder)) == found
    assert all(path.is_file() for path in manifest_files(patterns, folder).values())


@pytest.mark.parametrize("pattern", ["none.yaml", "m/*.json", "m/none", "none/*.yaml", "m/.git/*.txt"])
def test_what_matches_nothing_is_named(folder: Path, pattern: str) -> None:
    with pytest.raises(RecipeNotFoundError, match=r"manifests\[1\]: there is no manifest at .*"):
        manifest_files(["app.yaml", pattern], folder)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my_app.yaml", "RFC 1123"),
        ("App.yaml", "RFC 1123"),
        ("-app.yaml", "RFC 1123"),
        ("a b.yaml", "RFC 1123"),
        ("app.yaml.txt", "alone"),
        ("coredns.yaml", "of its own called coredns"),
        ("traefik.extra.yaml", "of its own called traefik"),
    ],
)
def test_names_k3s_cannot_deploy_are_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(ManifestError) as caught:
        manifest_files([name], tmp_path)
    assert why in caught.value.what
    assert name in caught.value.what


@pytest.mark.parametrize("other", ["b/app.yaml", "app.yml", "app.v2.yaml", "app.json"])
def test_two_files_of_one_addon_are_refused(tmp_path: Path, other: str) -> None:
    """k3s names an AddOn by all before the first period, and prunes what another file of that name made."""
    for name in ("app.yaml", other):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(ManifestError) as caught:
        manifest_files(["app.yaml", other], tmp_path)
    assert "app.yaml" in caught.value.what
    assert other in caught.value.what


def test_a_name_that_is_none_and_a_folder_that_cannot_be_read_are_told(folder: Path) -> None:
    with pytest.raises(HostError, match="File name too long"):
        manifest_files(["x" * 300], folder)


@pytest.mark.parametrize("pattern", ["m", "m/*", "m/**", "m/**/*.yaml", "m/*/*.yaml", "m/closed/*.yaml"])
def test_a_folder_within_that_cannot_be_read_is_not_left_out_without_a_word(pattern: str) -> None:
    script = f"""
(root / "m" / "closed").mkdir(parents=True)
(root / "m" / "a.yaml").write_text("")
(root / "m" / "closed").chmod(0)
try:
    print(*manifest_files(["{pattern}"], root))
except BundlerError as error:
    print(error.name, str(root / "m" / "closed") in error.what)
(root / "m" / "closed").chmod(0o700)
"""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        assert finish(start(FILES + AS_NOBODY + script, name)) == "not-writable True"


@pytest.mark.parametrize("pattern", ["m", "m/*", "m/a.yaml", "**/*.yaml"])
@pytest.mark.parametrize("python", ["", AS_PYTHON_3_14], ids=["this", "3.14"])
def test_a_file_that_cannot_be_looked_at_is_not_left_out_without_a_word(pattern: str, python: str) -> None:
    script = f"""
(root / "m").mkdir()
(root / "m" / "a.yaml").write_text("")
(root / "b.yaml").write_text("")
(root / "m").chmod(0o600)
try:
    print(*manifest_files(["b.yaml", "{pattern}"], root))
except BundlerError as error:
    print(error.name, str(root / "m") in error.what)
(root / "m").chmod(0o700)
"""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        assert finish(start(FILES + AS_NOBODY + python + script, name)) == "not-writable True"


@pytest.mark.parametrize(
    ("link", "pattern"),
    [
        ("m/gone.yaml", "m"),
        ("m/gone.yaml", "m/*"),
        ("m/gone.yaml", "m/*.yaml"),
        ("m/gone.yaml", "**/*.yaml"),
        ("m/gone.yaml", "*/gone.yaml"),
        ("m/gone", "m"),
        ("m/gone", "m/**/*.yaml"),
        ("m/gone", "m/gone/*.yaml"),
    ],
)
def test_a_link_to_nothing_is_not_left_out_without_a_word(folder: Path, link: str, pattern: str) -> None:
    (folder / link).symlink_to("missing")
    with pytest.raises(RecipeNotFoundError, match=rf"{link} is a link to missing, which leads to nothing"):
        manifest_files(["app.yaml", pattern], folder)


@pytest.mark.parametrize("pattern", ["m", "m/*.yaml"])
def test_a_link_to_itself_is_not_left_out_without_a_word(folder: Path, pattern: str) -> None:
    (folder / "m" / "a.yaml").symlink_to("a.yaml")
    with pytest.raises(HostError, match=r"m/a\.yaml: Too many levels of symbolic links"):
        manifest_files([pattern], folder)


@pytest.mark.parametrize("pattern", ["m", "m/**/*.y*ml", "m/*"])
def test_links_are_followed_and_none_without_end(folder: Path, pattern: str) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "far.yaml").write_text("")
    (folder / "m" / "more").symlink_to("../other")
    (folder / "m" / "near.yaml").symlink_to("../other/far.yaml")
    (folder / "other" / "back").symlink_to(".")
    found = list(manifest_files([pattern], folder))
    assert [name for name in found if "db" not in name] == ["m/more/far.yaml", "m/near.yaml", "m/web.yml"]
