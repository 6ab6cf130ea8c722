from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.batch import Batch
from pressrun.errors import RunCancelled, StageFailed
from tests.pressrun.small_collection import ids, make_requests
from tests.workers.faulty_engines import FaultyRenderer
from workers.batch_ceiling import BatchCeilings
from workers.engines.renderer import OutOfMemory, Pixels
from workers.rescue import Rescue, render_all

few = settings(max_examples=50, deadline=None)


class SizedRenderer:
    """Draws pictures that show their seed and the batch size they were padded to; some fail, and memory is short."""

    def __init__(self, culprits: frozenset[int] = frozenset(), most_at_once: int = 64) -> None:
        self.culprits = culprits
        self.most_at_once = most_at_once
        self.calls: list[tuple[int, int]] = []  # pictures, batch size

    def render(self, batch: Batch) -> Pixels:
        self.calls.append((len(batch), batch.size))
        if batch.size > self.most_at_once:
            raise OutOfMemory(f"{batch.size} at once, {self.most_at_once} fit")
        seeds = [int(str(seed)) for seed in batch.column("seed")]
        if self.culprits & set(seeds):
            raise ValueError("cannot draw this")
        return np.stack([np.full((8, 8, 3), (seed, batch.size, 0), np.uint8) for seed in seeds])

    def provenance(self) -> dict[str, str | int]:
        return {}

    def close(self) -> None:
        pass


def batch_of(count: int, size: int | None = None) -> Batch:
    requests = make_requests([f"star {seed}" for seed in range(count)], seed=list(range(count)))
    return Batch("batch", requests, size or count)


def drawn(rescue: Rescue) -> dict[str, tuple[int, int]]:
    """Return what each picture shows: its seed and batch size."""
    found = {}
    for piece in rescue.rendered:
        assert piece.pixels.shape == (piece.requests.num_rows, 8, 8, 3)
        for image_id, picture in zip(ids(piece.requests), piece.pixels, strict=True):
            assert image_id not in found
            assert picture[0, 0, 1] == piece.batch_size
            found[image_id] = (int(picture[0, 0, 0]), int(picture[0, 0, 1]))
    return found


def test_a_batch_without_trouble_is_rendered_in_one_go() -> None:
    renderer, batch = SizedRenderer(), batch_of(5, 8)
    rescue = render_all(renderer.render, batch)
    assert renderer.calls == [(5, 8)]
    assert (rescue.failures, rescue.halvings) == ([], 0)
    assert drawn(rescue) == {image_id: (seed, 8) for seed, image_id in enumerate(ids(batch.requests))}


@few
@given(st.integers(1, 16).flatmap(lambda n: st.tuples(st.just(n), st.integers(n, 20), st.integers(1, 20))))
def test_halving_keeps_every_picture_its_id_and_the_order(case: tuple[int, int, int]) -> None:
    count, size, most_at_once = case
    renderer, batch = SizedRenderer(most_at_once=most_at_once), batch_of(count, size)
    rescue = render_all(renderer.render, batch)
    assert all(1 <= pictures <= at_once for pictures, at_once in renderer.calls)
    assert rescue.failures == []
    assert list(drawn(rescue)) == ids(batch.requests)
    assert [seed for seed, _ in drawn(rescue).values()] == list(range(count))
    assert all(piece.batch_size <= most_at_once for piece in rescue.rendered)
    assert (rescue.halvings > 0) == (size > most_at_once)


@few
@given(st.integers(1, 16).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=3))))
def test_culprits_are_isolated_wherever_they_stand(case: tuple[int, set[int]]) -> None:
    count, culprits = case
    renderer, batch = SizedRenderer(frozenset(culprits)), batch_of(count, 16)
    rescue = render_all(renderer.render, batch)
    all_ids = ids(batch.requests)
    assert [letter.image_id for letter in rescue.failures] == [all_ids[at] for at in sorted(culprits)]
    assert all(letter.attempts == 2 and letter.error_type == "ValueError" for letter in rescue.failures)
    # The innocent are the pictures that they would have been in an undisturbed batch.
    undisturbed = drawn(render_all(SizedRenderer().render, batch))
    assert drawn(rescue) == {one: shown for one, shown in undisturbed.items() if all_ids.index(one) not in culprits}
    assert rescue.halvings == 0
    assert len(renderer.calls) <= 1 + len(culprits) * (2 * 4 + 1)  # a search, not a try of each


@few
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)), st.integers(1, 12))))
def test_short_of_memory_and_with_culprits_every_request_ends_in_one_place(case: tuple[int, set[int], int]) -> None:
    count, culprits, most_at_once = case
    batch = batch_of(count)
    rescue = render_all(SizedRenderer(frozenset(culprits), most_at_once).render, batch)
    failed = [letter.image_id for letter in rescue.failures]
    assert sorted([*drawn(rescue), *failed]) == sorted(ids(batch.requests))
    assert set(failed) == {ids(batch.requests)[at] for at in culprits}


def faulty(*prompts: str) -> tuple[FaultyRenderer, Rescue, list[str]]:
    renderer = FaultyRenderer()
    requests = make_requests(prompts)
    return renderer, render_all(renderer.render, Batch("batch", requests, len(prompts))), ids(requests)


def test_a_passing_failure_costs_nothing() -> None:
    _, rescue, wanted = faulty("a", "shaky b")
    assert rescue.failures == []
    assert [image_id for piece in rescue.rendered for image_id in ids(piece.requests)] == wanted


def test_a_picture_too_large_even_alone_is_given_up_and_says_so() -> None:
    _, rescue, wanted = faulty("a", "vast", "c")
    (letter,) = rescue.failures
    assert (letter.image_id, letter.error_type, letter.error) == (wanted[1], "OutOfMemory", "no memory for 1 pictures")
    assert sum(piece.requests.num_rows for piece in rescue.rendered) == 2


def test_a_lone_picture_that_fails_and_then_lacks_memory_is_still_drawn() -> None:
    class Both(SizedRenderer):
        def render(self, batch: Batch) -> Pixels:
            if not self.calls:
                self.calls.append((1, 8))
                raise ValueError("passing")
            return super().render(batch)

    rescue = render_all(Both(most_at_once=2).render, batch_of(1, 8))
    assert rescue.failures == []
    assert [piece.batch_size for piece in rescue.rendered] == [2]


@pytest.mark.parametrize("prompts", [["stop"], ["a", "b", "stop"], ["bad", "stop"]])
def test_a_cancelled_run_is_no_failure_of_a_request(prompts: list[str]) -> None:
    with pytest.raises(RunCancelled):
        faulty(*prompts)


def test_pictures_of_the_wrong_size_are_the_engines_fault() -> None:
    with pytest.raises(StageFailed, match=r"uint8 pictures of shape \(1, 8, 9, 3\).*asks for uint8 of shape \(1, 8, 8"):
        faulty("crooked")


def test_a_kill_from_outside_is_not_taken_for_a_bad_request() -> None:
    class Interrupted(SizedRenderer):
        def render(self, batch: Batch) -> Pixels:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_all(Interrupted().render, batch_of(2))


def test_what_was_too_large_is_not_tried_at_every_batch_and_later_again() -> None:
    renderer, ceilings = SizedRenderer(most_at_once=2), BatchCeilings()
    for _ in range(6):
        assert len(drawn(render_all(renderer.render, batch_of(4), ceilings))) == 4
    sizes = [size for _, size in renderer.calls]
    # 8 batches of 2 went well before 4 are tried again, and 16 the next time.
    assert sizes == [4, *[2] * 8, 4, *[2] * 4]
    renderer.most_at_once = 4
    for _ in range(8):
        render_all(renderer.render, batch_of(4), ceilings)
    assert [size for _, size in renderer.calls][-2:] == [4, 4]


def test_memory_that_one_model_and_size_lacks_is_not_taken_from_others() -> None:
    renderer, ceilings = SizedRenderer(most_at_once=2), BatchCeilings()
    render_all(renderer.render, batch_of(4), ceilings, "large")
    renderer.calls.clear()
    render_all(renderer.render, batch_of(2), ceilings, "small")
    assert renderer.calls == [(2, 2)]
    assert ceilings.most(("large", 8, 8), 4) == 2
    assert ceilings.most(("small", 8, 8), 4) == ceilings.most(("large", 16, 8), 4) == 4


def test_what_fitted_only_by_itself_is_drawn_apart_for_a_while_and_then_shared_again() -> None:
    ceilings = BatchCeilings()
    assert ceilings.may_share("model")
    ceilings.crowded("model")
    assert [ceilings.may_share("model") for _ in range(9)] == [False] * 8 + [True]
    assert ceilings.may_share("other")
    ceilings.crowded("model")
    assert [ceilings.may_share("model") for _ in range(17)] == [False] * 16 + [True]
