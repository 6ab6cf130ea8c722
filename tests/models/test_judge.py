"""The judge knows drawn pictures and refuses what shows no shape."""

import numpy as np
import pytest

from models.captions import Named, full_caption, read
from models.judge import OTHER, WEIGHTS, Judge, Verdict
from models.train_judge import spoil
from models.world import FIELDS, draw_many, split_scenes


@pytest.fixture(scope="module")
def held_out():
    return split_scenes()[1]


@pytest.fixture(scope="module")
def drawn(held_out):
    return draw_many(held_out, np.random.default_rng(77))


@pytest.fixture(scope="module")
def verdicts(drawn):
    return Judge.load().look(drawn)


@pytest.mark.parametrize("field", FIELDS)
def test_judge_is_right_on_freshly_drawn_scenes_never_trained_on(field, held_out, verdicts):
    right = [
        getattr(verdict, field) == getattr(scene, field) for verdict, scene in zip(verdicts, held_out, strict=True)
    ]
    assert np.mean(right) >= 0.99


def test_judge_agrees_with_captions_of_what_was_drawn(held_out, verdicts):
    agreed = [v.agrees(read(full_caption(scene))) for v, scene in zip(verdicts, held_out, strict=True)]
    assert np.mean(agreed) >= 0.98


def test_judge_calls_spoiled_pictures_other(drawn):
    rng = np.random.default_rng(78)
    spoiled = np.stack([spoil(drawn[i], drawn[-1 - i], rng) for i in range(200)])
    assert np.mean([verdict.shape == OTHER for verdict in Judge.load().look(spoiled)]) >= 0.9


def test_judge_calls_noise_other():
    noise = np.random.default_rng(79).integers(256, size=(20, 64, 64, 3), dtype=np.uint8)
    assert np.mean([verdict.shape == OTHER for verdict in Judge.load().look(noise)]) >= 0.9


def test_verdict_agrees_only_when_every_named_word_is_shown():
    verdict = Verdict("star", "green", "white", "big", "left", 0.99)
    assert verdict.agrees(Named())
    assert verdict.agrees(Named("star", "green"))
    assert not verdict.agrees(Named("star", "red"))
    assert verdict.agrees(Named("star", "red"), fields=("shape",))


def test_judge_is_small():
    assert WEIGHTS.stat().st_size < 500_000


def test_verdict_does_not_depend_on_the_batch(drawn, verdicts):
    alone = Judge.load().look(drawn[:3], batch=1)
    assert [v.shape for v in alone] == [v.shape for v in verdicts[:3]]
