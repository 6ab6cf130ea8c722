"""What every engine promises, asked of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.workers.tiny_models import make_batch, save_tiny
from workers.engines.diffusers_renderer import DiffusersRenderer
from workers.engines.null_renderer import NullRenderer
from workers.engines.renderer import Renderer

pytestmark = pytest.mark.usefixtures("_one_thread")

CARRIED = Path(__file__).parents[2] / "models" / "shapes"


@pytest.fixture(scope="module", params=["null", "diffusers"])
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Renderer]:
    made: Renderer
    if request.param == "null":
        made = NullRenderer()
    elif (CARRIED / "model_index.json").exists():
        made = DiffusersRenderer(CARRIED)
    else:
        made = DiffusersRenderer(save_tiny("sd", tmp_path_factory.mktemp("models") / "sd"))
    yield made
    made.close()


def test_a_short_batch_gives_as_many_pictures_as_asked_in_the_size_asked(renderer: Renderer) -> None:
    pictures = renderer.render(make_batch(["a", "b", "c"], size=4, width_px=48, height_px=32))
    assert pictures.shape == (3, 32, 48, 3)
    assert pictures.dtype == np.uint8
    assert pictures.std() > 1


def test_the_same_batch_gives_the_same_pictures_again(renderer: Renderer) -> None:
    batch = make_batch(["a", "b"], size=2)
    assert np.array_equal(renderer.render(batch), renderer.render(batch))


def test_a_picture_does_not_depend_on_its_companions_or_its_place(renderer: Renderer) -> None:
    first = renderer.render(make_batch(["a star", "b", "c"], size=4, seed=[7, 1, 2]))[0]
    third = renderer.render(make_batch(["x", "y", "a star", "z"], size=4, seed=[5, 6, 7, 8]))[2]
    alone = renderer.render(make_batch(["a star"], size=4, seed=7))[0]
    assert np.array_equal(first, third)
    assert np.array_equal(first, alone)


def test_another_seed_gives_another_picture(renderer: Renderer) -> None:
    pictures = renderer.render(make_batch(["a", "a"], seed=[1, 2**63 - 1]))
    assert not np.array_equal(pictures[0], pictures[1])


def test_provenance_names_the_engine_in_plain_values(renderer: Renderer) -> None:
    provenance = renderer.provenance()
    assert provenance["engine"] in {"null", "diffusers"}
    assert {type(value) for value in provenance.values()} <= {str, int}


def test_the_null_engine_takes_its_time_for_each_picture_but_not_for_padding() -> None:
    waits: list[float] = []
    NullRenderer(0.25, sleep=waits.append).render(make_batch(["a", "b", "c"], size=8))
    assert waits == [0.75]
