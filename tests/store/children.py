"""Other processes that use a store, because a test of crashes and of racing needs real ones."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PREAMBLE = """
import os, resource, sys, time
from pathlib import Path
from bundler.errors import BundlerError, host_error
from bundler.model.digest import Digest, digest_of
from bundler.store.care import prune, usage, verify_all
from bundler.store.store import open_store, write_file
root = Path(sys.argv[1])
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run `script` after the imports above, with the store's folder as `root`; its stdin and stdout are pipes."""
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> str:
    """Wait for a child that must end well, and give what it printed."""
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    return output.strip()


AS_NOBODY = """
if os.getuid() == 0:  # root may write everywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""
"""Put before a script to run it as a user to whom modes mean something."""

AS_PYTHON_3_14 = """
Path.is_file = lambda path: os.path.isfile(path)
Path.is_dir = lambda path: os.path.isdir(path)
"""
"""Put before a script to have these two as Python 3.14 has them: what cannot be looked at is not there for them."""
