"""The entry point: parse, call one verb, catch once, exit."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bundler import __version__
from bundler.cli import build, cache, completion, doctor, inspect, lock, plan, recipes, schema, verify
from bundler.cli.progress import Reporter, reporter
from bundler.errors import BundlerError, RecipeError, RecipeMistake, UsageError, host_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

VERBS = {
    "build": build,
    "plan": plan,
    "lock": lock,
    "verify": verify,
    "inspect": inspect,
    "recipes": recipes,
    "cache": cache,
    "doctor": doctor,
    "schema": schema,
    "completion": completion,
}

_EPILOG = """\
examples:
  k3s-bundler plan k3s --arch arm64          what would be fetched
  k3s-bundler build k3s --arch arm64         make dist/k3s-<release>-arm64
  k3s-bundler verify dist/k3s-*-arm64        check it, also on the stick
  sudo sh install.sh                         at the site, in the bundle's folder

exit codes: 0 done, 1 bug, 2 wrong use or recipe, 3 network, registry or daemon, 4 integrity,
5 missing tool, permission or disk, 6 lock out of date, 130 and 143 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code."""
    try:
        args = command_line().parse_args(arguments)
    except SystemExit:  # --help and --version have printed
        _flush_or_drop()
        raise
    progress = reporter("none" if args.quiet else args.progress)
    _watch_signals(progress)
    try:
        return _run(args, progress)
    except BundlerError as error:
        progress.close()
        _show(error, verbose=args.verbose)
        return error.exit_code
    except KeyboardInterrupt:
        progress.close()
        print(_INTERRUPTED, file=sys.stderr)
        return 128 + _Signals.last
    except BrokenPipeError:
        _drop_output()
        return 128 + signal.SIGPIPE
    except Exception as error:  # noqa: BLE001  the one place where bugs become an exit code
        progress.close()
        if of_host := _of_host(error):
            _show(of_host, verbose=args.verbose)
            return of_host.exit_code
        _show_bug(error, verbose=args.verbose)
        return 1
    finally:
        progress.close()


def _run(args: argparse.Namespace, progress: Reporter) -> int:
    code = int(VERBS[args.verb].run(args, progress))
    sys.stdout.flush()  # where a reader that went away can still be told from a bug
    return code


def _of_host(error: Exception) -> BundlerError | None:
    """Put into our words what the file system says of a file that nobody foresaw; None when it is something else."""
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOSPC and not error.filename:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return host_error(error, Path("stdout"))
    return host_error(error, Path(os.fsdecode(error.filename))) if isinstance(error.filename, (str, bytes)) else None


def _flush_or_drop() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()


def _drop_output() -> None:
    """Let nothing be written to readers that went away, not at the interpreter's end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def command_line() -> argparse.ArgumentParser:
    """Make the parser of all verbs."""
    parser = _Parser(
        prog="k3s-bundler",
        description="Pack a k3s release and its images into one verified bundle that installs without a network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"k3s-bundler {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, verb in VERBS.items():
        own = verbs.add_parser(name, help=verb.HELP, description=verb.__doc__)
        _configure_talk(own, progress="auto", quiet=False, verbose=False)
        for action in verb.configure(own) or ():
            # What stands before the action counts: its parser must not undo it with a default.
            silent = argparse.SUPPRESS
            _configure_talk(action, progress=silent, quiet=silent, verbose=silent)
    return parser


def _configure_talk(parser: argparse.ArgumentParser, **default: object) -> None:
    """Declare how much is said."""
    parser.add_argument(
        "--progress",
        choices=("auto", "bars", "lines", "json", "none"),
        default=default["progress"],
        help="how long work is shown on stderr (default: bars on a terminal, lines elsewhere)",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=default["quiet"], help="say nothing but the result and errors"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=default["verbose"], help="show where an error came from"
    )


class _Parser(argparse.ArgumentParser):
    """argparse, with its mistakes told like all others."""

    def error(self, message: str) -> NoReturn:
        mistake = UsageError(message, hint=f"see: {self.prog} --help")
        print(mistake, file=sys.stderr)
        self.exit(mistake.exit_code)


_INTERRUPTED = "interrupted; what was fetched is kept, run the same command to go on"
_PATIENCE = 3.0  # seconds: enough to take back what was pulled into a Docker engine


class _Signals:
    last = int(signal.SIGINT)


def _watch_signals(progress: Reporter) -> None:
    """End the first time at the next byte, keeping what can be resumed; the second time at once."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  by signal.signal
        _Signals.last = number
        signal.signal(signal.SIGINT, _leave)
        signal.signal(signal.SIGTERM, _leave)
        progress.cancel()
        # A thread that waits for a silent server sees no next byte.
        patience = threading.Timer(_PATIENCE, _give_up, (number,))
        patience.daemon = True
        patience.start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _give_up(number: int) -> None:
    print(_INTERRUPTED, file=sys.stderr, flush=True)
    os._exit(128 + number)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  by signal.signal
    os._exit(128 + number)


def _show(error: BundlerError, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exception(error)
    label = f"error[{error.name}]"
    if _coloured():
        label = f"\033[1;31m{label}\033[0m"
    print(f"{label}: {error.what}\nhint: {error.hint}", file=sys.stderr)
    if isinstance(error, RecipeError) and os.environ.get("GITHUB_ACTIONS") == "true":
        for mistake in error.mistakes:
            print(_annotation(mistake.source or error.source, mistake), file=sys.stderr)


def _annotation(source: str, mistake: RecipeMistake) -> str:
    """Write a mistake as GitHub shows it beside the line; the runner reads stderr too (docs, workflow commands)."""
    text = f"{mistake.path}: {mistake.what}" if mistake.path else mistake.what
    place = _escaped(source).replace(":", "%3A").replace(",", "%2C")
    return f"::error file={place},line={mistake.line},col={mistake.column}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _show_bug(error: Exception, *, verbose: bool) -> None:
    if verbose:
        traceback.print_exception(error)
    print(
        f"error[bug]: {type(error).__name__}: {error}\nhint: run it again with -v and report what it prints",
        file=sys.stderr,
    )


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
