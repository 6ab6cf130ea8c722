"""The drawn world draws what it says."""

import numpy as np
import pytest

from models.world import (
    BACKGROUNDS,
    COLOURS,
    POSITIONS,
    SHAPES,
    SIZES,
    Scene,
    draw,
    draw_many,
    every_scene,
    split_scenes,
)


def _near(pixel, colour):
    return np.abs(pixel.astype(int) - np.array(colour)).max() <= 15


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
@pytest.mark.parametrize("position", POSITIONS)
def test_shape_colour_is_at_its_place_and_background_in_the_corners(shape, position):
    for size in SIZES:
        picture = draw(Scene(shape, "red", "white", size, position), np.random.default_rng(1))
        x, y = POSITIONS[position]
        assert _near(picture[int(y), int(x)], COLOURS["red"])
        assert all(_near(picture[row, column], BACKGROUNDS["white"]) for row in (0, 63) for column in (0, 63))


def test_ring_is_hollow():
    picture = draw(Scene("ring", "green", "black", "big", "centre"), np.random.default_rng(2))
    assert _near(picture[32, 32], BACKGROUNDS["black"])
    assert _near(picture[32, 32 + 13], COLOURS["green"])


def test_pictures_are_uint8_of_64_pixels():
    picture = draw(every_scene()[0], np.random.default_rng(3))
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8


def test_same_seed_draws_the_same_picture_and_another_seed_another():
    scenes = every_scene()[:3]
    first, again, other = (draw_many(scenes, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_big_shapes_cover_more_than_small_ones():
    for shape in SHAPES:
        small, big = (
            (draw(Scene(shape, "black", "white", size, "centre"), np.random.default_rng(6)) < 128).sum()
            for size in ("small", "big")
        )
        assert big > 2 * small


def test_no_shape_has_the_colour_of_its_background():
    assert all(scene.colour != scene.background for scene in every_scene())


def test_world_is_as_large_as_promised():
    assert len(SHAPES) >= 6
    assert len(COLOURS) >= 8
    assert len(SIZES) == 2
    assert len(POSITIONS) == 5


def test_held_out_scenes_are_never_trained_on_and_none_is_lost():
    trained, held_out = split_scenes()
    assert not set(trained) & set(held_out)
    assert set(trained) | set(held_out) == set(every_scene())
    assert len(held_out) == 500
    assert split_scenes() == (trained, held_out)
