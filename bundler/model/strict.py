"""The base of what people write by hand: unknown keys are mistakes, nothing is converted, nothing changes later."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from pydantic_core import ErrorDetails

    from bundler.model.yaml_nodes import Path

KEY = "[key]"
"""Last part of a path that means a key of a mapping and not its value; pydantic's own sign for it."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Strict(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def _freeze(value: Mapping[Key, Value]) -> Mapping[Key, Value]:
    return MappingProxyType(dict(value))


def _thaw(value: Mapping[Key, Value], handler: Callable[[dict[Key, Value]], Any]) -> Any:
    return handler(dict(value))


FrozenMapping = Annotated[Mapping[Key, Value], AfterValidator(_freeze), WrapSerializer(_thaw)]
"""A mapping inside a model that nobody can change."""


def nothing() -> Mapping[Any, Any]:
    """Give the default of a mapping."""
    return MappingProxyType({})


def several(mistakes: Iterable[tuple[Path, str]], others: Iterable[ErrorDetails] = ()) -> PydanticCustomError:
    """Report mistakes a validator found below its own value, each with the path from there.

    `others` are what pydantic found there at the same time.
    """
    return PydanticCustomError("several", "several mistakes", {"mistakes": tuple(mistakes), "others": tuple(others)})


def require_pair(part: Strict, first: str, second: str) -> None:
    """Report a key that has a value while the one it belongs to has none."""
    for key, other in ((first, second), (second, first)):
        if getattr(part, key) and not getattr(part, other):
            raise several([((key, KEY), f"needs {other} beside it")])


def together(mistakes_in: Callable[[Any], list[tuple[Path, str]]]) -> WrapValidator:
    """Check a value as written with `mistakes_in` as well as by its type, so that neither hides the other."""

    def check(value: Any, by_type: ValidatorFunctionWrapHandler) -> Any:
        mistakes = mistakes_in(value)
        try:
            checked = by_type(value)
        except ValidationError as error:
            raise several(mistakes, error.errors(include_url=False)) from None
        if mistakes:
            raise several(mistakes)
        return checked

    return WrapValidator(check)


def no_repeats(name: Callable[[Any], Hashable]) -> WrapValidator:
    """Check that no two items of a list have the same name; `name` raises ValueError for what it cannot read."""

    def repeats(value: Any) -> list[tuple[Path, str]]:
        first: dict[Hashable, int] = {}
        found: list[tuple[Path, str]] = []
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            try:
                before = first.setdefault(name(item), index)
            except (ValueError, TypeError):
                continue  # the type says what is wrong with it
            if before != index:
                found.append(((index,), f"is in the list twice: the first is item {before + 1}"))
        return found

    return together(repeats)
