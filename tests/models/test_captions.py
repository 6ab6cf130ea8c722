"""Captions say what a scene shows and are read back."""

import numpy as np
import pytest

from models.captions import Named, describe, full_caption, name_some, phrase, read
from models.world import Scene, every_scene

SCENES = every_scene()


def test_every_phrasing_reads_back_as_what_it_named():
    rng = np.random.default_rng(1)
    for scene in SCENES[::3]:
        text, named = describe(scene, rng)
        assert read(text) == named, text
        assert named.fits(scene)


def test_full_caption_names_all_five_words():
    for scene in SCENES[::7]:
        assert read(full_caption(scene)).codes() == scene.codes()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a red circle", Named("circle", "red")),
        (
            "a small red circle on a blue background, left",
            Named("circle", "red", "blue", "small", "left"),
        ),
        (
            "one big green star at the top of a white background",
            Named("star", "green", "white", "big", "top"),
        ),
        ("RED CIRCLE, Blue Background", Named("circle", "red", "blue")),
        ("a tiny heart in the middle on gray", Named("heart", None, "grey", "small", "centre")),
        ("something else entirely", Named()),
    ],
)
def test_common_phrasings_are_read(text, named):
    assert read(text) == named


def test_letter_case_does_not_matter():
    rng = np.random.default_rng(2)
    for scene in SCENES[::50]:
        text, named = describe(scene, rng)
        assert read(text.upper()) == named


def test_captions_are_varied():
    rng = np.random.default_rng(3)
    assert len({describe(SCENES[0], rng)[0] for _ in range(500)}) > 300


def test_same_seed_writes_the_same_caption():
    named = name_some(SCENES[5], np.random.default_rng(4))
    assert phrase(named, np.random.default_rng(5)) == phrase(named, np.random.default_rng(5))


def test_silent_caption_fits_every_scene():
    assert Named().codes() == (-1, -1, -1, -1, -1)
    assert all(Named().fits(scene) for scene in SCENES[::100])


def test_caption_does_not_fit_another_shape():
    scene = Scene("circle", "red", "white", "big", "left")
    assert Named(shape="circle").fits(scene)
    assert not Named(shape="star").fits(scene)
