from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pressrun.cache.affinity import Candidate, Wanted, choose

INK = Wanted("diffusers/ink/fp16", "ink")
LOADED, COPIED = frozenset({INK.renderer}), frozenset({INK.revision})
AHEAD = 3.0

holdings = st.sampled_from([(frozenset(), frozenset()), (LOADED, COPIED), (LOADED, frozenset()), (frozenset(), COPIED)])
workers = st.lists(
    st.builds(
        lambda zone, held, load: Candidate("", zone, *held, load),
        st.sampled_from(["", "east", "west"]),
        holdings,
        st.sampled_from([0.0, 0.5, 2.9, 3.0, 9.0]),
    ),
    max_size=8,
).map(lambda found: [replace(one, address=f"tcp://host-{number}") for number, one in enumerate(found)])


def standing(one: Candidate, others: Sequence[Candidate]) -> int:
    if one.in_memory or one.on_disk:
        return 0 if one.in_memory else 1
    return 2 if any(one.zone == other.zone for other in others if other.in_memory or other.on_disk) else 3


@given(workers)
def test_soft_takes_the_best_unless_they_have_much_more_to_do_than_the_next(candidates: list[Candidate]) -> None:
    chosen = choose(candidates, INK, "soft", AHEAD)
    standings = {one.address: standing(one, candidates) for one in candidates}
    if len(set(standings.values())) < 2:
        assert chosen is None
        return
    assert chosen
    (kind,) = {standings[address] for address in chosen}
    least = min(one.load for one in candidates if one.address in chosen)
    for one in candidates:
        if standings[one.address] < kind:
            assert one.load > least + AHEAD * (kind - standings[one.address])
        elif standings[one.address] > kind:
            assert one.load + AHEAD * (standings[one.address] - kind) >= least
        else:
            assert (one.address in chosen) == (one.load < least + AHEAD)


@given(workers)
def test_hard_takes_all_of_the_best_however_much_they_have_to_do(candidates: list[Candidate]) -> None:
    standings = {one.address: standing(one, candidates) for one in candidates}
    best = min(standings.values(), default=0)
    alike = len(set(standings.values())) < 2
    holders = tuple(sorted(address for address, kind in standings.items() if kind == best))
    assert choose(candidates, INK, "hard", AHEAD) == (None if alike else holders)


@given(workers, st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order_of_workers(candidates: list[Candidate], random: object) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled, INK, "soft", AHEAD) == choose(candidates, INK, "soft", AHEAD)


@given(workers)
def test_off_names_nobody(candidates: list[Candidate]) -> None:
    assert choose(candidates, INK, "off", AHEAD) is None


def test_who_holds_other_models_only_is_no_better_than_who_holds_none() -> None:
    other = Candidate("a", in_memory=frozenset({"diffusers/photo/fp16"}), on_disk=frozenset({"photo"}))
    assert choose([other, Candidate("b")], INK, "soft", AHEAD) is None


def test_where_every_host_has_the_model_only_memory_makes_a_difference() -> None:
    mounted = Wanted(INK.renderer, "")
    assert choose([Candidate("a", "east"), Candidate("b", "west")], mounted, "soft", AHEAD) is None
    assert choose([Candidate("a", "east"), Candidate("b", "west", LOADED)], mounted, "soft", AHEAD) == ("b",)


def test_when_holders_are_busy_their_neighbours_come_next_and_strangers_last() -> None:
    busy = Candidate("a", "east", LOADED, COPIED, 6.0)
    near, far = Candidate("b", "east"), Candidate("c", "west")
    assert choose([busy, near, far], INK, "soft", AHEAD) == ("a",)
    busy = replace(busy, load=6.5)
    assert choose([busy, near, far], INK, "soft", AHEAD) == ("b",)
    assert choose([busy, replace(near, load=4.0), far], INK, "soft", AHEAD) == ("a",)
    busy = replace(busy, load=9.5)
    assert choose([busy, replace(near, load=4.0), far], INK, "soft", AHEAD) == ("c",)
    assert choose([busy, near, far], INK, "hard", AHEAD) == ("a",)
