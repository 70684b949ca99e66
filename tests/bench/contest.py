"""Everything that is measured, ours and theirs, each as one function that prepares, runs and gives the figures.

They run in this order in every round, so that what disturbs the machine disturbs neighbours alike. Some go on with what
one before them made.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from bundler.model.lock import LayerForm
from bundler.model.recipe import Pack
from tests.bench import fetch
from tests.bench.arena import LATER, NOW
from tests.bench.measure import Measured, size_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.arena import Arena

LEVEL = Pack().level
"""The product's default zstd level."""

HELP_RUNS = 5


@dataclass(frozen=True)
class Contestant:
    """`run` prepares (not measured), measures and tidies up."""

    name: str
    what: str
    run: Callable[[Arena], Measured]


def _images(arena: Arena) -> str:
    return " ".join(image.path for image in arena.corpus.images)


def curl(arena: Arena) -> Measured:
    urls = "\n".join(f"{arena.registry.url}/v2/{name}/blobs/{digest}" for name, digest in arena.corpus.blobs)
    arena.path("urls").write_text(urls)
    return arena.shell("xargs -P2 -n1 curl -sSf -o /dev/null < urls")


def own_fetch(arena: Arena) -> Measured:
    sizes = {layer.digest: layer.size for layer in arena.corpus.layers}
    arena.path("blobs").write_text("".join(f"{name} {each} {sizes[each]}\n" for name, each in arena.corpus.blobs))
    arena.clear("fetched")
    measured = arena.shell(f"python '{fetch.__file__}' {arena.registry.url} fetched < blobs", "fetched")
    arena.clear("fetched")
    return measured


def own_start(arena: Arena) -> Measured:
    """What Python and its modules cost before the first byte: the same program with nothing to bring."""
    arena.clear("nothing")
    measured = arena.shell(f"python '{fetch.__file__}' {arena.registry.url} nothing < /dev/null", "nothing")
    arena.clear("nothing")
    return measured


_SKOPEO = 'for i in {images}; do skopeo copy -q --src-tls-verify=false docker://$HOST/$i "oci:layout:$i"; done'


def skopeo(arena: Arena) -> Measured:
    arena.clear("layout")
    return arena.shell(_SKOPEO.format(images=_images(arena)), "layout")


def skopeo_tar(arena: Arena) -> Measured:
    arena.clear("layout")
    measured = arena.shell(f"{_SKOPEO.format(images=_images(arena))}; tar -cf gzip.tar -C layout .", "gzip.tar")
    arena.clear("layout")
    return measured


def gzip_zstd(arena: Arena) -> Measured:
    arena.clear("layout", "gzip.tar.zst")
    script = (
        f"{_SKOPEO.format(images=_images(arena))}; tar -cf - -C layout . | zstd -q -T0 -16 --long=25 -o gzip.tar.zst"
    )
    measured = arena.shell(script, "gzip.tar.zst")
    arena.clear("layout", "gzip.tar.zst")
    return measured


def parts(arena: Arena) -> Measured:
    """What the pipeline is made of, as tools of the system: fetch, gunzip, zstd, a layer at a time on two cores."""
    arena.clear("parts")
    arena.path("parts").mkdir()
    lines = "\n".join(f"{arena.registry.url}/v2/{name}/blobs/{digest}" for name, digest in arena.corpus.blobs)
    arena.path("urls").write_text(lines)
    one = f'curl -sSf "$0" | gzip -dc | zstd -q -{LEVEL} --long=25 --single-thread -o parts/${{0##*:}}'
    measured = arena.shell(f"xargs -P2 -n1 sh -euc '{one}' < urls", "parts")
    arena.clear("parts")
    return measured


def own_cold(arena: Arena) -> Measured:
    arena.clear("zstd", "dist-zstd", "bench.lock.json")
    return arena.build(NOW, "zstd", "--engine", "registry")


def own_unchanged(arena: Arena) -> Measured:
    return arena.build(NOW, "zstd", "--engine", "registry")


def own_one_changed(arena: Arena) -> Measured:
    measured = arena.build(LATER, "zstd", "--engine", "registry")
    arena.clear("zstd", "bench.lock.json")
    return measured


def own_verify(arena: Arena) -> Measured:
    bundle = arena.bundle("zstd")
    measured = arena.own("verify", "-q", bundle)
    return Measured(measured.wall, measured.cpu, measured.peak, hashed_bytes(bundle))


def hashed_bytes(bundle: Path) -> int:
    """Bytes that `verify` hashes: every file, and within the archives every blob."""
    return size_of(bundle) + size_of(bundle / "images")


def own_registry_form(arena: Arena) -> Measured:
    arena.clear("registry-form", "dist-registry-form", "bench.lock.json")
    measured = arena.build(NOW, "registry-form", "--engine", "registry", "--layers", "registry")
    arena.clear("registry-form", "dist-registry-form", "bench.lock.json")
    return measured


def own_docker(arena: Arena) -> Measured:
    arena.clear("docker", "dist-docker", "bench.lock.json")
    measured = arena.build(NOW, "docker", "--engine", "docker", daemons=arena.docker)
    arena.clear("docker", "dist-docker", "bench.lock.json")
    return measured


_PULL = "printf '%s\\n' {images} | xargs -P4 -I@ docker pull -q $HOST/@; docker save $(printf \"$HOST/%s \" {images})"


def docker_save(arena: Arena) -> Measured:
    return _docker(arena, "-o plain.tar", "plain.tar")


def docker_zstd(arena: Arena) -> Measured:
    return _docker(arena, "| zstd -q -T0 -16 --long=25 -o plain.tar.zst", "plain.tar.zst")


def _docker(arena: Arena, rest: str, output: str) -> Measured:
    arena.empty_engine()
    arena.clear(output)
    script = f"export DOCKER_HOST={arena.engine.host}\n{_PULL.format(images=_images(arena))} {rest}"
    measured = arena.shell(script, output, daemons=arena.docker)
    arena.empty_engine()
    if output == "plain.tar.zst":
        arena.clear(output)
    return measured


def own_help(arena: Arena) -> Measured:
    runs = [arena.own("--help") for _ in range(HELP_RUNS)]
    return min(runs, key=lambda run: abs(run.wall - statistics.median(each.wall for each in runs)))


def own_import(arena: Arena) -> Measured:
    (archive,) = (arena.bundle("zstd") / "images").iterdir()
    return _import(arena, archive, "--no-unpack")


def own_import_unpack(arena: Arena) -> Measured:
    (archive,) = (arena.bundle("zstd") / "images").iterdir()
    return _import(arena, archive, "")


def gzip_import(arena: Arena) -> Measured:
    return _import(arena, arena.path("gzip.tar"), "--no-unpack")


def gzip_import_unpack(arena: Arena) -> Measured:
    return _import(arena, arena.path("gzip.tar"), "")


def plain_import(arena: Arena) -> Measured:
    return _import(arena, arena.path("plain.tar"), "--no-unpack")


def _import(arena: Arena, archive: Path, option: str) -> Measured:
    """`ctr images import` into an empty containerd; the size is what the content store grew by."""
    content = arena.containerd.directory / "root/io.containerd.content.v1.content/blobs"
    before = size_of(content)
    daemon = arena.containerd.process.pid
    ctr = f"ctr --address {arena.containerd.address} --namespace k8s.io"
    measured = arena.shell(f"{ctr} images import --all-platforms {option} '{archive}'", daemons=(daemon,))
    size = size_of(content) - before
    names = arena.containerd.image_names()
    arena.containerd.ctr("images", "remove", "--sync", *names)
    return Measured(measured.wall, measured.cpu, measured.peak, size)


_FORMS = (
    (Contestant("own-registry-form", "k3s-bundler, registry layers, cold", own_registry_form),)
    if "registry" in get_args(LayerForm)
    else ()
)

CONTESTANTS = (
    Contestant("curl", "curl every layer to /dev/null, 2 at a time", curl),
    Contestant("own-fetch", "k3s-bundler's download of every layer", own_fetch),
    Contestant("own-start", "the same without a layer: the start of Python", own_start),
    Contestant("skopeo", "skopeo copy to an OCI layout", skopeo),
    Contestant("skopeo-tar", "skopeo copy, then tar", skopeo_tar),
    *_FORMS,
    Contestant("parts", f"curl, gzip -d, zstd -{LEVEL} --long=25, 2 at a time", parts),
    Contestant("own-cold", "k3s-bundler, registry engine, cold", own_cold),
    Contestant("own-unchanged", "k3s-bundler, nothing changed", own_unchanged),
    Contestant("own-verify", "k3s-bundler verify", own_verify),
    Contestant("docker-save", "docker pull, docker save", docker_save),
    Contestant("own-docker", "k3s-bundler, Docker engine, cold", own_docker),
    Contestant("gzip-import", "ctr import, gzip layers", gzip_import),
    Contestant("own-import", "ctr import, k3s-bundler's archive", own_import),
    Contestant("plain-import", "ctr import, docker save's archive", plain_import),
    Contestant("gzip-import-unpack", "ctr import and unpack, gzip layers", gzip_import_unpack),
    Contestant("own-import-unpack", "ctr import and unpack, k3s-bundler's archive", own_import_unpack),
    Contestant("own-one-changed", "k3s-bundler, one image changed", own_one_changed),
    Contestant("own-help", "k3s-bundler --help", own_help),
    Contestant("gzip-zstd", "skopeo copy, tar, zstd -T0 -16 --long=25", gzip_zstd),
    Contestant("docker-zstd", "docker pull, docker save, zstd -T0 -16 --long=25", docker_zstd),
)
