"""Secrets: in the bundle's registries.yaml when the recipe asks for them by name, and nowhere else, ever."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.build.workshop import sums_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.build.workshop import Result, Workshop

PASSWORD, TOKEN = "canary-password-1f0c", "canary-identity-77ab"
ASKED_FOR = (PASSWORD, TOKEN)
NEVER = {
    "K3S_TOKEN": "canary-k3s-token-90cd",
    "AWS_SECRET_ACCESS_KEY": "canary-aws-key-5d1e",
    "GITHUB_TOKEN": "canary-github-3b8f",
}
LOGIN = "canary-docker-login-c2a4"

SITE = """\
site:
  registries:
    mirrors:
      docker.io: {endpoint: ["https://a.example:5000", "https://b.example", "https://c.example"]}
    configs:
      "a.example:5000":
        auth: {username: puller, password: {env: REGISTRY_PASSWORD}}
        tls: {ca_file: ./ca.pem, cert_file: ./node.pem, key_file: ./node.key}
      b.example: {auth: {identity_token: {file: ./token.txt}}}
      c.example: {auth: {username: other, password: {ask: true}}}
"""


@pytest.fixture
def holding(workshop: Workshop) -> Workshop:
    """A workshop whose environment, Docker login and files are full of secrets."""
    workshop.write_recipe(more=SITE)
    (workshop.folder / "token.txt").write_text(f"{TOKEN}\n")
    for name in ("ca.pem", "node.pem"):
        (workshop.folder / name).write_text("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")
    (workshop.folder / "node.key").write_text("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")
    docker = workshop.folder / "docker-config"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"auths": {"other.example": {"auth": LOGIN}}}))
    workshop.environment = {**NEVER, "REGISTRY_PASSWORD": PASSWORD, "DOCKER_CONFIG": str(docker)}
    return workshop


def command_lines(workshop: Workshop) -> Iterator[str]:
    """The command line of each process that was started in the workshop."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == workshop.folder:
                yield (entry / "cmdline").read_text()
        except OSError:
            continue


def holders(workshop: Workshop, secret: str) -> set[str]:
    """Every file below the workshop that has `secret`, but for those it was put into by the test."""
    given = {"token.txt", "docker-config/config.json"}
    files = {str(path.relative_to(workshop.folder)): path for path in workshop.folder.rglob("*") if path.is_file()}
    return {name for name, path in files.items() if name not in given and secret.encode() in path.read_bytes()}


def test_secrets_are_where_the_recipe_wants_them_and_nowhere_else(holding: Workshop) -> None:
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.update(command_lines(holding))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        built = holding.build("--archive")
        bundle = built.path
        said: list[Result] = [built]
        for arguments in (
            ("plan", holding.recipe, "--cache-dir", holding.cache, "--json"),
            ("lock", "--update", holding.recipe, "--cache-dir", holding.cache, "--json"),
            ("verify", bundle),
            ("inspect", bundle),
            ("inspect", bundle, "--json"),
        ):
            said.append(holding.run(*arguments))  # noqa: PERF401  each is a run of the program
        said.append(holding.build("--replace", env={"REGISTRY_PASSWORD": ""}))
    finally:
        done.set()
        watcher.join()

    assert seen, "no process was seen: the test would find nothing"
    spoken = [text for result in said for text in (result.out, result.err)] + sorted(seen)
    for secret in (*ASKED_FOR, *NEVER.values(), LOGIN):
        assert not [text for text in spoken if secret in text], secret
    where = f"dist/{bundle.name}/etc/registries.yaml", f"dist/{bundle.name}.tar"
    for secret in ASKED_FOR:
        assert holders(holding, secret) == set(where), secret
    for secret in (*NEVER.values(), LOGIN):
        assert holders(holding, secret) == set(), secret


def test_what_lies_in_the_bundle_in_clear_is_said_aloud(holding: Workshop) -> None:
    said = holding.build().err
    for what in (
        "etc/registries.yaml of the bundle holds password of a.example:5000 in clear",
        "etc/registries.yaml of the bundle holds identity_token of b.example in clear",
        "the bundle holds the private key ./node.key for a.example:5000",
    ):
        assert said.count(what) == 1, what
    assert "c.example" not in said


def test_accounts_and_certificates_reach_k3s_where_it_looks_for_them(holding: Workshop) -> None:
    bundle = holding.build().path
    written = yaml.safe_load((bundle / "etc/registries.yaml").read_text())
    certs = "/etc/rancher/k3s/certs/a.example_5000"
    assert written["configs"] == {
        "a.example:5000": {
            "auth": {"username": "puller", "password": PASSWORD},
            "tls": {
                "ca_file": f"{certs}/ca.pem",
                "cert_file": f"{certs}/client.pem",
                "key_file": f"{certs}/client.key",
            },
        },
        "b.example": {"auth": {"identity_token": TOKEN}},
        "c.example": {"auth": {"username": "other", "password": ""}},
    }
    facts = (bundle / "bundle.facts").read_text().splitlines()
    assert f"file=644 any files/any{certs}/ca.pem {certs}/ca.pem" in facts
    assert f"file=600 any files/any{certs}/client.key {certs}/client.key" in facts
    assert "asked=c.example password" in facts
    assert "password of c.example" in (bundle / "README.txt").read_text()
    assert "# Fill in password of c.example" in (bundle / "etc/registries.yaml").read_text()


def open_to_all() -> None:
    os.umask(0)


def test_files_with_secrets_are_for_the_builder_alone_whatever_the_umask(holding: Workshop) -> None:
    bundle = holding.build(before=open_to_all).path
    modes = {path.relative_to(bundle).as_posix(): path.stat().st_mode & 0o777 for path in bundle.rglob("*.*")}
    private = {path for path, mode in modes.items() if mode == 0o600}
    assert private == {"etc/registries.yaml", *(path for path in modes if path.endswith("client.key"))}
    assert len(private) == 2
    assert modes["bundle.json"] == modes["install.sh"] == 0o644


def test_the_one_file_keeps_secrets_for_the_builder_alone_and_so_does_tar(holding: Workshop, tmp_path: Path) -> None:
    bundle = holding.build("--archive", before=open_to_all).path
    archive = bundle.with_name(f"{bundle.name}.tar")
    assert archive.stat().st_mode & 0o777 == 0o600
    subprocess.run(["tar", "-xf", archive], cwd=tmp_path, umask=0o022, check=True)
    assert sums_of(tmp_path / bundle.name) == sums_of(bundle)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert archive.with_name(f"{archive.name}.sha256").read_text() == f"{digest}  {archive.name}\n"


def test_another_secret_needs_no_other_lock_and_changes_one_file(holding: Workshop) -> None:
    first = holding.build()
    lock, sums = holding.lock.read_bytes(), (first.path / "SHA256SUMS").read_text().splitlines()
    again = holding.build("--locked", "--replace", env={"REGISTRY_PASSWORD": "canary-another"})
    assert holding.lock.read_bytes() == lock
    changed = set(sums) ^ set((again.path / "SHA256SUMS").read_text().splitlines())
    assert {line.partition("  ")[2] for line in changed} == {"etc/registries.yaml"}


def test_secrets_that_cannot_be_had_are_told_together_before_anything_is_fetched(holding: Workshop) -> None:
    (holding.folder / "token.txt").write_bytes(b"two\nlines\n")
    refused = holding.build(env={"REGISTRY_PASSWORD": ""})
    assert (refused.code, refused.error) == (5, "secret-missing"), refused.err
    assert (
        "configs.a.example:5000.auth.password: the environment variable REGISTRY_PASSWORD is empty or not there"
        in refused.err
    )
    assert f"auth.identity_token: the file {holding.folder}/token.txt has control characters" in refused.err
    assert holding.left_in_output() == []
    (holding.folder / "token.txt").unlink()
    assert f"the file {holding.folder}/token.txt is empty or not there" in holding.build().err


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("ca.pem", "no certificate\n", "tls.ca_file: {} is no certificate in PEM"),
        ("node.pem", "-----BEGIN PRIVATE KEY-----\n", "tls.cert_file: {} is no certificate in PEM"),
        ("node.key", "-----BEGIN CERTIFICATE-----\n", "tls.key_file: {} is no private key in PEM"),
        ("node.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "tls.key_file: {} is a private key that needs a pass"),
    ],
)
def test_files_that_are_no_certificates_are_refused(holding: Workshop, name: str, content: str, what: str) -> None:
    (holding.folder / name).write_text(content)
    refused = holding.build()
    assert (refused.code, refused.error) == (2, "wrong-use"), refused.err
    assert what.format(holding.folder / name) in refused.err
