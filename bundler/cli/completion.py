"""completion: print the completion script of a shell.

bash: `k3s-bundler completion bash > ~/.local/share/bash-completion/completions/k3s-bundler`; fish:
`~/.config/fish/completions/k3s-bundler.fish`; zsh: `_k3s-bundler` in a folder of `$fpath`. Then open a new shell.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "print the completion script of a shell"
SHELLS = ("bash", "fish", "zsh")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Print it; the scripts are made from the parser by `make completions`."""
    print(files("bundler.cli").joinpath(f"completions/k3s-bundler.{args.shell}").read_text(), end="")
    return 0
