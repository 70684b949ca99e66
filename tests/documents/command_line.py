"""docs/cli.md: every verb with its arguments, from the parsers.

argparse's own help is not used: each version of Python lays it out differently.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bundler.cli.main import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# The command line

Generated from the parsers by `make docs`: change `bundler/cli/`, not this file. `k3s-bundler VERB --help` says the
same.

"""

_EVERYWHERE = ("--progress", "--quiet", "--verbose")


def command_line_document() -> str:
    """Write the whole document."""
    parser = command_line()
    everywhere = [action for action in next(_verbs(parser))[1]._actions if _long_name(action) in _EVERYWHERE]
    return (
        _HEAD
        + f"{parser.description}\n\n```\n{(parser.epilog or '').strip()}\n```\n"
        + "\n## Every verb\n\n"
        + "\n".join(_rows(everywhere))
        + "\n"
        + "".join(_verb(name, verb) for name, verb in _verbs(parser))
    )


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield verb.prog, verb
                yield from _verbs(verb)


def _verb(name: str, verb: argparse.ArgumentParser) -> str:
    shown = [action for action in verb._actions if _is_own(action)]
    words = [name, *(["[option]..."] if any(action.option_strings for action in shown) else [])]
    words += [_usage(action) for action in shown if not action.option_strings]
    words += ["[ACTION ...]" for action in verb._actions if isinstance(action, argparse._SubParsersAction)]
    text = f"\n## {name}\n\n{_about(verb)}\n\n```\n{' '.join(words)}\n```\n"
    return text + ("\n" + "\n".join(_rows(shown)) + "\n" if shown else "")


def _about(verb: argparse.ArgumentParser) -> str:
    text = (verb.description or "").strip().removeprefix(f"{verb.prog.partition(' ')[2]}: ")
    return text[0].upper() + text[1:]


def _is_own(action: argparse.Action) -> bool:
    kinds = (argparse._HelpAction, argparse._SubParsersAction)
    return not isinstance(action, kinds) and _long_name(action) not in _EVERYWHERE and action.help != argparse.SUPPRESS


def _long_name(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else ""


def _usage(action: argparse.Action) -> str:
    name = _value(action)
    match action.nargs:
        case "?":
            return f"[{name}]"
        case "*":
            return f"[{name}]..."
        case "+":
            return f"{name}..."
        case _:
            return name


def _value(action: argparse.Action) -> str:
    if action.metavar is not None:
        return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _rows(actions: list[argparse.Action]) -> Iterator[str]:
    yield from ("| option | what it does |", "|---|---|")
    for action in actions:
        names = ", ".join(action.option_strings) or _value(action)
        value = f" {_value(action)}" if action.option_strings and action.nargs != 0 else ""
        yield f"| `{_cell(names + value)}` | {_help(action)} |"


def _help(action: argparse.Action) -> str:
    if not action.help:
        raise ValueError(f"{action.dest} of {action.option_strings} has no help")
    return _cell(action.help % {**vars(action), "prog": "k3s-bundler"}).replace("<", "\\<")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
