"""2: the command line or the recipe is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from bundler.errors.base import BundlerError

if TYPE_CHECKING:
    from collections.abc import Mapping


class UsageError(BundlerError):
    """The command line asks for something that does not exist or does not fit together.

    Correct the command line; `k3s-bundler VERB --help` lists what a verb takes.
    """

    name = "wrong-use"
    exit_code = 2


@dataclass(frozen=True, order=True)
class RecipeMistake:
    """One mistake of a recipe and its place; line and column count from 1, `path` is empty for the file itself.

    `source` names the file where it is not the recipe's own but one that it extends.
    """

    line: int
    column: int
    path: str
    what: str
    source: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (f"{self.line}:{self.column}", self.path, self.what) if part)


class RecipeError(UsageError):
    """The recipe has mistakes; every one is listed, one a line, each with its place.

    Correct them all and run it again. docs/reference/recipe.md has every key with an example, and `k3s-bundler schema`
    prints the JSON Schema that editors complete and check by.

    `mistakes` has all of them in the order of the file, `source` is the file as the person named it.
    """

    name = "recipe-invalid"
    most_shown: ClassVar[int] = 100

    def __init__(self, source: str, mistakes: tuple[RecipeMistake, ...], *, files: int = 1) -> None:
        self.source = source
        self.mistakes = mistakes
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [
            f"{source} has {count}:" if files == 1 else f"{files} recipes have {count}:",
            *(f"{mistake.source or source}:{mistake}" for mistake in mistakes[: self.most_shown]),
        ]
        if len(mistakes) > self.most_shown:
            lines.append(f"... and {len(mistakes) - self.most_shown} more")
        super().__init__(
            "\n".join(lines),
            hint="docs/reference/recipe.md has every key; `k3s-bundler schema` prints the schema editors complete from",
        )


def mistakes_of_several(found: Mapping[str, tuple[RecipeMistake, ...]]) -> RecipeError:
    """Make one error of the mistakes of several recipes, by file."""
    if len(found) == 1:
        return RecipeError(*next(iter(found.items())))
    whole = (replace(each, source=each.source or source) for source, mistakes in found.items() for each in mistakes)
    return RecipeError("", tuple(whole), files=len(found))


class RecipeNotFoundError(UsageError):
    """There is no recipe where the command line says.

    Check the path, which is taken from the folder you are in; files that a recipe names are taken from the
    recipe's own folder. `k3s-bundler recipes` lists the recipes that are shipped.
    """

    name = "recipe-not-found"


class UnknownReleaseError(UsageError):
    """The recipe's release is neither a channel of the channel server nor a tag.

    Name one of the channels that the message lists, or an exact tag such as v1.34.1+k3s1.
    """

    name = "release-unknown"


class UnsupportedArchitectureError(UsageError):
    """The release has no binary or images for an architecture of the recipe.

    Take the architecture out of the recipe's `arch`, or use a release that has it.
    """

    name = "architecture-unsupported"


class EngineUnfitError(UsageError):
    """The engine cannot give what the recipe wants of it.

    Use `--engine registry`, which can do everything, or do what the hint says to the daemon.
    """

    name = "engine-unfit"


class OutputExistsError(UsageError):
    """The place of the new bundle is taken.

    Give `--replace` to replace a bundle, or another place with `--output`. What is no bundle, and no archive of the one
    that is made, is never replaced.
    """

    name = "output-exists"


class ManifestError(UsageError):
    """A manifest is no manifest, or cannot be deployed by k3s as it is.

    The message names file, line or object. `kubectl apply --dry-run=client -f FILE` finds most mistakes; templates have
    to be rendered before.
    """

    name = "manifest-invalid"


class ChartError(UsageError):
    """A chart is no chart, lacks a dependency, or nobody knows which images it needs.

    `helm dependency build` and `helm package` bring dependencies inside. Install `helm`, so that the chart can be
    rendered, or name its images under the chart's `images`.
    """

    name = "chart-invalid"


class NotABundleError(UsageError):
    """The folder given is not a bundle.

    Give the folder that holds install.sh and bundle.json.
    """

    name = "not-a-bundle"
