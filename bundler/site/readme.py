"""README.txt: what a person reads who finds the stick in a drawer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.model.bundle import Bundle

_TEXT = """\
k3s {release} for {architectures}, with everything it needs: recipe "{name}"

INSTALL  (as root, in this folder; no network needed)

    sh install.sh --check               say what would stand in the way, change nothing
    sh install.sh                       a server
    sh install.sh --help                everything else

Variables of the installer at get.k3s.io (INSTALL_K3S_EXEC, K3S_TOKEN, ...) mean the same here.

ANOTHER NODE

    K3S_URL=https://SERVER:6443 K3S_TOKEN=TOKEN sh install.sh agent

    SERVER is the name or address of the server, TOKEN is in /var/lib/rancher/k3s/server/node-token there.

AFTERWARDS

    k3s kubectl get nodes               on a server: every node, and whether it is ready
    sh install.sh --status              what is installed here, and whether it still is as it was
    sh install.sh --rollback            go back to what the last install replaced
    sh install.sh --uninstall           remove k3s and its data

CHECK THIS COPY

    sh install.sh --verify              every file, and that none is missing or extra; changes nothing
    sha256sum -c SHA256SUMS             without the installer

WHEN IT FAILS

    The installer checks everything before the first change and says what is wrong and what to do.
    A file named in a checksum error was damaged on the way: copy the bundle again.

{asked}INSIDE

{content}
"""

_ASKED = """\
FILL IN

    /etc/rancher/k3s/registries.yaml of every node has empty places that nothing but the site knows. Write them there
    after the install and restart k3s (systemctl restart k3s, or k3s-agent; with OpenRC rc-service k3s restart). The
    file is kept by later installs.

{lines}

"""


def readme_text(bundle: Bundle) -> bytes:
    """Write README.txt for `bundle`."""
    lines = [f"    {binary.path:<52} k3s, {_mebibytes(binary.size)}" for binary in bundle.binaries]
    for archive in bundle.archives:
        lines.append(f"    {archive.path:<52} {len(archive.images)} images, {_mebibytes(archive.unpacked)} unpacked")
        lines += [f"        {image.name}" for image in archive.images]
    architectures = ", ".join(binary.arch for binary in bundle.binaries)
    asked = "\n".join(f"    {key} of {registry}" for registry, _, key in (each.partition(" ") for each in bundle.asked))
    text = _TEXT.format(
        release=bundle.release,
        architectures=architectures,
        name=bundle.name,
        asked=_ASKED.format(lines=asked) if asked else "",
        content="\n".join(lines),
    )
    return text.encode()


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
