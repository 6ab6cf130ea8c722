from __future__ import annotations

import math

from pressrun.release.verdict import Comparison, GoldenBudget, Verdict

BUDGET = GoldenBudget(least_psnr_db=30, least_ssim=0.9)


def picture(prompt: str, psnr_db: float, ssim: float = 1.0, changes: tuple[str, ...] = ()) -> Comparison:
    return Comparison(prompt, prompt, f"images/{prompt}.png", psnr_db, ssim, changes)


def test_equal_pictures_are_accepted_and_said_to_be_equal() -> None:
    verdict = Verdict.of([picture("a", math.inf), picture("b", math.inf)], BUDGET)
    assert verdict.is_accepted
    assert verdict.line == "2 golden pictures drawn again, all equal"
    assert "| good | a | equal | 1.000 | images/a.png |" in verdict.table()


def test_either_number_refuses_and_such_a_picture_comes_before_those_that_are_less_like_by_the_other() -> None:
    alike_enough, misshapen = picture("a", 31, 0.95), picture("b", 40, 0.5)
    verdict = Verdict.of([alike_enough, misshapen], BUDGET)
    assert (verdict.is_accepted, verdict.over_budget, verdict.worst) == (False, 1, misshapen)
    assert "SSIM 0.500, at least 0.900 wanted" in verdict.refusal("paint")
    assert Verdict.of([alike_enough], BUDGET).is_accepted
    assert not Verdict.of([picture("a", 29.9)], BUDGET).is_accepted


def test_a_refusal_names_the_worst_picture_its_numbers_and_what_else_has_changed() -> None:
    worst = picture("a red star", 12.34, 0.321, ("torch 1 then, 2 now",))
    verdict = Verdict.of([picture("b", 50), worst, picture("c", 20)], BUDGET)
    told = verdict.refusal("paint, revision 0123")
    for words in (
        "2 of 3 golden pictures",
        "the model paint, revision 0123",
        "'a red star' (images/a red star.png)",
        "PSNR 12.3 dB, at least 30.0 dB wanted and SSIM 0.321",
        "torch 1 then, 2 now",
        "a new golden set",
    ):
        assert words in told


def test_the_table_survives_prompts_with_lines_and_bars() -> None:
    table = Verdict.of([picture("a | b\nc", 20)], BUDGET).table()
    assert "| over the budget | a \\| b c | 20.0 |" in table
