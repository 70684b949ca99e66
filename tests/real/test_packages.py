"""Packages are installed without side effects, and every process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real import packages
from tests.real.busybox import _lines, _stanzas
from tests.real.process import ComponentError, Process
from tests.real.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHON_PATH = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PROGRAMS", {"unheard-of": ("sh", "no-such-program"), "no-shell": ("sh",)})
    assert packages.missing(["unheard-of", "no-shell"]) == ("unheard-of",)
    with pytest.raises(packages.PackagesUnavailableError, match="no-such-program is not installed"):
        packages.program("no-such-program")


def test_installing_without_root_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "SEARCH_PATH", "/nonexistent")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(packages.PackagesUnavailableError, match=r"docker-registry skopeo not installed, .* needs root"):
        packages.install(["docker-registry", "skopeo"], print)
    with pytest.raises(packages.PackagesUnavailableError, match=r"docker\.io only run as root"):
        packages.install(["skopeo", "docker.io"], print)


def test_the_service_policy_of_the_machine_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "_POLICY", policy)
    monkeypatch.setattr(packages, "_POLICY_ASIDE", tmp_path / "aside")
    policy.write_text("#!/bin/sh\nexit 104\n")
    with contextlib.suppress(KeyboardInterrupt), packages._no_services():
        assert subprocess.run([policy], check=False).returncode == 101
        raise KeyboardInterrupt
    assert policy.read_text() == "#!/bin/sh\nexit 104\n"
    policy.unlink()
    with packages._no_services():
        assert policy.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_requirement_that_cannot_be_met_skips_and_fails_under_ci(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "from tests.real import packages\n"
        "packages.PROGRAMS = {**packages.PROGRAMS, 'unheard-of': ('no-such-program',)}\n"
        "packages.os.geteuid = lambda: 1000\n"
        "from tests.real.fixtures import *\n"
        "from tests.real.fixtures import pytest_configure, pytest_runtest_setup, pytest_collection_modifyitems\n"
    )
    pytester.makepyfile("import pytest\n@pytest.mark.requires('unheard-of')\ndef test_it(): raise SystemExit\n")
    for ci, outcome in (("", "skipped"), ("true", "errors")):
        pytester._monkeypatch.setenv("CI", ci)
        pytester._monkeypatch.setenv("PYTHONPATH", PYTHON_PATH)
        done = pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider")
        done.assert_outcomes(**{outcome: 1})
        assert "unheard-of not installed" in done.stdout.str()


def test_a_process_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo the reason; exit 3"], tmp_path / "log")
    with pytest.raises(ComponentError, match=r"ended with status 3\n.*the reason"):
        process.wait_ready(lambda: False)


def test_a_process_that_ignores_the_request_to_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.real.process._STOP_SECONDS", 0.2)
    process = Process(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], tmp_path / "log")
    process.wait_ready(lambda: "ready" in (tmp_path / "log").read_text())
    process.stop()
    assert not process.alive()


def test_components_end_when_the_test_run_is_killed(require: Callable[..., None], tmp_path: Path) -> None:
    require(*Registry.PACKAGES)
    script = (
        "import pathlib, sys, time\n"
        "from tests.real.registry import Registry\n"
        "with Registry(pathlib.Path(sys.argv[1])) as registry:\n"
        "    print(registry.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
    )
    with run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/status").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"registry {pid} outlived its test run"
        time.sleep(0.05)


def test_only_the_main_archive_of_the_release_is_asked_for_foreign_programs() -> None:
    deb822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/archive.gpg

Types: deb
URIs: https://vendor.example/
Suites: nodistro
Components: main
"""
    one_line = (
        "# deb http://off.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/keys/archive.gpg] http://mirror.example/debian bookworm main contrib\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
        "deb https://vendor.example bookworm stable\n"
    )
    wanted = (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By: /keys/archive.gpg"
    )
    assert _stanzas(deb822, "bookworm") == [wanted]
    assert _lines(one_line, "bookworm") == [wanted]
