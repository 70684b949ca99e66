"""The store: only whole things under their digest, whatever happens to the processes that use it."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.errors import CacheDamagedError, HostError
from bundler.model.digest import digest_of, hex_of
from bundler.model.lock import PackedLayer
from bundler.progress import Silent
from bundler.store.care import prune, usage, verify_all
from bundler.store.store import Store, open_store, write_file
from tests.store.children import AS_NOBODY, finish, start

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = b"a blob " * 1000
KEY = digest_of(b"how a layer was packed")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "cache")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_was_put_is_there_whole_and_readable_by_all(store: Store) -> None:
    digest = store.put(DATA)
    assert digest == f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    assert store.has(digest)
    assert store.verified(digest)
    assert store.read(digest) == DATA
    assert store.path(digest).stat().st_mode & 0o777 == 0o644
    assert files_in(store.root) == ["CACHEDIR.TAG", f"blobs/sha256/{hex_of(digest)}"]


def test_the_tag_by_which_backup_programs_leave_a_cache_out_begins_with_the_signature(store: Store) -> None:
    # bford.info/cachedir: the first 43 bytes are these, MD5 of ".IsCacheDirectory".
    signature = hashlib.md5(b".IsCacheDirectory", usedforsecurity=False).hexdigest()
    assert (store.root / "CACHEDIR.TAG").read_bytes().startswith(f"Signature: {signature}\n".encode())


def test_a_writer_that_is_left_without_commit_leaves_nothing(store: Store) -> None:
    with store.writer() as writer:
        writer.write(DATA)
    with suppress(RuntimeError), store.writer() as writer:
        writer.write(DATA)
        raise RuntimeError
    assert files_in(store.root) == ["CACHEDIR.TAG"]


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA + b"x", b"X" + DATA[1:]])
def test_a_damaged_blob_is_thrown_away_when_it_is_verified_and_healed_when_it_is_put_again(
    damage: bytes, store: Store
) -> None:
    digest = store.put(DATA)
    store.path(digest).write_bytes(damage)
    assert not store.verified(digest)
    assert not store.has(digest)
    store.put(DATA)
    assert store.verified(digest)


def test_a_blob_that_went_away_is_an_error_that_says_so(store: Store) -> None:
    digest = store.put(DATA)
    store.remove(digest)
    store.remove(digest)
    assert not store.verified(digest)
    with pytest.raises(CacheDamagedError, match=digest):
        store.read(digest)


def test_many_processes_putting_the_same_blobs_leave_each_once_and_whole(store: Store) -> None:
    script = """
    store = open_store(root)
    for number in range(30):
        data = b"%d " % (number % 5) * 20000
        digest = store.put(data)
        assert store.verified(digest), digest
    """
    for child in [start(script, store.root) for _ in range(4)]:
        finish(child)
    blobs = files_in(store.root / "blobs")
    assert len(blobs) == 5
    assert verify_all(store, Silent()) == ()
    assert files_in(store.root / "tmp") == []


def test_one_process_at_a_time_has_a_partial_however_often_it_changes_hands(store: Store) -> None:
    script = """
    store = open_store(root)
    for number in range(150):
        with store.partial(Digest(sys.argv[2])) as part:
            mark = os.open(root / "inside", os.O_CREAT | os.O_EXCL)  # fails when another is inside
            time.sleep(0.0005)
            (root / "inside").unlink()
            os.close(mark)
    """
    for child in [start(script, store.root, KEY) for _ in range(4)]:
        finish(child)
    assert files_in(store.root / "partial") == []


def test_a_partial_stays_for_the_next_run_and_is_adopted_when_it_is_whole(store: Store) -> None:
    digest = digest_of(DATA)
    with store.partial(digest) as part:
        part.write_bytes(DATA[:100])
    with store.partial(digest) as part:
        assert part.read_bytes() == DATA[:100]
        part.write_bytes(DATA)
        store.adopt(part, digest)
    assert store.verified(digest)
    assert files_in(store.root / "partial") == []


def test_who_waited_for_a_partial_finds_the_blob_there(store: Store) -> None:
    digest = digest_of(DATA)
    script = """
    store = open_store(root)
    print("waiting", flush=True)
    with store.partial(Digest(sys.argv[2])) as part:
        print(store.has(Digest(sys.argv[2])))
    """
    with store.partial(digest) as part:
        child = start(script, store.root, digest)
        assert child.stdout
        assert child.stdout.readline() == "waiting\n"
        part.write_bytes(DATA)
        store.adopt(part, digest)
    assert finish(child) == "True"


def test_a_killed_holder_of_a_partial_blocks_nobody_and_its_bytes_stay(store: Store) -> None:
    script = """
    store = open_store(root)
    with store.partial(Digest(sys.argv[2])) as part:
        part.write_bytes(b"half")
        print("inside", flush=True)
        sys.stdin.read()
    """
    child = start(script, store.root, KEY)
    with child:
        assert child.stdout
        assert child.stdout.readline() == "inside\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    with store.partial(KEY) as part:
        assert part.read_bytes() == b"half"


def test_a_killed_writer_leaves_nothing_once_the_store_is_opened_again(store: Store) -> None:
    script = """
    store = open_store(root)
    with store.writer() as writer:
        writer.write(b"x" * 3000000)
        print("written", flush=True)
        sys.stdin.read()
    """
    with ExitStack() as stack:
        dead, alive = (stack.enter_context(start(script, store.root)) for _ in range(2))
        for child in (dead, alive):
            assert child.stdout
            assert child.stdout.readline() == "written\n"
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        open_store(store.root)
        assert [name.partition("-")[0] for name in files_in(store.root / "tmp")] == [str(alive.pid)]
        assert files_in(store.root / "blobs") == []
        finish(alive)
    assert files_in(store.root / "tmp") == []


def test_a_writer_in_another_container_is_not_taken_for_a_dead_one(store: Store) -> None:
    script = """
    os.getpid = lambda: 4194305  # as in a PID namespace of its own: nobody here has this number
    store = open_store(root)
    with store.writer() as writer:
        writer.write(b"from a container")
        print("written", flush=True)
        sys.stdin.read()
        print(writer.commit())
    """
    with start(script, store.root) as child:
        assert child.stdout
        assert child.stdout.readline() == "written\n"
        open_store(store.root)
        digest = finish(child)
    assert digest == digest_of(b"from a container")
    assert store.read(digest_of(b"from a container")) == b"from a container"


def test_stores_opened_all_the_time_take_nothing_from_those_who_write(store: Store) -> None:
    script = """
    for number in range(200):
        open_store(root).put(b"%d" % number)
    """
    for child in [start(script, store.root) for _ in range(3)]:
        finish(child)
    assert len(files_in(store.root / "blobs")) == 200
    assert files_in(store.root / "tmp") == []


def test_a_process_killed_at_any_moment_leaves_only_whole_blobs(store: Store) -> None:
    script = """
    store = open_store(root)
    print("go", flush=True)
    for number in range(100000):
        store.put(b"%d " % number * 30000)
    """
    for delay in (0.0, 0.003, 0.01, 0.03, 0.05, 0.08):
        with start(script, store.root) as child:
            assert child.stdout
            child.stdout.readline()
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert verify_all(store, Silent()) == ()
    open_store(store.root)
    assert files_in(store.root / "tmp") == []


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(store: Store) -> None:
    script = """
    store = open_store(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    for act in (
        lambda: store.put(bytes(1_000_000)),
        lambda: store.put(bytes(100_001)),
        lambda: write_file(root / "locks" / "some.lock.json", bytes(1_000_000)),
    ):
        try:
            act()
        except BundlerError as error:
            print(error.name, error.exit_code)
    store.put(b"small")
    """
    assert finish(start(script, store.root)).splitlines() == ["disk-full 5"] * 3
    assert files_in(store.root) == ["CACHEDIR.TAG", f"blobs/sha256/{hex_of(digest_of(b'small'))}"]


def test_a_file_is_replaced_whole_or_stays_as_it_was(store: Store) -> None:
    path = store.locks / "edge.lock.json"
    write_file(path, b"old")
    script = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_file(root / "locks" / "edge.lock.json", bytes(5000))
    except BundlerError as error:
        print(error.name)
    """
    assert finish(start(script, store.root)) == "disk-full"
    assert path.read_bytes() == b"old"
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert files_in(store.locks) == ["edge.lock.json"]


@pytest.mark.parametrize(
    "script",
    ["open_store(root)", "open_store(root / 'inside')", "write_file(root / 'some.lock.json', b'x')"],
)
def test_a_folder_of_another_user_is_an_error_that_names_it(script: str, open_folder: Path) -> None:
    cache = open_folder / "cache"
    open_store(cache)
    for folder in (cache, *cache.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o555)
    attempt = f"""
try:
    {script}
except BundlerError as error:
    print(error.name, str(root) in error.what, error.exit_code)
"""
    assert finish(start(AS_NOBODY + attempt, cache)) == "not-writable True 5"
    for folder in (cache, *cache.rglob("*")):
        folder.chmod(0o755)


def test_a_blob_that_may_not_be_read_is_an_error_that_names_it(open_folder: Path) -> None:
    store = open_store(open_folder / "cache")
    digest = store.put(DATA)
    store.path(digest).chmod(0)
    attempt = """
from bundler.store.store import Store
digest = Digest(sys.argv[2])
for act in (Store(root).verified, Store(root).read):
    try:
        act(digest)
    except BundlerError as error:
        print(error.name)
"""
    assert finish(start(AS_NOBODY + attempt, store.root, digest)).split() == ["not-writable"] * 2


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(HostError):
        open_store(tmp_path / "cache")


# Records of packed layers


def packed(store: Store) -> PackedLayer:
    layer = PackedLayer(diff_id=KEY, digest=store.put(DATA), size=len(DATA), unpacked_size=9)
    store.remember_packed_layer(KEY, layer)
    return layer


def test_a_record_is_found_as_long_as_its_blob_is_there(store: Store) -> None:
    layer = packed(store)
    assert store.packed_layer(KEY) == layer
    assert store.packed_layer(digest_of(b"another")) is None
    store.remove(layer.digest)
    assert store.packed_layer(KEY) is None


def test_a_record_of_a_blob_of_another_size_is_none(store: Store) -> None:
    layer = packed(store)
    store.remember_packed_layer(KEY, layer.model_copy(update={"size": layer.size + 1}))
    assert store.packed_layer(KEY) is None
    store.remember_packed_layer(KEY, layer)
    store.path(layer.digest).write_bytes(DATA[:-1])
    assert store.packed_layer(KEY) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=300) | st.integers(0, 250).map(lambda end: b'{"diffId": "sha256:%s"' % (b"0" * end)))
def test_a_malformed_record_is_no_record_and_is_written_anew(data: bytes, store: Store) -> None:
    layer = packed(store)
    (store.root / "layers" / f"{hex_of(KEY)}.json").write_bytes(data)
    assert store.packed_layer(KEY) is None
    store.remember_packed_layer(KEY, layer)
    assert store.packed_layer(KEY) == layer


def test_a_record_with_a_path_for_a_digest_leads_nowhere(store: Store) -> None:
    record = store.root / "layers" / f"{hex_of(KEY)}.json"
    record.write_text('{"diffId":"sha256:x","digest":"sha256:../../../etc/passwd","size":1,"unpackedSize":1}')
    assert store.packed_layer(KEY) is None


# Care


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_usage_counts_files_and_bytes_by_kind(store: Store) -> None:
    packed(store)
    with store.partial(digest_of(b"other")) as part:
        part.write_bytes(b"12345")
    found = {kind.name: (kind.files, kind.size) for kind in usage(store)}
    record = (store.root / "layers" / f"{hex_of(KEY)}.json").stat().st_size
    assert found == {"blobs": (1, len(DATA)), "layers": (1, record), "partial": (2, 5), "locks": (0, 0)}


def test_verify_all_names_the_damaged_blobs_and_keeps_the_rest(store: Store) -> None:
    good, bad = store.put(b"good"), store.put(b"bad")
    store.path(bad).write_bytes(b"worse")
    (store.root / "blobs" / "sha256" / ".nfs0001").write_bytes(b"left by the file system")
    assert verify_all(store, Silent()) == (bad,)
    assert store.has(good)
    assert not store.has(bad)
    assert verify_all(store, Silent()) == ()


def test_prune_counts_first_and_removes_only_what_was_not_used_since(store: Store) -> None:
    old, new = store.put(b"old!"), store.put(b"new")
    write_file(store.locks / "edge.lock.json", b"{}")
    for path in (store.path(old), store.locks / "edge.lock.json"):
        age(path, 5000)
    before = time.time() - 1000
    freed = prune(store, before, remove=False)
    assert (freed.files, freed.size) == (1, 4)
    assert store.has(old)
    assert prune(store, before, remove=True) == freed
    assert not store.has(old)
    assert store.has(new)
    assert (store.locks / "edge.lock.json").exists()
    assert prune(store, before, remove=True).files == 0


def test_prune_keeps_what_a_build_of_today_used_although_it_was_made_long_ago(store: Store) -> None:
    layer = packed(store)
    for path in (store.path(layer.digest), *(store.root / "layers").iterdir()):
        age(path, 5000)
    assert store.packed_layer(KEY) == layer
    store.open(layer.digest).close()
    assert prune(store, time.time() - 1000, remove=True).files == 0
    assert store.packed_layer(KEY) == layer


def test_care_goes_on_while_others_write_and_remove(store: Store) -> None:
    script = """
    from contextlib import suppress
    store = open_store(root)
    print("go", flush=True)
    for number in range(400):
        digest = store.put(b"%d" % number)
        with store.partial(digest):
            pass
        store.remove(digest)
    """
    child = start(script, store.root)
    assert child.stdout
    child.stdout.readline()
    rounds = 0
    while child.poll() is None:
        usage(store)
        prune(store, 0, remove=True)
        verify_all(store, Silent())
        rounds += 1
    finish(child)
    assert rounds > 3


def test_prune_says_what_it_may_not_remove(open_folder: Path) -> None:
    store = open_store(open_folder / "cache")
    digest = store.put(DATA)
    script = """
from bundler.store.store import Store
try:
    prune(Store(root), time.time() + 10, remove=True)
except BundlerError as error:
    print(error.name)
"""
    store.path(digest).parent.chmod(0o555)
    assert finish(start(AS_NOBODY + script, store.root)) == "not-writable"
    store.path(digest).parent.chmod(0o755)
    assert store.has(digest)
