"""A training course can be cut short, and each stage's lessons are what they claim."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from models.captions import describe
from models.pool import drawn_pool, roughen, to_tensor
from models.train_clip import contrast, shared_positives
from models.train_tokenizer import make_tokenizer
from models.train_unet import new_scheduler, noise_times, silence_some
from models.train_vae import LATENT_CHANNELS, latents_for
from models.training import Course, Plan
from models.world import split_scenes

PLAN = Plan("toy", steps=20, batch=1, peak_lr=0.1, warmup_steps=4, save_every=5)


@pytest.fixture(scope="module")
def pool():
    return drawn_pool(1100, seed=1)


def _learn(course, steps):
    for step in islice(course.steps(), steps):
        x = torch.full((1, 2), float(step % 3))
        course.learn((course.module(x) - 1.0).square().mean())


def _toy():
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def test_cut_short_course_ends_as_an_unbroken_one(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = Course(_toy(), PLAN, tmp_path / "whole")
    _learn(whole, 20)
    _learn(Course(_toy(), PLAN, tmp_path / "cut"), 13)
    again = Course(_toy(), PLAN, tmp_path / "cut")
    _learn(again, 20)
    assert torch.equal(whole.module.weight, again.module.weight)
    assert torch.equal(whole.average.weight, again.average.weight)


def test_finished_course_takes_no_further_step(tmp_path):
    _learn(Course(_toy(), PLAN, tmp_path), 21)
    assert list(Course(_toy(), PLAN, tmp_path).steps()) == []


def test_learning_rate_rises_then_falls():
    rates = [PLAN.lr(step) for step in range(PLAN.steps)]
    assert max(rates) == pytest.approx(PLAN.peak_lr)
    assert rates[:4] == sorted(rates[:4])
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_pool_holds_no_held_out_scene_and_is_the_same_for_a_seed(pool):
    assert not set(pool.scenes) & set(split_scenes()[1])
    assert np.array_equal(pool.pictures[:50], drawn_pool(1100, seed=1).pictures[:50])


def test_pool_is_read_back_from_its_file(tmp_path):
    first, again = (drawn_pool(20, seed=2, work=tmp_path) for _ in range(2))
    assert np.array_equal(first.pictures, again.pictures)
    assert first.scenes == again.scenes


def test_roughened_pictures_stay_near_and_in_range(pool):
    pictures = to_tensor(pool.pictures[:64])
    rough = roughen(pictures, torch.Generator().manual_seed(1))
    assert rough.abs().max() <= 1.0
    assert 0.0 < (rough - pictures).abs().mean() < 0.15


def test_pictures_that_fit_a_caption_are_its_positives():
    named = np.array([[0, 1, -1, -1, -1], [2, -1, -1, -1, -1]])
    shown = np.array([[0, 1, 3, 0, 4], [2, 1, 3, 0, 4]])
    assert shared_positives(named, shown).tolist() == [[True, False], [False, True]]


def test_contrast_is_lowest_when_positives_are_most_similar():
    positives = torch.eye(4, dtype=torch.bool)
    assert contrast(10.0 * torch.eye(4), positives) < contrast(torch.zeros(4, 4), positives)


def test_latents_have_mean_zero_and_deviation_one(pool):
    latents = latents_for(pool).of(to_tensor(pool.pictures[:1024]))
    assert latents.shape == (1024, LATENT_CHANNELS, 16, 16)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(4), atol=1e-4)


def test_tokenizer_knows_every_word_of_the_captions_as_one_token():
    tokenizer = make_tokenizer(seed=0, captions=4000)
    rng = np.random.default_rng(3)
    for scene in split_scenes()[0][:50]:
        words = [word for word in describe(scene, rng)[0].replace(",", " , ").split() if word.isalpha()]
        assert all(len(tokenizer(word)["input_ids"]) == 3 for word in words)


def test_a_tenth_of_the_captions_is_silenced():
    texts = silence_some(["a red circle"] * 5000, np.random.default_rng(4))
    assert 0.08 < texts.count("") / 5000 < 0.12
    assert 0.84 < texts.count("a red circle") / 5000 < 0.90


def test_all_noise_times_are_learned_and_those_midway_most():
    times = noise_times(1000, torch.Generator().manual_seed(1))
    assert times.min() < 10
    assert times.max() > 990
    assert ((times > 400) & (times < 600)).sum() > 300


def test_noise_schedule_ends_in_pure_noise():
    assert new_scheduler().alphas_cumprod[-1] == 0.0
