"""The `helm` program: renders a chart on this machine, without a cluster."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import ChartError, HostError, host_error
from bundler.workloads.objects import MOST_BYTES

if TYPE_CHECKING:
    from bundler.model.release import Release

LIMIT = 300
"""Seconds; charts that are in use take one or two."""

_LONGEST_MESSAGE = 600


def render(helm: Path, chart: bytes, name: str, namespace: str, values: bytes, release: Release) -> bytes:
    """Give what the chart deploys on a cluster of that release, hooks and CRDs included, tests left out.

    No cluster is asked: `helm template` needs none, and is given no kubeconfig, repositories or plugins of the user.
    Raises ChartError, and host errors when helm cannot be run or has no room for its files.
    """
    where = Path("the folder for temporary files")
    try:
        where = Path(tempfile.gettempdir())
        with tempfile.TemporaryDirectory(prefix="k3s-bundler-") as folder:
            return _rendered(helm, Path(folder), chart, name, namespace, values, release)
    except OSError as error:
        raise host_error(error, where, hint="free some room there, or set TMPDIR to another folder") from error


def _rendered(
    helm: Path, folder: Path, chart: bytes, name: str, namespace: str, values: bytes, release: Release
) -> bytes:
    (folder / "chart.tgz").write_bytes(chart)
    (folder / "values.yaml").write_bytes(values)
    version = "v{}.{}.{}".format(*release.version)
    command = [str(helm), "template", name, "chart.tgz", "--namespace", namespace, "--values", "values.yaml"]
    command += ["--kube-version", version, "--include-crds", "--skip-tests"]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        try:
            run = subprocess.run(
                command, cwd=folder, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                timeout=LIMIT, check=False,
            )  # fmt: skip
        except OSError as error:
            raise HostError(f"{helm} cannot be run: {error.strerror}", hint="install helm again") from None
        except subprocess.TimeoutExpired:
            raise ChartError(
                f"helm took more than {LIMIT} seconds for {name}", hint="name the images under the chart's images"
            ) from None
    if run.returncode:
        said = (folder / "err").read_bytes()[-_LONGEST_MESSAGE:].decode("utf-8", "replace").strip()
        raise ChartError(f"helm cannot render {name}: {said}", hint="correct the chart or its values")
    with (folder / "out").open("rb") as rendered:
        return rendered.read(MOST_BYTES + 1)


def _environment(folder: Path) -> dict[str, str]:
    places = ("HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_PLUGINS")
    return {place: str(folder / "home") for place in places} | {"KUBECONFIG": "/dev/null", "LC_ALL": "C"}
