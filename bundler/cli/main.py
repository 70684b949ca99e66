"""The entry point: parse, call one verb, catch once, exit."""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from bundler import __version__
from bundler.cli import build, cache, completion, doctor, inspect, lock, plan, recipes, schema, verify
from bundler.cli.progress import Reporter, reporter
from bundler.cli.text import keep_bytes
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
    keep_bytes(sys.stdout)
    try:
        args = command_line().parse_args(arguments)
    except SystemExit as done:  # --help and --version have printed
        done.code = _failure_of_help() or done.code
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
        _say(_INTERRUPTED)
        return 128 + _Signals.last
    except BrokenPipeError:
        _drop(sys.stdout, sys.stderr)
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
    """Do what is asked, and put the result out before an error is told, also where both go into one file."""
    result = io.StringIO()
    try:
        with redirect_stdout(result):
            return int(VERBS[args.verb].run(args, progress))
    finally:
        progress.close()
        _put_out(result.getvalue())


def _put_out(result: str) -> None:
    """Write to stdout, and see that everything arrives there; raises BrokenPipeError and host errors."""
    try:
        sys.stdout.write(result)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop(sys.stdout)
        hint = "free some room there, or send stdout somewhere else"
        raise host_error(error, Path("stdout"), hint=hint) from error


def _failure_of_help() -> int:
    """See that what argparse printed arrives; tells what keeps it from stdout, and gives its exit code, or 0."""
    try:
        _put_out("")
    except BrokenPipeError:
        _drop(sys.stdout, sys.stderr)
    except BundlerError as error:
        _show(error, verbose=False)
        return error.exit_code
    return 0


def _drop(*streams: TextIO) -> None:
    """Let nothing more be written there, not at the interpreter's end either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _of_host(error: Exception) -> BundlerError | None:
    """Put into our words what the file system says of a file that nobody foresaw; None when it is something else."""
    if not isinstance(error, OSError):
        return None
    if isinstance(error.filename, (str, bytes)):
        return host_error(error, Path(os.fsdecode(error.filename)))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        hint = "free some room where --cache-dir, --output and TMPDIR point, and where stderr goes"
        return host_error(error, Path("a file"), hint=hint)
    return None


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
        _say(str(mistake))
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
    _say(_INTERRUPTED)
    os._exit(128 + number)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  by signal.signal
    os._exit(128 + number)


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, but for the exit code
        _drop(sys.stderr)


def _show(error: BundlerError, *, verbose: bool) -> None:
    if verbose:
        _say(_trace(error))
    label = f"error[{error.name}]"
    if _coloured():
        label = f"\033[1;31m{label}\033[0m"
    _say(f"{label}: {error.what}\nhint: {error.hint}")
    if isinstance(error, RecipeError) and os.environ.get("GITHUB_ACTIONS") == "true":
        for mistake in error.mistakes:
            _say(_annotation(mistake.source or error.source, mistake))


def _annotation(source: str, mistake: RecipeMistake) -> str:
    """Write a mistake as GitHub shows it beside the line; the runner reads stderr too (docs, workflow commands)."""
    text = f"{mistake.path}: {mistake.what}" if mistake.path else mistake.what
    place = _escaped(source).replace(":", "%3A").replace(",", "%2C")
    return f"::error file={place},line={mistake.line},col={mistake.column}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _show_bug(error: Exception, *, verbose: bool) -> None:
    if verbose:
        _say(_trace(error))
    _say(f"error[bug]: {type(error).__name__}: {error}\nhint: run it again with -v and report what it prints")


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).rstrip("\n")


def _coloured() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
