from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.engine_options import EngineOptions, OptionTrial, drawing
from pressrun.picture_distance import psnr_db, ssim


def test_the_plain_engine_has_nothing_chosen_and_no_label() -> None:
    plain = EngineOptions()
    assert (plain.chosen, plain.label) == ((), "")
    assert drawing("bf16", plain) == "bf16"


def test_options_are_told_in_one_line_and_one_by_one() -> None:
    options = EngineOptions(compile=True, attention="native", vae_slicing=True)
    assert options.label == "compile, attention native, vae slicing"
    assert drawing("auto", options) == "auto, compile, attention native, vae slicing"
    assert options.only("attention") == EngineOptions(attention="native")


@given(st.builds(EngineOptions, **{field.name: ... for field in fields(EngineOptions)}))
def test_a_label_tells_the_options_again(options: EngineOptions) -> None:
    assert EngineOptions.from_label(options.label) == options


def test_an_effect_names_speed_and_distance() -> None:
    assert OptionTrial("bf16", 1.4, 31.26, 0.9564, 0.991).effect == (
        "1.40 times the plain engine's speed, PSNR 31.3 dB, SSIM 0.956, similarity 0.991"
    )
    assert OptionTrial("x", 1.0, math.inf, 1.0).effect == "1.00 times the plain engine's speed, the same pixels"


@given(st.integers(1, 255))
def test_psnr_is_that_of_the_mean_squared_error(step: int) -> None:
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert psnr_db(black, black + np.uint8(step)) == pytest.approx(20 * math.log10(255 / step))
    assert psnr_db(black, black) == math.inf


def test_one_bad_picture_does_not_hide_among_good_ones() -> None:
    good = np.zeros((8, 8, 8, 3), np.uint8)
    bad = good.copy()
    bad[3] = 255
    assert psnr_db(good, bad) < 10
    assert ssim(good, bad) < 0.1


def test_ssim_sees_structure_where_psnr_sees_noise() -> None:
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, ::4] = 200
    brighter = stripes + np.uint8(20)
    flat = np.full_like(stripes, 50)  # of the same mean
    assert ssim(stripes, stripes) == 1
    assert ssim(stripes, brighter) > 0.7 > 0.1 > ssim(stripes, flat)
    assert ssim(stripes, brighter) == ssim(brighter, stripes)
