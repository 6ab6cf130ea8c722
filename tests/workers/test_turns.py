from __future__ import annotations

import threading

from pressrun.plan import Shard
from workers.turns import Turns

SHARDS = [Shard(0, 0, 2, "ink"), Shard(1, 2, 4, "ink"), Shard(2, 4, 6, "photo"), Shard(3, 6, 8, "photo")]


def begin(turns: Turns, shard: Shard, began: threading.Event) -> threading.Thread:
    """Have a thread of its own take the shard's turn."""

    def take() -> None:
        with turns.taking(shard):
            began.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return thread


def test_the_next_model_begins_when_the_last_batch_of_the_one_before_is_on_its_way() -> None:
    turns, began = Turns(SHARDS), threading.Event()
    with turns.taking(SHARDS[1]):  # beside the first, which has not even begun
        batches = turns.passing(SHARDS[1], iter("ab"))
        thread = begin(turns, SHARDS[2], began)
        assert list(turns.passing(SHARDS[0], iter("a"))) == ["a"]
        assert next(batches) == "a"
        assert next(batches) == "b"
        assert not began.wait(0.05)
        assert next(batches, None) is None
        assert began.wait(10)  # though shard 1 is still waiting for its receipts
    thread.join(10)


def test_a_shard_that_fails_or_never_begins_holds_nobody_up() -> None:
    turns, began = Turns(SHARDS), threading.Event()
    thread = begin(turns, SHARDS[3], began)
    try:
        with turns.taking(SHARDS[0]):
            raise OSError("the store is away")
    except OSError:
        pass
    assert not began.is_set()
    turns.have_passed(SHARDS[1])
    turns.have_passed(SHARDS[1])
    assert began.wait(10)
    thread.join(10)


def test_shards_of_one_model_do_not_wait_for_one_another() -> None:
    turns = Turns(SHARDS)
    with turns.taking(SHARDS[0]), turns.taking(SHARDS[1]):
        pass
    with Turns().taking(SHARDS[3]):
        pass
