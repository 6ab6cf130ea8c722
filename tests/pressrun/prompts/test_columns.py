"""Claims about column names: which are known, questioned, refused or carried along."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pressrun.prompts.columns import FIELD_OF_NAME
from pressrun.prompts.file import read_requests
from pressrun.prompts.rules import ModelLimits
from pressrun.request import RequestDefaults
from tests.pressrun.prompts.prompt_samples import (
    LIMITS,
    only_remedy,
    request_of,
    row_problems,
)


@pytest.mark.parametrize("name", [name for name, field in FIELD_OF_NAME.items() if field != "prompt"])
def test_columns_are_known_by_every_accepted_spelling(name: str) -> None:
    values = {"negative_prompt": "blur", "scheduler": "ddim", "adapters": "ink:2.0", "user_id": "me", "model": ""}
    value = values.get(FIELD_OF_NAME[name], 16)
    for spelling in (name, name.upper(), name.replace("_", "-"), f" {name.replace('_', ' ').title()} "):
        request = request_of({spelling: value}, limits=ModelLimits(64, 64, 16, adapters=("ink",)))
        assert request["extra"] == "{}"
        if FIELD_OF_NAME[name] not in ("images_per_prompt", "model"):
            assert request[FIELD_OF_NAME[name]] == value


@pytest.mark.parametrize("name", ["Prompt", "text", "CAPTION"])
def test_the_prompt_column_has_three_names(name: str) -> None:
    assert read_requests([{name: " a star "}], RequestDefaults(), LIMITS)["prompt"].to_pylist() == ["a star"]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("promt", "prompt"),
        ("sead", "seed"),
        ("guidence_scale", "guidance_scale"),
        ("negativ_prompt", "negative_prompt"),
        ("Hight", "height"),
        ("widht", "width"),
        ("step", "steps"),
        ("sheduler", "scheduler"),
        ("images-per-promt", "images_per_prompt"),
        # Other tools' words, which no likeness of letters finds.
        ("num_images_per_prompt", "images_per_prompt"),
        ("CFG Scale", "guidance_scale"),
        ("neg_prompt", "negative_prompt"),
        ("sampler", "scheduler"),
        ("lora", "adapters"),
    ],
)
def test_a_misspelt_column_is_questioned(typo: str, meant: str) -> None:
    (problem,) = row_problems({"prompt": "fine", typo: "1"} if meant != "prompt" else {typo: "fine"})
    assert (problem.row, problem.value) == (0, typo)
    assert f"is it '{meant}'?" in problem.remedy
    assert f"'x_{typo}' to carry it along" in problem.remedy


@pytest.mark.parametrize(
    "name", ["x_sead", "X_promt", "style", "prompt_id", "idx", "tag", "source", "category", "größe"]
)
def test_other_columns_are_carried_under_their_own_name(name: str) -> None:
    assert json.loads(str(request_of({name: "v"})["extra"])) == {name: "v"}


def test_two_columns_for_one_field_are_refused() -> None:
    (problem,) = row_problems({"prompt": "a", "width": 64, "Width_PX": 64})
    assert problem.remedy == "columns 'width' and 'Width_PX' both mean 'width_px'; keep one of them"


def test_a_missing_prompt_column_lists_the_columns_found() -> None:
    (problem,) = row_problems({"seed": 1, "description": "x"})
    assert "columns found: 'seed', 'description'" in problem.remedy


def test_a_column_without_a_name_is_refused() -> None:
    (problem,) = row_problems({"prompt": "x", "": "0"})
    assert problem.remedy.startswith("column 2 has no name")


def test_a_table_separated_by_semicolons_is_recognised() -> None:
    assert "separated by ';': save with commas (.csv) or tabs (.tsv)" in only_remedy("a.csv", "prompt;seed\nx;1\n")


def test_numbers_of_numpy_are_carried_as_numbers() -> None:
    request = request_of({"count": np.int64(3), "share": np.float32(0.5)})
    assert request["extra"] == '{"count": 3, "share": 0.5}'
