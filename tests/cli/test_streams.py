"""stdout has the result and nothing else; everything can be read by programs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from bundler.cli.main import VERBS
from tests.command import ROOT, command_for
from tests.upstream import Drip, Filler, Upstream, standard_content

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import CommandLine


def test_the_last_line_of_a_build_is_the_bundles_folder(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64"))
    assert done.stdout == f"{command.folder}/dist/edge-v1.34.1-k3s1-arm64\n"
    assert "locked v1.34.1+k3s1" in done.stderr


def test_quiet_says_nothing_but_the_result(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64"), "--quiet")
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_json_is_one_document_on_stdout_wherever_something_is_listed(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    built = json.loads(command.try_build(recipe, "--json").stdout)
    assert built["bundle"]["release"] == "v1.34.1+k3s1"
    for words in (
        ("plan", recipe),
        ("lock", recipe),
        ("inspect", built["path"]),
        ("verify", built["path"]),
        ("recipes",),
        ("cache", "ls"),
        ("cache", "verify"),
        ("cache", "prune"),
    ):
        done = command.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)


def test_progress_as_json_is_one_event_a_line(command: CommandLine) -> None:
    done = command.try_build(command.recipe(arch="arm64"), "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["stage"] for event in events if event["event"] == "stage"] == ["lock", "fetch", "pack", "verify"]
    started = [event["what"] for event in events if event["event"] == "start"]
    assert len(started) == len([event for event in events if event["event"] == "end"])
    assert any("mirrored-pause" in what for what in started)


def test_a_terminal_gets_bars_that_are_gone_in_the_end(tmp_path: Path) -> None:
    with Upstream(standard_content(Filler(3, compressible=False))) as upstream:
        upstream.fail("/v2/rancher/klipper-helm/blobs/*", Drip(bytes_per_second=4 << 20), times=None)
        command = command_for(tmp_path / "terminal", upstream)
        recipe = command.recipe(arch="arm64")
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        words = command.command("build", recipe, "--engine", "registry", "--output", command.folder / "dist")
        building = subprocess.Popen(words, stderr=theirs, stdout=theirs, cwd=command.folder, env=command.variables())
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # EIO: the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        os.close(ours)
        assert building.wait() == 0
    text = shown.decode()
    assert "%|" in text
    assert "klipper-helm" in text
    assert text.rstrip().splitlines()[-1].rpartition("\x1b[A")[2].strip().endswith("dist/edge-v1.34.1-k3s1-arm64")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_answers_without_heavy_imports(verb: str) -> None:
    program = (
        "import sys\n"
        "from bundler.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "heavy = {'pydantic', 'docker', 'requests', 'zstandard', 'yaml', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    words = [sys.executable, "-c", program, *filter(None, [verb]), "--help"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "usage: k3s-bundler" in done.stdout


def test_a_mistake_on_the_command_line_is_told_like_all_others() -> None:
    words = [sys.executable, "-m", "bundler", "bild"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error[wrong-use]: ")
    assert "hint: " in done.stderr


def test_github_shows_mistakes_of_a_recipe_at_their_lines(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm65")
    done = command.with_environment(GITHUB_ACTIONS="true").try_build(recipe)
    assert done.returncode == 2
    assert f"::error file={recipe},line=4,col=8::arch[0]: " in done.stderr


def test_a_reader_that_goes_away_is_no_error(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    words = " ".join(map(str, command.command("lock", recipe, "--json", "-q")))
    done = subprocess.run(
        ["bash", "-c", f"{words} | head -c 1; exit ${{PIPESTATUS[0]}}"],
        check=False,
        capture_output=True,
        text=True,
        cwd=command.folder,
        env=command.variables(),
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == "{"
