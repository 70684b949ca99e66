"""Packed charts for tests, made by hand as `helm package` makes them."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEMPLATE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ .Release.Name }}"}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
        - {name: main, image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}
"""
PLAIN = TEMPLATE.replace("{{ .Release.Name }}", "plain").replace(
    "{{ .Values.image.repository }}:{{ .Values.image.tag }}", "docker.io/example/hello:1.0"
)
VALUES = "image: {repository: docker.io/example/hello, tag: '1.0'}\n"


def chart(files: Mapping[str, str | bytes], *, name: str = "app", version: str = "1.0.0") -> bytes:
    """Pack a chart of these files, with a Chart.yaml unless they have one."""
    about = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n"}
    return packed({f"{name}/{path}": text for path, text in {**about, **files}.items()})


def packed(files: Mapping[str, str | bytes]) -> bytes:
    """Write a .tgz, the same bytes for the same files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(raw.getvalue(), mtime=0)


def packed_folder(folder: Path, name: str) -> bytes:
    """Pack the chart in `folder` as `helm package` would, but the same bytes for the same files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return chart({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}, name=name)
