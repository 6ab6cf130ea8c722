"""`pressrun cache` on real folders, with models from a real bucket."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deployments import cache_command
from deployments.console import ExitCode
from pressrun.cache.chunk_manifest import SMALLEST_CHUNK_BYTES, cut, hash_of
from pressrun.location import Location
from pressrun.models.any_folder import read_any
from pressrun.models.diffusers_folder import ModelFile
from tests import runs
from tests.awaiting import until
from tests.forked_workers import workers_afresh
from tests.pressrun.models.small_model import write_model
from tests.s3_server import S3Server
from tests.workers.cache.hosts import hosts
from workers.cache import host_states
from workers.cache.chunk_store import ChunkStore
from workers.cache.filling import Filling
from workers.cache.folder_notes import note_budget
from workers.cache.revision_folder import RevisionFolder
from workers.fleet import JoinedFleet, LocalFleet
from workers.model_cache import ensure_local

HALF = "5" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache [bold]"


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a bucket that the command line reaches by the environment, as users' are."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint_url)
    return s3_server.make_bucket()


@pytest.fixture
def model(bucket: str, s3_server: S3Server, tmp_path: Path) -> str:
    write_model(tmp_path / "painter")
    runs.upload(s3_server, tmp_path / "painter", f"{bucket}/painter")
    return f"{bucket}/painter"


def listed(said: Any, root: Path) -> dict[str, Any]:
    code, out, _ = said("cache", "status", "--folder", root, "--json")
    assert code == 0
    return json.loads(out)


def half_of_a_model(store: ChunkStore) -> str:
    """Fill the first of two chunks, as somebody who was killed then, and return the revision."""
    content = bytes(SMALLEST_CHUNK_BYTES)
    files = [ModelFile("weights.safetensors", SMALLEST_CHUNK_BYTES + 5, "etag:half")]
    with store.begin(cut(Location("s3://b/half"), HALF, files)) as filling:
        filling.put(next(chunk for chunk in filling.lacking if not chunk.start), content, hash_of(content))
    return HALF


def test_a_folder_that_is_not_there_is_empty_and_stays_away(said: Any, root: Path) -> None:
    code, out, _ = said("cache", "status", "--folder", root)
    assert code == 0
    assert "0 bytes in 0 models, no limit set" in out
    assert listed(said, root)["revisions"] == []
    assert not root.exists()


@pytest.mark.parametrize("place", ["file", "file/in/it"])
def test_a_cache_folder_that_cannot_be_one_is_named_with_the_remedy(
    said: Any, tmp_path: Path, model: str, place: str
) -> None:
    (tmp_path / "file").touch()
    code, _, err = said("cache", "preload", model, "--folder", tmp_path / place)
    assert code == ExitCode.REFUSED
    assert f"The cache folder {tmp_path / place} cannot be made or written (" in err
    assert "--folder" in err


def test_a_model_is_brought_shown_and_dropped(said: Any, root: Path, model: str) -> None:
    code, out, _ = said("cache", "preload", model, "--folder", root, "--json")
    brought = json.loads(out)
    assert (code, brought["name"]) == (0, "painter")
    total = brought["traffic"]["total"]
    assert total["all_bytes"] == brought["size_bytes"]
    assert 0 < total["origin_bytes"] < total["all_bytes"]  # files of the same bytes come once
    (one,) = listed(said, root)["revisions"]
    assert (one["revision"], one["name"], one["origin"]) == (brought["revision"], "painter", model)
    assert (one["size_bytes"], one["complete"], one["in_use"], one["filling"]) == (
        brought["size_bytes"],
        True,
        False,
        False,
    )
    code, out, _ = said("cache", "preload", model, "--folder", root)
    assert (code, "all there before" in out) == (0, True)
    code, out, _ = said("cache", "status", "--folder", root)
    for text in ("painter", one["revision"][:12], "complete", "ago", "cache [bold]"):
        assert text in out
    code, out, _ = said("cache", "drop", one["revision"][:6], "--folder", root)
    assert (code, "1 model" in out) == (0, True)
    assert listed(said, root)["revisions"] == []
    assert not list(root.glob("*.model.json"))


def test_what_is_in_use_is_not_dropped(said: Any, root: Path, model: str, bucket: str, s3_server: S3Server) -> None:
    runs.upload(s3_server, runs.MODEL / "vae" / "diffusion_pytorch_model.safetensors", f"{bucket}/other/w.safetensors")
    assert said("cache", "preload", model, "--folder", root)[0] == 0
    (one,) = listed(said, root)["revisions"]
    with ChunkStore(root).pin(one["revision"]):
        assert listed(said, root)["revisions"][0]["in_use"]
        code, _, err = said("cache", "drop", one["revision"], "--folder", root)
        assert (code, "being used" in err) == (2, True)
        code, out, err = said("cache", "drop", "--all", "--folder", root)
        assert (code, "0 models" in out, "being used" in err) == (0, True, True)
    code, out, _ = said("cache", "drop", "--all", "--folder", root, "--json")
    told = json.loads(out)
    assert (code, told["dropped"], told["kept"]) == (0, [one["revision"]], [])
    assert told["freed_bytes"] == one["size_bytes"]


@pytest.mark.parametrize(
    ("arguments", "explanation"),
    [
        (["drop"], "--all"),
        (["drop", "abcdef", "--all"], "or give --all"),
        (["drop", "abcdef"], "0 revisions begin"),
        (["drop", "a"], "at least 4 digits"),
        (["preload", str(runs.MODEL)], "used in place"),
        (["preload", "nowhere"], "nowhere"),
        (["preload", "nowhere", "--budget", "much"], "--budget 'much' is no size"),
        (["shrink", "little"], "SIZE 'little' is no size"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_remedy(
    said: Any, root: Path, arguments: list[str], explanation: str
) -> None:
    code, _, err = said("cache", *arguments, "--folder", root)
    assert code == 2
    assert explanation in err


def test_the_budget_that_the_folder_was_given_is_told(said: Any, root: Path) -> None:
    root.mkdir()
    note_budget(root, 3_000_000_000)
    assert listed(said, root)["budget_bytes"] == 3_000_000_000
    assert "3 GB allowed" in said("cache", "status", "--folder", root)[1]
    note_budget(root, None)
    assert listed(said, root)["budget_bytes"] is None
    (root / "budget.json").write_text("[half")
    assert listed(said, root)["budget_bytes"] is None


def test_a_budget_needs_no_run(said: Any, root: Path, model: str) -> None:
    small = said("cache", "preload", model, "--folder", root, "--budget", "0.01KB")
    assert (small[0], "may hold 10 bytes" in small[2], root.exists()) == (ExitCode.REFUSED, True, False)
    half_of_a_model(ChunkStore(root))
    assert said("cache", "preload", model, "--folder", root, "--budget", "1MB")[0] == 0
    told = listed(said, root)
    assert ([one["name"] for one in told["revisions"]], told["budget_bytes"]) == (["painter"], 1_000_000)
    assert said("cache", "preload", model, "--folder", root, "--budget", "unlimited")[0] == 0
    assert listed(said, root)["budget_bytes"] is None


def test_a_cache_is_shrunk_as_far_as_nobody_uses_it(said: Any, root: Path, model: str) -> None:
    half_of_a_model(ChunkStore(root))
    assert said("cache", "preload", model, "--folder", root)[0] == 0
    before = listed(said, root)
    (painter,) = (one for one in before["revisions"] if one["name"] == "painter")
    code, out, _ = said("cache", "shrink", "1MB", "--folder", root, "--json")
    left = {"size_bytes": painter["size_bytes"], "freed_bytes": before["size_bytes"] - painter["size_bytes"]}
    assert (code, json.loads(out)) == (0, left)
    assert [one["revision"] for one in listed(said, root)["revisions"]] == [painter["revision"]]
    with ChunkStore(root).pin(painter["revision"]):
        code, _, err = said("cache", "shrink", 0, "--folder", root)
        assert (code, "are left, not 0 bytes: the rest is in use" in err) == (ExitCode.REFUSED, True)
    code, out, _ = said("cache", "shrink", 0, "--folder", root)
    assert (code, "0 bytes left" in out) == (0, True)
    assert (root / painter["revision"] / "manifest.json").exists()
    assert said("cache", "shrink", 0, "--folder", f"{root}s")[0] == 0
    assert not Path(f"{root}s").exists()


def test_a_cluster_s_hosts_have_it_without_a_run(said: Any, root: Path, model: str) -> None:
    fleet = LocalFleet(1)
    try:
        with workers_afresh():  # with the bucket's credentials in their environment
            fleet.open()
        address = fleet.open().scheduler.address
        code, out, err = said("cache", "preload", model, "--cluster", address, "--folder", root, "--json")
        again, out_again, _ = said("cache", "preload", model, "--cluster", address, "--folder", root)
        held = listed(said, root)["revisions"]
        everyone = list(fleet.open().scheduler_info()["workers"])
        drained = said("cache", "drain", *everyone, "--cluster", address, "--folder", root)
        wrong = said("cache", "drain", "tcp://127.0.0.1:1", "--cluster", address, "--folder", root)
        shown = said("cache", "status", "--cluster", address, "--folder", root)
        seen = json.loads(said("cache", "status", "--cluster", address, "--folder", root, "--json")[1])
        with ChunkStore(root).pin(held[0]["revision"]):
            unshrunk = said("cache", "shrink", 0, "--cluster", address, "--folder", root)
            kept = said("cache", "drop", "--all", "--cluster", address, "--folder", root)
        limited = said("cache", "preload", model, "--cluster", address, "--folder", root, "--budget", "2MB")
        until(lambda: listed(said, root)["budget_bytes"] == 2_000_000)
        shrunk = said("cache", "shrink", 0, "--cluster", address, "--folder", root, "--json")
        assert said("cache", "preload", model, "--cluster", address, "--folder", root, "--budget", "unlimited")[0] == 0
        until(lambda: listed(said, root)["budget_bytes"] is None)
        half = half_of_a_model(ChunkStore(root))
        dropped = said("cache", "drop", held[0]["revision"][:8], half, "--cluster", address, "--folder", root)
        mistyped = [said("cache", verb, "--cluster", address, "--folder", f"{root}s") for verb in ("status", "drain")]
        mistyped.append(said("cache", "drop", "--all", "--cluster", address, "--folder", f"{root}s"))
    finally:
        fleet.close()
    assert code == 0, err
    told = json.loads(out)
    assert (code, len(told["traffic"]["hosts"])) == (0, 1)
    assert told["traffic"]["total"]["all_bytes"] == told["size_bytes"]
    assert told["traffic"]["origin_copies"] == 1
    assert (again, "all there before" in out_again) == (0, True)
    assert held[0]["complete"]
    assert (drained[0], "No host stays that could take over" in drained[2]) == (1, True)
    assert (wrong[0], "Not a worker of" in wrong[2]) == (2, True)
    assert (shown[0], "painter" in shown[1], held[0]["revision"][:12] in shown[1]) == (0, True, True)
    assert [host["revisions"] for host in seen["hosts"].values()] == [held]
    (host,) = seen["hosts"].values()
    assert (host["zone"], host["keeper"] in everyone, seen["problems"]) == ("", True, {})
    assert re.fullmatch(r"127\.0\.0\.1:\d+", host["address"])
    assert f"no zone, serves chunks at {host['address']}, kept by {host['keeper']}" in shown[1]
    assert (kept[0], "0 models" in kept[1], "being used" in kept[2]) == (0, True, True)
    assert (unshrunk[0], "in use or being filled" in unshrunk[2]) == (ExitCode.REFUSED, True)
    assert (limited[0], shrunk[0]) == (0, 0)
    assert [host["size_bytes"] for host in json.loads(shrunk[1])["hosts"].values()] == [0]
    assert (dropped[0], "2 models" in dropped[1]) == (0, True)
    assert listed(said, root)["revisions"] == []
    assert all(code == 2 and "has a cache folder" in err for code, _, err in mistyped)
    assert not Path(f"{root}s").exists()


def test_a_host_that_was_brought_nothing_is_named(said: Any, model: str, tmp_path: Path) -> None:
    with workers_afresh(), hosts(tmp_path / "homes", 2) as (_, client):
        (tmp_path / "homes" / "host-1" / "models").touch()
        order = ("cache", "preload", model, "--cluster", client.scheduler.address, "--folder", "~/models")
        code, out, err = said(*order, "--json")
        shown = said(*order)
    told = json.loads(out)
    assert (code, len(told["traffic"]["hosts"]), len(told["problems"])) == (ExitCode.FAILED, 1, 1)
    ((worker, reason),) = told["problems"].items()
    assert f"{worker}: {reason}" in err
    assert (shown[0], "not on every host" in shown[1], worker in shown[2]) == (ExitCode.FAILED, True, True)


def test_a_host_that_cannot_tell_is_named_and_the_others_are_shown(
    said: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_of_a_model(ChunkStore(root))
    states, reason = {"host": host_states.host_state(root)}, "The cache folder /c cannot be looked at."
    monkeypatch.setattr(JoinedFleet, "open", lambda fleet: None)
    monkeypatch.setattr(host_states, "host_states", lambda client, folder: (states, {"10.0.0.7": reason}))
    code, out, err = said("cache", "status", "--cluster", "tcp://10.0.0.1:8786", "--folder", root)
    assert (code, HALF[:12] in out, f"10.0.0.7: {reason}" in err) == (ExitCode.FAILED, True, True)
    told = json.loads(said("cache", "status", "--cluster", "tcp://10.0.0.1:8786", "--folder", root, "--json")[1])
    assert (list(told["hosts"]), told["problems"]) == (["host"], {"10.0.0.7": reason})
    states.clear()
    code, _, err = said("cache", "status", "--cluster", "tcp://10.0.0.1:8786", "--folder", root)
    assert (code, f"can be looked at; 10.0.0.7: {reason} Name the one" in err) == (ExitCode.REFUSED, True)


def test_embedders_and_adapters_are_told_by_their_files(tmp_path: Path) -> None:
    from tests.adapters import write_adapter

    assert read_any(Location(str(runs.ROOT / "models" / "shapes-clip"))).name == "shapes-clip"
    adapter = write_adapter(tmp_path / "my ink.safetensors", runs.MODEL)
    assert read_any(Location(str(adapter))).name == "my-ink"
    assert read_any(Location(str(runs.MODEL))).name == "shapes"


def test_of_an_interrupted_model_what_arrived_is_told(said: Any, root: Path) -> None:
    half_of_a_model(ChunkStore(root))
    (one,) = listed(said, root)["revisions"]
    assert (one["complete"], one["size_bytes"], one["arrived_bytes"]) == (
        False,
        SMALLEST_CHUNK_BYTES + 5,
        SMALLEST_CHUNK_BYTES,
    )
    assert "8.39 MB of 8.39 MB" in said("cache", "status", "--folder", root)[1]


def test_a_model_that_did_not_come_whole_has_its_name(
    said: Any, root: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Filling, "publish", stop)
    with pytest.raises(KeyboardInterrupt):
        ensure_local(Location(model), read_any(Location(model)), root)
    (one,) = listed(said, root)["revisions"]
    assert (one["name"], one["origin"], one["complete"]) == ("painter", model, False)


def test_a_tenant_s_own_cache_is_filled_and_shown(said: Any, root: Path, model: str) -> None:
    assert said("cache", "preload", model, "--folder", root, "--tenant", "acme")[0] == 0
    assert "painter" in said("cache", "status", "--folder", root, "--tenant", "acme")[1]
    assert [one["name"] for one in listed(said, Path(f"{root}-acme"))["revisions"]] == ["painter"]
    assert not root.exists()


def test_an_interrupted_preload_speaks_of_no_pictures(
    said: Any, root: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cache_command, "_bring_here", interrupted)
    code, _, err = said("cache", "preload", model, "--folder", root)
    assert code == ExitCode.INTERRUPTED
    assert "what is finished is kept" in err
    assert "image" not in err


def test_looking_writes_nothing_and_sees_who_fills(said: Any, root: Path) -> None:
    store = ChunkStore(root)
    revision = half_of_a_model(store)
    for note in root.glob(f"{revision}.*"):
        note.unlink()
    before = {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))}
    (one,) = listed(said, root)["revisions"]
    assert (one["in_use"], one["filling"]) == (False, False)
    assert {path: path.stat().st_mtime_ns for path in (root, *root.rglob("*"))} == before
    with RevisionFolder(root, revision).lock():
        assert listed(said, root)["revisions"][0]["filling"]


def test_a_file_in_a_cache_folder_s_place_is_told_as_one(said: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = said("cache", "status", "--folder", tmp_path / "file")
    assert code == ExitCode.REFUSED
    assert f"The cache folder {tmp_path / 'file'} cannot be looked at (Not a directory)" in err
