"""recipes: list, show, check, new."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bundler.cli.shipped import shipped_recipes
from bundler.stages.read import parse_recipe, read_recipe
from tests.command import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SHORTEST = "version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        [sys.executable, "-m", "bundler", "recipes", *map(str, words)],
        check=False, capture_output=True, text=True, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_list_is_what_plain_recipes_says(tmp_path: Path) -> None:
    plain, listed = run(tmp_path), run(tmp_path, "list")
    assert (plain.returncode, plain.stdout) == (0, listed.stdout)
    assert [line.split()[0] for line in plain.stdout.splitlines()[1:]] == [path.stem for path in shipped_recipes()]
    assert (
        run(tmp_path, "--json").stdout
        == run(tmp_path, "list", "--json").stdout
        == run(tmp_path, "--json", "list").stdout
    )
    for each in json.loads(run(tmp_path, "--json").stdout)["recipes"]:
        assert each["summary"]
        assert each["release"] == "stable" or each["name"] in {"custom-cni", "upgrade"}


def test_show_prints_the_file(tmp_path: Path) -> None:
    assert run(tmp_path, "show", "k3s").stdout == (ROOT / "recipes" / "k3s.yaml").read_text()
    missing = run(tmp_path, "show", "k4s")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "error[recipe-not-found]" in missing.stderr


def test_show_resolved_is_the_same_recipe_in_one_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        SHORTEST + "variables: {tag: {default: '1'}}\nsite:\n"
        "  unknown_flags: {x: [server], y: [server], z: [server]}\n  registries:\n    mirrors: {'*': }\n"
        "  config: {x: '$${literal} $1 $${', y: '${tag}', z: '0644'}\n"
    )
    own = tmp_path / "own.yaml"
    own.write_text("extends: base.yaml\nname: own\nimages: {extra: ['a.example/b:${tag}', {archive: ./c.tar}]}\n")
    shown = run(tmp_path, "show", "own.yaml", "--resolved", "--set", "tag=2")
    recipe = parse_recipe(shown.stdout.encode(), "shown")
    assert recipe.fingerprint() == read_recipe(own, {"tag": "2"}).fingerprint()
    assert recipe.extends is None
    assert not recipe.variables
    assert "level: 7" in shown.stdout
    document = json.loads(run(tmp_path, "show", "own.yaml", "--json").stdout)
    assert document["recipe"]["images"]["extra"] == [{"archive": "./c.tar"}, "a.example/b:1"]


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_shown_resolved_as_what_it_is(path: Path, tmp_path: Path) -> None:
    shown = run(tmp_path, "show", path.stem, "--resolved").stdout
    assert parse_recipe(shown.encode(), "shown").fingerprint() == read_recipe(path).fingerprint()


def test_check_tells_every_mistake_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SHORTEST)
    (tmp_path / "one.yaml").write_text(SHORTEST + "engin: auto\n")
    (tmp_path / "two.yaml").write_text("extends: one.yaml\narch: [amr64]\npack: {level: 20}\n")
    done = run(tmp_path, "check", "good.yaml", "one.yaml", "two.yaml", "absent.yaml", "k3s")
    assert done.returncode == 2
    assert done.stdout == "good.yaml: good\nk3s: good\n"
    assert done.stderr.splitlines() == [
        "error[recipe-invalid]: 3 recipes have 5 mistakes:",
        'one.yaml:5:1: engin: unknown key; did you mean "engine"?',
        'two.yaml:2:8: arch[0]: "amr64" is not one of amd64, arm64, arm; did you mean "arm64"?',
        "two.yaml:3:15: pack.level: is 20: the most is 19",
        'one.yaml:5:1: engin: unknown key; did you mean "engine"?',
        "absent.yaml:1:1: absent.yaml is not there",
        done.stderr.splitlines()[-1],
    ]
    assert done.stderr.splitlines()[-1].startswith("hint: ")


def test_check_as_json_has_every_mistake_and_the_same_exit_code(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(SHORTEST)
    (tmp_path / "bad.yaml").write_text(SHORTEST + "engin: auto\n")
    done = run(tmp_path, "check", "--json", "good.yaml", "bad.yaml")
    assert (done.returncode, done.stderr) == (2, "")
    good, bad = json.loads(done.stdout)["recipes"]
    assert good == {"path": "good.yaml", "mistakes": []}
    assert bad["mistakes"][0] | {"what": ""} == {
        "file": "bad.yaml", "line": 5, "column": 1, "path": "engin", "what": "",
    }  # fmt: skip
    assert run(tmp_path, "check", "--json", "good.yaml").returncode == 0


def test_check_takes_values_for_variables(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text(SHORTEST + "variables: {tag: {}}\nimages: {extra: ['a.example/b:${tag}']}\n")
    assert "the variable tag has no value" in run(tmp_path, "check", "edge.yaml").stderr
    assert run(tmp_path, "check", "edge.yaml", "--set", "tag=1").returncode == 0
    assert "there is no variable" in run(tmp_path, "check", "edge.yaml", "--set", "tag=1", "--set", "tog=1").stderr


def test_new_writes_a_commented_recipe_of_its_options(tmp_path: Path) -> None:
    done = run(
        tmp_path, "new", "edge", "--release", "v1.34", "--arch", "arm,amd64", "--disable", "traefik,servicelb",
        "--image", "nginx:1.27,a.example/b:1", "--mirror", "https://registry.example:5000",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "edge.yaml\n", "")
    recipe = read_recipe(tmp_path / "edge.yaml")
    assert (recipe.name, recipe.release, recipe.arch) == ("edge", "v1.34", ("amd64", "arm"))
    assert recipe.components.disable == ("servicelb", "traefik")
    assert [str(each) for each in recipe.images.extra] == ["a.example/b:1", "docker.io/library/nginx:1.27"]
    mirror = recipe.site.registries.mirrors["docker.io"]
    assert mirror is not None
    assert mirror.endpoint == ("https://registry.example:5000",)
    assert (tmp_path / "edge.yaml").read_text().count("\n# ") >= 5


def test_new_without_options_writes_defaults_whose_commented_parts_are_right_too(tmp_path: Path) -> None:
    assert run(tmp_path, "new", "edge", "--arch", "arm64", "--file", "site/../mine.yaml").returncode == 5
    (tmp_path / "site").mkdir()
    assert run(tmp_path, "new", "edge", "--arch", "arm64", "--file", "site/mine.yaml").stdout == "site/mine.yaml\n"
    text = (tmp_path / "site" / "mine.yaml").read_text()
    assert parse_recipe(text.encode(), "x").fingerprint() == parse_recipe(SHORTEST.encode(), "x").fingerprint()
    lines = text.splitlines()
    shown = [line[2:] if line.startswith(("# components:", "# images:", "# site:", "#   ")) else line for line in lines]
    recipe = parse_recipe("\n".join(shown).encode(), "x")
    assert recipe.components.disable
    assert recipe.images.extra
    assert recipe.site.config


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "edge.yaml").write_text("mine\n")
    done = run(tmp_path, "new", "edge")
    assert done.returncode == 2
    assert "error[output-exists]: edge.yaml is there already" in done.stderr
    assert (tmp_path / "edge.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Edge",), "name: is not a name"),
        (("edge", "--release", "v1.34.1"), 'did you mean "v1.34.1+k3s1"?'),
        (("edge", "--arch", "x86"), 'arch[0]: "x86" is not one of amd64, arm64, arm'),
        (("edge", "--image", "a:b:c"), "images.extra[0]: "),
        (("edge", "--mirror", "registry.example"), "is not a URL that begins with https:// or http://"),
    ],
)  # fmt: skip
def test_new_refuses_what_makes_no_recipe_and_writes_nothing(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run(tmp_path, "new", *words)
    assert done.returncode == 2
    assert "error[wrong-use]: the answers do not make a recipe: " in done.stderr
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def on_terminal(folder: Path, answers: bytes, *words: str) -> tuple[int, str, str]:
    """Run `recipes new` on a terminal that types `answers`; gives exit code, stdout and what the terminal showed."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    asking = subprocess.Popen(
        [sys.executable, "-m", "bundler", "recipes", "new", *words],
        stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=folder, env=environment,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answers)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed: the run has ended
            break
        if not part:
            break
        shown += part
    out, _ = asking.communicate(timeout=60)
    os.close(ours)
    return asking.returncode, out.decode(), shown.decode()


def test_new_asks_on_a_terminal_and_asks_again_after_a_mistake(tmp_path: Path) -> None:
    answers = b"v1.34.1\nv1.34\ntraefik servicelb\nnginx:1.27\nhttps://registry.example:5000\n"
    code, out, shown = on_terminal(tmp_path, answers, "edge", "--arch", "arm64")
    assert (code, out) == (0, "edge.yaml\n"), shown
    assert 'did you mean "v1.34.1+k3s1"?' in shown
    assert "CPU architectures" not in shown
    recipe = read_recipe(tmp_path / "edge.yaml")
    assert (recipe.release, recipe.arch) == ("v1.34", ("arm64",))
    assert recipe.components.disable == ("servicelb", "traefik")
    assert [str(each) for each in recipe.images.extra] == ["docker.io/library/nginx:1.27"]


def test_new_asks_nothing_when_told_to_be_quiet(tmp_path: Path) -> None:
    code, _, shown = on_terminal(tmp_path, b"", "edge", "--arch", "arm64", "-q")
    assert (code, shown) == (0, "")
    assert read_recipe(tmp_path / "edge.yaml").release == "stable"


def test_new_writes_nothing_when_the_answers_end(tmp_path: Path) -> None:
    code, _, shown = on_terminal(tmp_path, b"v1.34\n\x04", "edge")
    assert code == 2
    assert "nothing was written" in shown
    assert list(tmp_path.iterdir()) == []
