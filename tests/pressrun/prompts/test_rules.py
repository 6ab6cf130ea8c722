"""Claims about single values and defaults: what is taken, what is refused, and what the answer says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.prompts.columns import FIELD_OF_NAME
from pressrun.prompts.rules import ModelLimits
from pressrun.request import SCHEDULERS, RequestDefaults
from tests.pressrun.prompts.prompt_samples import (
    LIMITS,
    request_of,
    row_problems,
)

FLOW_LIMITS = ModelLimits(width_px=64, height_px=64, size_multiple_px=16, flow_matching=True)


def remedy_for(column: str, value: object, limits: ModelLimits = LIMITS) -> str:
    (problem,) = row_problems({"prompt": "fine", column: value}, limits=limits)
    assert (problem.row, problem.column) == (1, column)
    return problem.remedy


def test_a_bare_row_takes_the_defaults_and_the_native_size() -> None:
    defaults = RequestDefaults("blur", 5, None, 96, 30, 2.5, "ddim", "ink:0.5")
    assert request_of({}, defaults) == {
        "image_id": "",
        "row": 1,
        "image_number": 0,
        "user_id": None,
        "prompt": "a star",
        "negative_prompt": "blur",
        "seed": 5,
        "width_px": 64,
        "height_px": 96,
        "steps": 30,
        "guidance_scale": 2.5,
        "scheduler": "ddim",
        "adapters": "ink:0.5",
        "extra": "{}",
    }


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_cell_takes_the_default(empty: str | None) -> None:
    fields = set(FIELD_OF_NAME.values()) - {"prompt"}
    assert request_of(dict.fromkeys(fields, empty)) == request_of({})


@pytest.mark.parametrize("seed", [0, 7, "7", " 7 ", "7.0", 7.0, "+7", 2**63 - 1, str(2**63 - 1)])
def test_whole_seeds_are_taken_however_they_are_written(seed: object) -> None:
    assert request_of({"seed": seed})["seed"] == int(str(seed).split(".")[0])


@pytest.mark.parametrize(
    "seed",
    [
        "nan",
        "inf",
        "1.5",
        "-1",
        "abc",
        "1e3",
        "1_0",
        "٣",
        "0x1",
        2**63,
        "9" * 90,
        -1,
        1.5,
        math.nan,
        math.inf,
        1e300,
        2.0**60,
        True,
        [1],
        b"1",
    ],
)
def test_other_seeds_are_refused(seed: object) -> None:
    assert f"from 0 to {2**63 - 1}" in remedy_for("seed", seed)


def test_a_seed_must_leave_room_for_its_pictures() -> None:
    assert request_of({"seed": 2**63 - 1, "images_per_prompt": 1})["seed"] == 2**63 - 1
    (problem,) = row_problems({"prompt": "x", "seed": 2**63 - 5, "images_per_prompt": 6})
    assert "no room for 6 pictures" in problem.remedy
    assert f"use {2**63 - 6} or less" in problem.remedy


@pytest.mark.parametrize(
    ("side", "remedy"),
    [
        ("0", "is out of range; write a whole number from 1 to 4096"),
        (-8, "is out of range; write a whole number from 1 to 4096"),
        (4104, "is out of range; write a whole number from 1 to 4096"),
        ("65", "is no multiple of 8; the nearest are 64 and 72"),
        (4, "is no multiple of 8; the nearest are 8"),
        ("64.5", "is no whole number; write one from 1 to 4096"),
    ],
)
@pytest.mark.parametrize("column", ["width", "height"])
def test_sizes_the_model_cannot_draw_are_refused(column: str, side: object, remedy: str) -> None:
    assert remedy_for(column, side) == remedy


def test_odd_sizes_are_refused_whatever_the_model() -> None:
    limits = ModelLimits(64, 64, size_multiple_px=1)
    assert request_of({"width": 62}, limits=limits)["width_px"] == 62
    assert remedy_for("width", 63, limits) == "is no multiple of 2; the nearest are 62 and 64"


@pytest.mark.parametrize(
    ("column", "low", "high"), [("steps", 1, 1_000), ("images_per_prompt", 1, 10_000), ("cfg", 0, 100)]
)
def test_numbers_have_bounds(column: str, low: int, high: int) -> None:
    for good in (low, str(high)):
        assert request_of({column: good})["row"] == 1
    for bad in (low - 1, high + 1, "many", "nan", "inf", math.nan, False):
        assert f"from {low} to {high}" in remedy_for(column, bad)


def test_every_scheduler_fits_exactly_one_kind_of_model() -> None:
    for name in SCHEDULERS:
        fits_flow = name in ("default", "flow-euler", "flow-heun")
        fits_other = name == "default" or not fits_flow
        for limits, fits in ((FLOW_LIMITS, fits_flow), (LIMITS, fits_other)):
            if fits:
                assert request_of({"scheduler": name.upper().replace("-", "_")}, limits=limits)["scheduler"] == name
            else:
                assert remedy_for("scheduler", name, limits).endswith(f"Valid: {', '.join(limits.schedulers)}")


def test_a_misspelt_scheduler_is_answered_with_the_right_one() -> None:
    assert "did you mean 'euler-ancestral'?" in remedy_for("scheduler", "euler-ancestor")


def test_adapters_have_one_normal_form() -> None:
    assert request_of({"adapters": " paper : 0.50, ink,"})["adapters"] == "ink:1.0,paper:0.5"


def test_a_row_can_say_that_it_uses_none_of_the_default_adapters() -> None:
    defaults = RequestDefaults(adapters="ink:0.5")
    assert request_of({}, defaults=defaults)["adapters"] == "ink:0.5"
    assert request_of({"adapters": " None"}, defaults=defaults)["adapters"] == ""


@pytest.mark.parametrize(
    ("adapters", "remedy"),
    [
        ("chalk:1", "names the unknown adapter 'chalk'. Valid: ink, paper"),
        ("ink:1,ink:2", "names adapter 'ink' twice"),
        ("ink:nan", "gives adapter 'ink' a scale that is no number"),
        ("ink:101", "gives adapter 'ink' a scale that is no number from -100 to 100"),
        (3, "must be text"),
    ],
)
def test_adapters_the_model_lacks_are_refused(adapters: object, remedy: str) -> None:
    assert remedy in remedy_for("adapters", adapters)


@pytest.mark.parametrize("row_id", ["a", "Ünï 1", "7", 7, "x" * 200, "a.b"])
def test_plain_ids_are_taken(row_id: object) -> None:
    assert request_of({"id": row_id})["user_id"] == str(row_id)


@pytest.mark.parametrize(
    "row_id",
    ["..", "../a", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "a\x1fb", "a\x7f", "a..b", "x" * 201, 1.5, True, "\ud800"],
)
def test_ids_that_are_no_safe_file_names_are_refused(row_id: object) -> None:
    assert remedy_for("id", row_id)


def test_duplicate_ids_name_both_rows_even_beside_other_problems() -> None:
    rows = [{"prompt": "x", "id": text} for text in ("a", "b", "a", "c", "a")]
    rows[0]["prompt"] = ""
    found = [(problem.row, problem.column, problem.remedy[:26]) for problem in row_problems(*rows)]
    again = "row 1 has the same id; giv"
    assert found == [(1, "prompt", "is empty; write a prompt o"), (3, "id", again), (5, "id", again)]


@pytest.mark.parametrize("prompt", ["", " \n\t", None])
def test_empty_prompts_are_refused(prompt: str | None) -> None:
    assert "is empty; write a prompt or delete the row" in remedy_for("prompt", prompt)


def test_a_prompt_may_be_long_but_not_endless() -> None:
    assert len(str(request_of({"prompt": " " + "x" * 10_000 + " "})["prompt"])) == 10_000
    (problem,) = row_problems({"prompt": "y" * 100_000})
    assert problem.remedy == "is 100,000 characters long, the limit is 10,000; shorten it"
    assert len(str(problem)) < 160


@given(st.characters(categories=["Cc", "Cs"], exclude_characters="\t\n\r"))
def test_control_characters_and_lone_surrogates_are_refused_by_name(mark: str) -> None:
    for column in ("prompt", "negative_prompt"):
        remedy = remedy_for(column, f"ab{mark}")
        assert f"U+{ord(mark):04X} at position 3" in remedy


def test_problems_can_be_printed_whatever_the_value() -> None:
    for problem in row_problems(
        {"prompt": "\ud800", "seed": "\0", "note": "\udfff"}, {"prompt": ["x" * 10**6], "note": math.inf}
    ):
        assert str(problem).isprintable()
        assert str(problem).encode()
        assert len(str(problem)) < 200


def test_every_problem_of_every_row_is_reported_at_once() -> None:
    found = row_problems({"prompt": "", "seed": "x", "steps": 0}, {"prompt": "fine"}, {"prompt": "fine", "seed": -1})
    assert [(problem.row, problem.column) for problem in found] == [
        (1, "prompt"),
        (1, "seed"),
        (1, "steps"),
        (3, "seed"),
    ]


def test_defaults_are_checked_like_rows() -> None:
    bad = RequestDefaults("\0", -1, 63, 9000, 0, math.inf, "dd", "chalk", 0)
    found = row_problems({"prompt": "fine"}, {"prompt": ""}, defaults=bad)
    assert [problem.column for problem in found if problem.row == 0] == [
        "negative_prompt",
        "seed",
        "width_px",
        "height_px",
        "steps",
        "guidance_scale",
        "scheduler",
        "adapters",
        "images_per_prompt",
    ]
    assert all(problem.remedy.startswith("the default ") for problem in found if problem.row == 0)
    assert [problem.row for problem in found][-1] == 2


def test_too_much_to_carry_is_refused() -> None:
    (problem,) = row_problems({"prompt": "fine", "note": "ü" * 40_000})
    assert "the limit is 65,536" in problem.remedy


def test_zero_has_one_normal_form_since_ids_are_made_of_it() -> None:
    assert math.copysign(1, request_of({"cfg": -0.0})["guidance_scale"]) == 1
