"""recipes new: write a commented recipe of your own, after a few questions on a terminal.

Answers may be given as options instead; where no terminal is, what is not given has its default.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import Any

    from bundler.cli.progress import Reporter

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}

_QUESTIONS = (
    ("release", "k3s release: a channel (stable, latest, v1.34) or an exact tag"),
    ("arch", "CPU architectures of the site's machines, out of amd64, arm64, arm"),
    ("disable", "components the site does not need, out of traefik, servicelb, local-storage, metrics-server, coredns"),
    ("image", "images of your own applications"),
    ("mirror", "address of a registry at the site, such as https://registry.example:5000"),
)
"""Name of the option and what is asked; an empty answer takes the default in brackets."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the answers."""
    from bundler.cli.order import listed

    parser.add_argument("name", metavar="NAME", help="name of the recipe; bundles are called by it")
    parser.add_argument("--release", metavar="R", help="channel or exact tag (default: stable)")
    parser.add_argument(
        "--arch", type=listed, metavar="A[,B]", help="CPU architectures (default: that of this machine)"
    )
    parser.add_argument("--disable", type=listed, metavar="C[,D]", help="components to leave out (default: none)")
    parser.add_argument(
        "--image", type=listed, metavar="I[,J]", help="images of your own applications to carry (default: none)"
    )
    parser.add_argument("--mirror", metavar="URL", help="registry at the site that holds docker.io (default: none)")
    parser.add_argument("--file", type=Path, metavar="PATH", help="where to write it (default: NAME.yaml)")


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Ask, check, and write the file unless it is there."""
    from bundler.errors import OutputExistsError, host_error
    from bundler.stages.read import parse_recipe

    path: Path = args.file or Path(f"{args.name}.yaml")
    text = _recipe_text(_data(args, {}))
    if path.exists():
        raise OutputExistsError(f"{path} is there already", hint="give another place with --file, or remove it")
    if not args.quiet and sys.stdin.isatty() and sys.stderr.isatty():
        text = _recipe_text(_data(args, _asked(args)))
    parse_recipe(text.encode(), str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise host_error(error, path) from error
    print(path)
    return 0


def _asked(args: argparse.Namespace) -> dict[str, str]:
    """Ask what no option says, each question until its answer can be used."""
    from bundler.errors import UsageError

    print("Enter takes what stands in brackets; several answers are written with commas between.", file=sys.stderr)
    answers: dict[str, str] = {}
    for name, question in _QUESTIONS:
        while getattr(args, name) is None and name not in answers:
            answer = _answer(question, _default(name))
            try:
                _data(args, answers | {name: answer})
            except UsageError as error:
                print(f"  {error.what}", file=sys.stderr)
            else:
                answers[name] = answer
    return answers


def _answer(question: str, default: str) -> str:
    from bundler.errors import UsageError

    print(f"{question} [{default or 'none'}]: ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise UsageError("the answers ended too early; nothing was written", hint="give them as options instead")
    return line.strip()


def _default(name: str) -> str:
    return {"release": "stable", "arch": _MACHINES.get(platform.machine(), "amd64")}.get(name, "")


def _data(args: argparse.Namespace, answers: dict[str, str]) -> dict[str, Any]:
    """Put options, answers and defaults together to a checked recipe; raises UsageError."""
    from bundler.cli.order import listed
    from bundler.model.recipe import checked

    def texts(name: str) -> tuple[str, ...]:
        given: tuple[str, ...] | None = getattr(args, name)
        return listed((answers.get(name) or _default(name)).replace(" ", ",")) if given is None else given

    mirror = args.mirror or answers.get("mirror")
    data = {
        "version": 1,
        "name": args.name,
        "release": args.release or answers.get("release") or _default("release"),
        "arch": texts("arch"),
        "components": {"disable": texts("disable")},
        "images": {"extra": texts("image")},
        "site": {"registries": {"mirrors": {"docker.io": {"endpoint": (mirror,)}} if mirror else {}}},
    }
    checked(data, "the answers do not make a recipe")
    return data


def _recipe_text(data: dict[str, Any]) -> str:
    return "".join(_lines(data))


def _lines(data: dict[str, Any]) -> Iterator[str]:
    from bundler.model.recipe_text import recipe_text

    def section(name: str, example: dict[str, Any], *, chosen: bool) -> str:
        text = recipe_text({name: data[name] if chosen else example})
        return text if chosen else "".join(f"# {line}\n" for line in text.splitlines())

    yield "# What the bundle holds and what the site is told. docs/reference/recipe.md has every key.\n\n"
    yield recipe_text({"version": data["version"]})
    yield "\n# Files and folders of the bundle are called by this name.\n"
    yield recipe_text({"name": data["name"]})
    yield "\n# A channel stays where it was locked until `k3s-bundler lock --update`.\n"
    yield recipe_text({"release": data["release"]})
    yield "\n# The machines of the site. `--arch` builds for some of them.\n"
    yield recipe_text({"arch": data["arch"]})
    yield "\n# Components of k3s the site does not need; their images stay out of the bundle.\n"
    yield section("components", {"disable": ("traefik", "servicelb")}, chosen=bool(data["components"]["disable"]))
    yield "\n# Images of your own applications: nothing at the site can be pulled later.\n"
    example = {"extra": ("docker.io/library/nginx:1.27", {"archive": "./app.tar"})}
    yield section("images", example, chosen=bool(data["images"]["extra"]))
    yield "\n# What nodes are told: config.yaml and registries.yaml of k3s.\n"
    mirrors = data["site"]["registries"]["mirrors"]
    yield section("site", {"config": {"write-kubeconfig-mode": "0644"}}, chosen=bool(mirrors))
