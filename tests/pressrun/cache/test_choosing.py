"""What the choice of the next chunks costs, and that nobody is forgotten for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from pressrun.cache import sources
from pressrun.cache.messages import Fetch, Holds, Left, WantedChunk, Wants
from pressrun.cache.rounds import in_rounds
from pressrun.cache.swarm import at_origin
from tests.pressrun.cache.registry_simulation import LIMITS, Simulation, hashes

CHUNKS = tuple(WantedChunk(f"c{number}", 100) for number in range(100))


def test_what_nobody_can_give_now_is_looked_for_once_a_zone_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: Counter[str] = Counter()
    peer_for = sources.peer_for

    def counting(swarm, host, chunk_id, limits, now_s):  # type: ignore[no-untyped-def]
        looked[host.zone] += 1
        return peer_for(swarm, host, chunk_id, limits, now_s)

    monkeypatch.setattr(sources, "peer_for", counting)
    cluster = Simulation({f"h{number}": "xy"[number % 2] for number in range(52)})
    for name in ("h0", "h1"):
        cluster.registry.tell(Holds(name, hashes(*(chunk.chunk_id for chunk in CHUNKS))), 0.0)
    for number in range(2, 52):
        cluster.registry.tell(Wants(f"h{number}", CHUNKS), 0.0)
    cluster.take_commands()
    assert len(cluster.under_way) == 2 * LIMITS.uploads
    looked.clear()
    cluster.take_commands()
    assert max(looked.values()) <= len(CHUNKS)
    cluster.arrive(cluster.under_way[0])
    cluster.take_commands()
    assert len(cluster.under_way) >= 2 * LIMITS.uploads


def test_a_host_that_bans_a_holder_does_not_hide_it_from_others() -> None:
    cluster = Simulation({"seed": "", "bans": "", "trusts": ""})
    cluster.registry.tell(Holds("seed", hashes("c0")), 0.0)
    for source in ("seed", at_origin("")):
        cluster.registry.swarm.hosts["bans"].ban(source).strike(0.0, 60.0)
    for name in ("bans", "trusts"):
        cluster.registry.tell(Wants(name, CHUNKS[:1]), 0.0)
    cluster.take_commands()
    assert [(fetch.host, fetch.source) for fetch in cluster.under_way] == [("trusts", "seed")]


def test_many_hosts_get_their_first_chunks_in_several_answers_each_as_many() -> None:
    limits = replace(LIMITS, downloads=4, uploads=2000)
    cluster = Simulation({f"h{number}": "" for number in range(301)}, limits)
    cluster.registry.tell(Holds("h0", hashes(*(chunk.chunk_id for chunk in CHUNKS[:20]))), 0.0)
    for number in range(1, 301):
        cluster.registry.tell(Wants(f"h{number}", CHUNKS[:20]), 0.0)
    answers: list[list[Fetch]] = []
    while not answers or cluster.registry.has_more:
        answers.append([said for said in cluster.registry.commands(0.0) if isinstance(said, Fetch)])
    assert max(map(len, answers)) < 100
    so_far = Counter({f"h{number}": 0 for number in range(1, 301)})
    for answer in answers:
        so_far.update(fetch.host for fetch in answer)
        assert max(so_far.values()) - min(so_far.values()) <= 1
    assert set(so_far.values()) == {4}


def test_who_finds_nothing_keeps_nobody_from_a_turn() -> None:
    done: list[int] = []

    def does(number: int) -> bool:
        done.append(number)
        return number == 4999

    assert in_rounds(range(5000), does)
    assert set(done) == set(range(5000))


def test_a_host_that_left_is_no_longer_among_the_banned() -> None:
    cluster = Simulation({"bad": "", "good": ""})
    cluster.registry.swarm.hosts["good"].ban("bad").strike(0.0, 60.0)
    cluster.registry.tell(Left("bad"), 0.0)
    assert not cluster.registry.swarm.hosts["good"].bans
