"""What looks like a secret in the values of charts is told, by its place and never by its text."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from bundler.workloads.objects import read_objects
from bundler.workloads.secrets import secrets_in
from bundler.workloads.walk import walk


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({"auth": {"password": "geheim"}}, ["auth.password"]),
        ({"auth": {"postgresPassword": "geheim", "rootpassword": "x"}}, ["auth.postgresPassword", "auth.rootpassword"]),
        ({"users": [{"name": "a", "api-key": "geheim"}]}, ["users[0].api-key"]),
        ({"clientSecret": "x", "accessKey": "x", "API_TOKEN": 1234}, ["clientSecret", "accessKey", "API_TOKEN"]),
        ({"env": [{"name": "DB_PASSWORD", "value": "geheim"}]}, ["env[0].value of DB_PASSWORD"]),
        ({"database": {"url": "postgres://me:gehe/im@db/x"}}, ["database.url"]),
        ({"args": ["--db=mysql://me:geheim@db/x"]}, ["args[0]"]),
        ({"password": "", "token": None, "automountServiceAccountToken": True, "secret": {"create": True}}, []),
        ({"existingSecret": "a", "imagePullSecret": "a", "tlsSecret": "a", "secretName": "a", "passwordKey": "a"}, []),
        ({"tokens": ["a"], "tokenizer": "a", "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {}}}]}, []),
        ({"url": "https://a.example:8080/a@b", "mail": "a@b"}, []),
        ("text", []),
    ],
)  # fmt: skip
def test_secrets_are_told_by_key_and_by_shape(values: Any, paths: list[str]) -> None:
    assert list(secrets_in(values)) == paths


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"valuesContent": "auth: {password: geheim}"}, "valuesContent, auth.password"),
        ({"values": {"auth": {"password": "geheim"}}}, "values, auth.password"),
        ({"set": {"auth.password": "geheim"}}, "set, auth.password"),
    ],
)
@pytest.mark.parametrize("kind", ["HelmChart", "HelmChartConfig"])
def test_values_of_hand_written_objects_are_looked_at(kind: str, spec: dict[str, Any], place: str) -> None:
    item = {"apiVersion": "helm.cattle.io/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    notes = walk(read_objects(yaml.safe_dump(item).encode(), "a.yaml")).notes
    (note,) = [note for note in notes if "looks like a secret" in note]
    assert note.startswith(f"a.yaml: {kind} a, {place} looks like a secret, and lies in the bundle as it is")
    assert "geheim" not in note
