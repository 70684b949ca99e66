"""A containerd that is told what k3s would tell it of a registries.yaml, and pulls as a kubelet does.

k3s itself is not here: `host_files` follows its rules (k3s pkg/agent/containerd/config.go and pkg/agent/templates, read
at 866d743e5). Two things are patches of k3s's own containerd, which Debian's does not have: rewrites, and that a
hosts.toml without `server` means that the registry itself is not asked (k3s-io/k3s#9728); Debian's asks it last.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import urlsplit

import grpc
import yaml

from tests.real.containerd import Containerd

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONFIGURATION = """\
version = 2
root = {root}
state = {state}
[grpc]
address = {address}
[plugins."io.containerd.internal.v1.opt"]
path = {opt}
[plugins."io.containerd.grpc.v1.cri"]
stream_server_address = "127.0.0.1"
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {certs}
"""

_PULL = "/runtime.v1.ImageService/PullImage"


class PullError(Exception):
    """The pull failed; the message is what a kubelet would show."""


class NodeContainerd(Containerd):
    """`with NodeContainerd(directory, registries, {}) as node: node.pull("docker.io/library/app:1")`."""

    PACKAGES: ClassVar = Containerd.PACKAGES

    def __init__(self, directory: Path, registries: bytes, config: Mapping[str, Any], root: Path) -> None:
        """Take the content of registries.yaml and config.yaml; files they name lie below `root`."""
        super().__init__(directory)
        self._registries = yaml.safe_load(registries) or {}
        self._config, self._root = config, root

    def __enter__(self) -> Self:
        """Write what k3s would write, then start."""
        without_default = self._config.get("disable-default-registry-endpoint") is True
        for host, text in host_files(self._registries, without_default, self._root).items():
            folder = self.directory / "certs.d" / host
            folder.mkdir(parents=True)
            (folder / "hosts.toml").write_text(text)
        return super().__enter__()

    def _configuration(self, state: Path) -> str:
        lines = _CONFIGURATION.format(
            root=_quoted(self.directory / "root"),
            state=_quoted(state),
            address=_quoted(self.address),
            opt=_quoted(self.directory / "opt"),
            certs=_quoted(self.directory / "certs.d"),
        )
        for host, config in self._registries.get("configs", {}).items():
            if "auth" in config:
                lines += f'[plugins."io.containerd.grpc.v1.cri".registry.configs.{_quoted(host)}.auth]\n'
                names = {"identity_token": "identitytoken"}
                lines += "".join(f"{names.get(key, key)} = {_quoted(value)}\n" for key, value in config["auth"].items())
        return lines

    def pull(self, reference: str) -> None:
        """Pull by the CRI (PullImageRequest{image: {image: reference}}), as a kubelet does; raises PullError."""
        with grpc.insecure_channel(f"unix:{self.address}") as channel:
            call = channel.unary_unary(_PULL, request_serializer=bytes, response_deserializer=bytes)
            try:
                call(_field(_field(reference.encode())), timeout=120)
            except grpc.RpcError as error:
                raise PullError(str(error)) from None


def host_files(registries: Mapping[str, Any], without_default: bool, root: Path) -> dict[str, str]:  # noqa: FBT001
    """Give the hosts.toml of each host, as getHostConfigs and HostsTomlTemplate make them."""
    configs, mirrors = registries.get("configs", {}), registries.get("mirrors", {})
    files = {}
    for host in sorted({*configs, *mirrors}):
        endpoints = (mirrors.get(host) or {}).get("endpoint", [])
        own = configs.get(host, {})
        default: str | None = "" if host == "*" else _v2(f"https://{_default_host(host)}")
        if host in mirrors and host not in configs and without_default:
            default = None
        if not endpoints and not own:
            continue  # k3s deletes what would say nothing
        text = f'server = "{default}"\ncapabilities = ["pull", "resolve", "push"]\n' if default is not None else ""
        text += _tls(own.get("tls", {}), root) + "[host]\n"
        for endpoint in endpoints:
            url = _v2(endpoint)
            override = "" if urlsplit(url).path == "/v2" else "override_path = true\n"
            tls = configs.get(urlsplit(endpoint).netloc, {}).get("tls", {})
            text += f'[host."{url}"]\ncapabilities = ["pull", "resolve"]\n{override}{_tls(tls, root)}'
        files["_default" if host == "*" else host] = text
    return files


def _default_host(host: str) -> str:
    return "registry-1.docker.io" if host == "docker.io" else host


def _v2(url: str) -> str:
    return f"{url.rstrip('/')}/v2" if urlsplit(url).path in {"", "/", "/v2"} and not url.endswith("/v2") else url


def _tls(tls: Mapping[str, Any], root: Path) -> str:
    lines = ""
    if "ca_file" in tls:
        lines += f"ca = [{_quoted(root / tls['ca_file'].lstrip('/'))}]\n"
    if "cert_file" in tls:
        pair = ", ".join(_quoted(root / tls[key].lstrip("/")) for key in ("cert_file", "key_file"))
        lines += f"client = [[{pair}]]\n"
    return lines + ("skip_verify = true\n" if tls.get("insecure_skip_verify") else "")


def _quoted(text: object) -> str:
    return json.dumps(str(text))


def _field(content: bytes) -> bytes:
    """Write field 1 of a protobuf message, of less than 128 bytes."""
    assert len(content) < 128
    return bytes([0x0A, len(content)]) + content
