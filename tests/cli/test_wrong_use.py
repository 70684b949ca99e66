"""What people get wrong is told in words that lead on, and what a hint says to do works."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.command import CommandLine


def test_a_dry_run_says_what_plan_says_and_makes_nothing(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    planned = command.run("plan", recipe)
    dry = command.try_build(recipe, "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, planned.stdout), dry.stderr
    assert "klipper-helm" in dry.stdout
    as_json = command.try_build(recipe, "--dry-run", "--json")
    assert json.loads(as_json.stdout) == json.loads(command.run("plan", recipe, "--json").stdout)
    assert command.built() == []
    assert not recipe.with_name("edge.lock.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "k3s", "--jobs", "many"), "--jobs: 'many' is not a whole number from 1 to 100000"),
        (("build", "k3s", "--jobs", "0"), "--jobs: '0' is not a whole number from 1 to 100000"),
        (("build", "k3s", "--jobs", ""), "--jobs: '' is not a whole number from 1 to 100000"),
        (("build", "k3s", "--jobs", "9" * 5000), f"--jobs: '{'9' * 40}...' is not a whole number from 1 to 100000"),
        (("cache", "prune", "--days", "-1"), "--days: '-1' is not a whole number from 0 to 100000"),
        (("cache", "prune", "--days", "100001"), "--days: '100001' is not a whole number from 0 to 100000"),
        (("cache", "prune", "--days", "9" * 400), f"--days: '{'9' * 40}...' is not a whole number from 0 to 100000"),
    ],
)
def test_a_number_that_is_none_is_refused_in_words(words: tuple[str, ...], said: str, command: CommandLine) -> None:
    done = command.run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("error[wrong-use]: ")
    assert said in done.stderr


@pytest.mark.parametrize("days", ["0", "007", "100000", "0" * 5000 + "7"], ids=lambda days: days[-6:])
def test_every_number_of_days_up_to_the_greatest_can_be_counted(days: str, command: CommandLine) -> None:
    assert command.run("cache", "prune", "--days", days).returncode == 0


@pytest.mark.parametrize("option", ["--output", "--cache-dir"])
def test_a_file_where_a_folder_is_needed_is_named(option: str, command: CommandLine) -> None:
    taken = command.folder / "taken"
    taken.write_text("mine\n")
    done = command.run("build", command.recipe(arch="arm64"), "--engine", "registry", option, taken)
    assert done.returncode == 5
    assert f"error[host]: {taken}" in done.stderr
    assert "hint: a file stands where a folder is needed" in done.stderr
    assert taken.read_text() == "mine\n"


@pytest.mark.parametrize("words", [("build", "{recipe}", "--output", "{long}"), ("build", "{long}")], ids=len)
def test_a_name_no_file_system_takes_is_no_bug(words: tuple[str, ...], command: CommandLine) -> None:
    recipe, long = str(command.recipe(arch="arm64")), "x" * 300
    done = command.run(*(word.format(recipe=recipe, long=long) for word in words), "--engine", "registry")
    assert done.returncode == 5
    assert done.stderr.splitlines()[-2].startswith(f"error[host]: {long}")
    assert done.stderr.splitlines()[-1] == "hint: give a shorter path"


def test_a_user_without_a_home_is_told_to_name_the_cache(command: CommandLine, tmp_path: Path) -> None:
    # Nobody can become a user without an entry but root, so the list of users is emptied.
    nobody = "import pwd\ndef none(_): raise KeyError\npwd.getpwuid = none\n"
    program = "from bundler.cli.main import main\nprint(main(['cache', 'path']))"
    variables = {name: value for name, value in command.variables().items() if name not in {"HOME", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", nobody + program],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=variables,
    )
    assert done.stdout == "5\n"
    assert "hint: give --cache-dir, or set K3S_BUNDLER_CACHE_DIR" in done.stderr


def test_a_terminal_that_lacks_characters_of_a_path_ends_nothing(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    narrow = command.with_environment(PYTHONIOENCODING="ascii")
    done = narrow.run("build", recipe, "--engine", "registry", "--output", command.folder / "schn\u00e4\u2603")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.removesuffix("\n")) == command.folder / "schn\u00e4\u2603" / "edge-v1.34.1-k3s1-arm64"


@pytest.mark.parametrize("name", [b"\xc3\xa9", b"\xe9"], ids=["a letter", "no text at all"])
@pytest.mark.parametrize(
    "variables", [{}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}], ids=str
)
def test_a_path_is_printed_as_it_is_named(variables: dict[str, str], name: bytes, command: CommandLine) -> None:
    folder = os.fsencode(command.folder) + b"/" + name
    words = [*map(os.fsencode, command.command("cache", "path", "--cache-dir")), folder]
    env = command.with_environment(**variables).variables()
    assert subprocess.run(words, check=False, capture_output=True, env=env).stdout == folder + b"\n"
    listed = [*map(os.fsencode, command.command("cache", "ls", "--json", "--cache-dir")), folder]
    document = json.loads(subprocess.run(listed, check=False, capture_output=True, env=env).stdout.decode())
    assert os.fsencode(document["path"]) == folder
    looked = [*map(os.fsencode, command.command("doctor", command.recipe(), "--json", "--cache-dir")), folder]
    findings = json.loads(subprocess.run(looked, check=False, capture_output=True, env=env).stdout)["findings"]
    assert any(folder in os.fsencode(finding["what"]) for finding in findings)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8:replace"])
def test_documents_and_events_are_json_whatever_the_encoding_is(encoding: str, command: CommandLine) -> None:
    folder = command.folder / "schn\u00e4"
    folder.mkdir()
    recipe = command.recipe(arch="arm64").rename(folder / "edge.yaml")
    (folder / "\u2603.txt").write_text("snow\n")
    recipe.write_text(f"{recipe.read_text()}files: [{{source: ./\u2603.txt, target: /etc/snow}}]\n", encoding="utf-8")
    narrow = command.with_environment(PYTHONIOENCODING=encoding)
    output = ("--engine", "registry", "--output", folder)
    done = narrow.run("build", recipe, *output, "--json", "--progress", "json")
    bundle = json.loads(done.stdout)["path"]
    assert bundle == f"{folder}/edge-v1.34.1-k3s1-arm64"
    notes = [event["message"] for event in map(json.loads, done.stderr.splitlines()) if event["event"] == "note"]
    assert any(str(folder) in message for message in notes)
    assert narrow.run("lock", recipe, "--json").stdout.encode() == (folder / "edge.lock.json").read_bytes()
    assert "./\u2603.txt" in (folder / "edge.lock.json").read_text(encoding="utf-8")
    assert narrow.run("recipes", "show", recipe).stdout.encode() == recipe.read_bytes()
    for words in (("plan", recipe), ("inspect", bundle), ("inspect", bundle, "--explain"), ("verify", bundle)):
        assert json.loads(narrow.run(*words, "--json").stdout)
    shown = json.loads(narrow.run("recipes", "show", recipe, "--json").stdout)
    assert shown["path"] == str(recipe)
    recipe.write_text("name: \u2603\n", encoding="utf-8")
    (told,) = json.loads(narrow.run("recipes", "check", recipe, "--json").stdout)["recipes"]
    assert told["path"] == str(recipe)


def test_a_reader_of_the_talk_that_is_gone_is_no_bug(command: CommandLine) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    words = command.command("build", command.recipe(arch="arm64"), "--engine", "registry")
    code = subprocess.run(words, check=False, stderr=theirs, cwd=command.folder, env=with_buffers(command)).returncode
    os.close(theirs)
    assert code == 141


@pytest.mark.parametrize("verb", ["verify", "inspect"])
def test_a_bundle_in_one_file_is_to_be_unpacked_first(verb: str, command: CommandLine) -> None:
    (command.folder / "edge.tar").write_bytes(b"")
    done = command.run(verb, "edge.tar")
    assert done.returncode == 2
    assert "hint: unpack it first: tar -xf edge.tar" in done.stderr


def test_inspect_lists_the_files_of_the_recipe(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    recipe.write_text(f"{recipe.read_text()}files: [{{source: ./note.txt, target: /etc/note}}]\n")
    (command.folder / "note.txt").write_text("hello\n")
    listed = command.run("inspect", command.build(recipe)).stdout
    assert [line.split()[1:3] for line in listed.splitlines() if line.startswith("files/")] == [["6", "B"]]


def test_what_the_hint_says_of_a_malformed_lock_makes_a_good_one(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    lock = recipe.with_name("edge.lock.json")
    lock.write_text("{}")
    told = command.run("lock", recipe)
    assert told.returncode == 6
    assert "k3s-bundler lock --update" in told.stderr
    assert lock.read_text() == "{}"
    assert command.run("lock", recipe, "--update").returncode == 0
    assert command.run("lock", recipe, "--check").returncode == 0


@pytest.mark.parametrize(
    "words", [("schema",), ("recipes",), ("--help",), ("build", "--help"), ("--version",)], ids=" ".join
)
def test_a_reader_that_is_gone_before_the_first_word_is_no_error(words: tuple[str, ...], command: CommandLine) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = buffered(command, words, theirs)
    os.close(theirs)
    assert done.stderr == ""
    assert done.returncode in {0, 141}


@pytest.mark.parametrize(
    "words", [("schema",), ("recipes",), ("--help",), ("build", "--help"), ("--version",)], ids=" ".join
)
def test_a_full_disk_behind_stdout_is_told_as_one(words: tuple[str, ...], command: CommandLine) -> None:
    with Path("/dev/full").open("wb") as full:
        done = buffered(command, words, full.fileno())
    assert done.returncode == 5
    assert done.stderr.startswith("error[disk-full]: no room is left for stdout: ")
    assert "hint: free some room there, or send stdout somewhere else" in done.stderr
    assert done.stderr.count("\n") == 2


def test_the_result_comes_before_the_mistakes_where_both_go_into_one_file(command: CommandLine) -> None:
    good, bad = command.recipe(), command.folder / "bad.yaml"
    bad.write_text("version: 2\n")
    words = command.command("recipes", "check", good, bad)
    done = subprocess.run(
        words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=command.folder,
        env=with_buffers(command),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout.startswith(f"{good}: good\nerror[recipe-")


def test_a_full_disk_behind_the_talk_is_not_taken_for_one_behind_the_result(command: CommandLine) -> None:
    def with_full_stderr(*words: str) -> subprocess.CompletedProcess[str]:
        with Path("/dev/full").open("wb") as full:
            return subprocess.run(
                command.command(*words), check=False, stdout=subprocess.PIPE, stderr=full, text=True,
                cwd=command.folder, env=with_buffers(command),
            )  # fmt: skip

    assert with_full_stderr("recipes", "show", "nowhere").returncode == 2
    assert with_full_stderr("bild").returncode == 2
    assert with_full_stderr("cache", "verify").returncode == 5
    assert with_full_stderr("cache", "verify", "-q").stdout.endswith(": whole\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", [("--help",), ("recipes",), ("cache", "verify")], ids=" ".join)
def test_a_stream_that_is_closed_is_no_error(words: tuple[str, ...], closed: str, command: CommandLine) -> None:
    done = closing(command, words, closed)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) is (">&-" not in closed.split())


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_mistake_ends_with_its_own_code_where_a_stream_is_closed(closed: str, command: CommandLine) -> None:
    for words in (("recipes", "show", "nowhere"), ("bild",)):
        done = closing(command, words, closed)
        assert (done.returncode, done.stdout) == (2, "")
        assert ("error[" in done.stderr) is ("2>&-" not in closed.split())


def closing(command: CommandLine, words: tuple[str, ...], closed: str) -> subprocess.CompletedProcess[str]:
    """Run with some streams closed, as a service manager or `>&-` leaves them."""
    line = f"{shlex.join(command.command(*words))} {closed}"
    return subprocess.run(
        ["sh", "-c", line], check=False, capture_output=True, text=True, cwd=command.folder, env=command.variables()
    )


def buffered(command: CommandLine, words: tuple[str, ...], stdout: int) -> subprocess.CompletedProcess[str]:
    """Run with stdout as Python has it for a pipe or a file: written when it is full, and at the end."""
    return subprocess.run(
        command.command(*words), check=False, stdout=stdout, stderr=subprocess.PIPE, text=True,
        cwd=command.folder, env=with_buffers(command),
    )  # fmt: skip


def with_buffers(command: CommandLine) -> dict[str, str]:
    return {name: value for name, value in command.variables().items() if name != "PYTHONUNBUFFERED"}
