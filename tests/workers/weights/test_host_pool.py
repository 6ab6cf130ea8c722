"""A host's worker processes share weights in memory; one that is killed leaves nothing half or stuck."""

from __future__ import annotations

import mmap
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.weights.host_pool import HostPool
from workers.weights.weight_file import read_past_cache

_ROOT = Path(__file__).parents[3]
_SIZE = 300_000


def _write(path: Path, content: bytes = b"w" * _SIZE) -> Path:
    path.write_bytes(content)
    return path


def _reading(path: Path) -> Callable[[mmap.mmap], None]:
    return lambda target: read_past_cache(path, target)


def _never(target: mmap.mmap) -> None:
    raise AssertionError("the disk was read again")


@contextmanager
def _running(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a process until the block's end; `_is_there` awaits that it is where it is wanted."""
    program = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    with subprocess.Popen(program, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _is_there(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "there\n"


_USER = """
import sys
from pathlib import Path
from workers.weights.host_pool import HostPool
def fill(target):
    target[:] = Path(sys.argv[2]).read_bytes()
held = HostPool(Path(sys.argv[1]), 10**9).take(Path(sys.argv[2]), fill)
print("there", flush=True)
sys.stdin.read()
"""
_KILLED = """
import sys
from pathlib import Path
from workers.weights.host_pool import HostPool
def fill(target):
    target[:10] = b"half of it"
    print("there", flush=True)
    sys.stdin.read()
HostPool(Path(sys.argv[1]), 10**9).take(Path(sys.argv[2]), fill)
"""


def test_a_second_process_reads_no_disk_and_is_not_told_of_changes(tmp_path: Path) -> None:
    file, root = _write(tmp_path / "a"), tmp_path / "pool"
    with _running(_USER, root, file) as process:
        assert _is_there(process)
    pool = HostPool(root, 10**9)
    first = pool.take(file, _never)
    assert first is not None
    assert pool.served_bytes == _SIZE
    assert first[:] == b"w" * _SIZE
    first[:5] = b"fused"
    second = HostPool(root, 10**9).take(file, _never)
    assert second is not None
    assert second[:5] == b"wwwww"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {stat.S_IMODE(entry.stat().st_mode) for entry in root.iterdir()} == {0o600}


def test_a_process_killed_while_it_fills_leaves_nothing_for_others_to_stumble_over(tmp_path: Path) -> None:
    file, root = _write(tmp_path / "a"), tmp_path / "pool"
    with _running(_KILLED, root, file) as killed:
        assert _is_there(killed)
    assert list(root.glob("*.partial"))
    mapped = HostPool(root, 10**9).take(file, _reading(file))
    assert mapped is not None
    assert mapped[:] == b"w" * _SIZE
    assert not list(root.glob("*.partial"))


def test_a_changed_file_is_another_one(tmp_path: Path) -> None:
    pool, file = HostPool(tmp_path / "pool", 10**9), _write(tmp_path / "a")
    assert pool.take(file, _reading(file)) is not None
    assert pool.served_bytes == 0
    _write(tmp_path / "b", b"v" * _SIZE).replace(file)
    mapped = pool.take(file, _reading(file))
    assert mapped is not None
    assert mapped[:] == b"v" * _SIZE


def test_the_least_recently_used_go_first_and_those_in_use_never(tmp_path: Path) -> None:
    pool = HostPool(tmp_path / "pool", 2 * _SIZE + 10)
    a, b, c, d = (_write(tmp_path / name) for name in "abcd")
    with _running(_USER, pool.root, a) as user:
        assert _is_there(user)
        for file in (b, c):
            mapped = pool.take(file, _reading(file))
            assert mapped is not None
            mapped.close()
        assert pool.take(a, _never) is not None  # b had to go, although a was used before it
        held = pool.take(c, _never)
        assert held is not None
        assert pool.take(d, _reading(d)) is None  # both are in use: who asks reads the disk
        held.close()
    assert pool.take(d, _reading(d)) is not None


def test_what_does_not_fit_is_not_taken_in(tmp_path: Path) -> None:
    file = _write(tmp_path / "a")
    assert HostPool(tmp_path / "pool", _SIZE - 1).take(file, _reading(file)) is None
    assert HostPool(tmp_path / "nowhere" / "pool", 10**9).take(file, _reading(file)) is None


def test_a_pool_shrinks_to_nothing(tmp_path: Path) -> None:
    pool, file = HostPool(tmp_path / "pool", 10**9), _write(tmp_path / "a")
    mapped = pool.take(file, _reading(file))
    assert mapped is not None
    assert pool.shrink_to(0) == _SIZE
    mapped.close()
    assert pool.shrink_to(0) == 0
    assert not list(pool.root.glob("*.weights"))


def test_of_two_that_empty_a_pool_at_once_the_later_one_drops_what_it_had_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, later, file = HostPool(tmp_path / "pool", 10**9), HostPool(tmp_path / "pool", 10**9), _write(tmp_path / "a")
    mapped = later.take(file, _reading(file))
    assert mapped is not None
    drop, emptying = pool._shrink_to, threading.Thread(target=later.empty)

    def drop_just_before_the_other_lets_go(size_bytes: int) -> int:
        left_bytes = drop(size_bytes)
        mapped.close()
        emptying.start()
        emptying.join(0.3)  # it may wait, and must not give up
        return left_bytes

    monkeypatch.setattr(pool, "_shrink_to", drop_just_before_the_other_lets_go)
    pool.empty()
    emptying.join(30)
    assert not list(pool.root.glob("*.weights"))


def test_a_folder_that_others_may_enter_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir(mode=0o755)
    file = _write(tmp_path / "a")
    assert HostPool(tmp_path / "pool", 10**9).take(file, _reading(file)) is None


def test_two_that_want_one_file_at_once_read_it_once(tmp_path: Path) -> None:
    file, root = _write(tmp_path / "a"), tmp_path / "pool"
    with _running(_USER, root, file) as one, _running(_USER, root, file) as other:
        maps = [Path(f"/proc/{user.pid}/maps").read_text().splitlines() for user in (one, other) if _is_there(user)]
        copies = [line.split()[4] for lines in maps for line in lines if ".weights" in line]  # by inode
    assert len(copies) == 2
    assert len(set(copies)) == 1
