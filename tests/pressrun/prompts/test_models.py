"""A prompt file whose rows name their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from pressrun.errors import InvalidPrompts, RowProblem
from pressrun.location import Location
from pressrun.plan import name_images
from pressrun.prompts.file import read_requests
from pressrun.prompts.models import RowModels
from pressrun.prompts.rules import ModelLimits
from pressrun.request import MODELS_SCHEMA, REQUEST_SCHEMA, RequestDefaults
from tests.pressrun.prompts.prompt_samples import CONTENTS, row_problems

LIMITS = {
    "base": ModelLimits(64, 64, 8),
    "ink": ModelLimits(96, 32, 32),
    "flow": ModelLimits(128, 128, 16, flow_matching=True),
}
MODELS = RowModels(LIMITS, {"base": "revision 0", "ink": "revision 1", "flow": "revision 2"})


def read(rows: Any, defaults: RequestDefaults | None = None) -> pa.Table:
    return read_requests(rows, defaults or RequestDefaults(), MODELS)


def problems(*rows: Mapping[str, object], defaults: RequestDefaults | None = None) -> tuple[RowProblem, ...]:
    with pytest.raises(InvalidPrompts) as caught:
        read(rows, defaults)
    return caught.value.problems


@pytest.mark.parametrize("ending", CONTENTS)
def test_each_row_has_its_own_models_size_and_rules_and_those_without_one_the_main_models(
    ending: str, tmp_path: Any
) -> None:
    rows = [
        {"prompt": "a", "model": "ink", "scheduler": "ddim", "note": "x"},
        {"prompt": "b", "model": "", "scheduler": "", "note": "y"},
        {"prompt": "c", "model": " flow ", "scheduler": "flow-euler", "note": "z"},
        {"prompt": "d", "model": "base", "scheduler": "", "note": ""},
    ]
    file = tmp_path / f"prompts{ending}"
    file.write_bytes(CONTENTS[ending](rows))
    table = read(Location(str(file)))
    assert table.schema == MODELS_SCHEMA
    wanted = [("a", "ink", 96, 32), ("b", "base", 64, 64), ("c", "flow", 128, 128), ("d", "base", 64, 64)]
    columns = [table.column(name).to_pylist() for name in ("prompt", "model", "width_px", "height_px")]
    assert list(zip(*columns, strict=True)) == wanted
    assert table.column("row").to_pylist() == [1, 2, 3, 4]
    assert '"model"' not in "".join(table.column("extra").to_pylist())


def test_a_picture_has_the_id_that_it_has_in_a_job_of_its_model_alone() -> None:
    rows = [{"prompt": f"p{number}", "width": 64, "height": 64, "seed": number} for number in range(40)]
    names = [["base", "ink", "flow"][number * 7 % 3] for number in range(40)]
    table = read([row | {"model": name, "images_per_prompt": 2} for row, name in zip(rows, names, strict=True)])
    for name, limits in LIMITS.items():
        ours = [row | {"images_per_prompt": 2} for row, whose in zip(rows, names, strict=True) if whose == name]
        alone = name_images(read_requests(ours, RequestDefaults(), limits), MODELS.revisions[name])
        assert table.filter(pa.compute.field("model") == name)["image_id"].equals(alone["image_id"])


def test_every_unknown_model_and_every_value_that_does_not_suit_a_rows_model_is_told_at_once() -> None:
    found = problems(
        {"prompt": "a", "model": "inck", "width": 3},
        {"prompt": "b", "model": "ink", "width": 40},
        {"prompt": "c", "width": 40},
        {"prompt": "d", "model": "flow", "scheduler": "ddim"},
        {"prompt": "", "model": 7},
    )
    assert [(problem.row, problem.column) for problem in found] == [
        (1, "model"),
        (2, "width"),
        (4, "scheduler"),
        (5, "model"),
    ]
    assert "did you mean 'ink'? Valid: base, ink, flow" in found[0].remedy
    assert "--model NAME=LOCATION" in found[0].remedy
    assert "x_model" in found[0].remedy
    assert "no multiple of 32" in found[1].remedy


def test_a_default_is_held_against_the_models_that_rows_name_only() -> None:
    sizes = RequestDefaults(width_px=40, height_px=40)
    assert read(["a"], sizes).column("width_px").to_pylist() == [40]
    (width, height) = problems({"prompt": "a"}, {"prompt": "b", "model": "ink"}, defaults=sizes)
    assert (width.row, width.column, height.column) == (0, "width_px", "height_px")
    assert width.remedy.startswith("the default for model 'ink' is no multiple of 32")


def test_with_one_model_rows_may_name_it_and_no_other() -> None:
    alone = RowModels({"base": LIMITS["base"]}, {"base": "revision 0"})
    rows = [{"prompt": "a", "model": "base"}, {"prompt": "b", "model": None}]
    table = read_requests(rows, RequestDefaults(), alone)
    assert table.schema == REQUEST_SCHEMA
    unnamed = name_images(read_requests(["a", "b"], RequestDefaults(), LIMITS["base"]), "revision 0")
    assert table.equals(unnamed)
    with pytest.raises(InvalidPrompts, match=r"row 1, model='midjourney': is no model of this job\. Valid: base"):
        read_requests([{"prompt": "a", "model": "midjourney"}], RequestDefaults(), alone)


def test_a_column_that_only_looks_like_model_is_questioned_but_mode_is_not() -> None:
    (problem,) = row_problems({"prompt": "a", "modle": "ink"})
    assert "is it 'model'?" in problem.remedy
    assert read([{"prompt": "a", "mode": "fast", "x_model": "ink"}]).column("extra").to_pylist() == [
        '{"mode": "fast", "x_model": "ink"}'
    ]
