from __future__ import annotations

import io

import pytest
from rich.console import Console

from deployments.live_progress import LiveProgress
from pressrun.progress import News, listening, tell


def told(news: list[News], terminal: bool = False) -> str:
    screen = io.StringIO()
    with LiveProgress(Console(file=screen, force_terminal=terminal, width=100)) as progress, listening(progress):
        for one in news:
            tell(one)
    return screen.getvalue()


def test_every_stage_ends_with_one_line_and_its_time() -> None:
    lines = told(
        [News("open run", "reading"), News("warm model", "loading"), News("warm model", "measuring")]
    ).splitlines()
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines] == ["✓ open run", "✓ warm model"]
    assert all(line.endswith(" s") for line in lines)


def test_without_a_terminal_counts_come_as_plain_lines_now_and_then() -> None:
    news = [News("generate batches", "", done, 500, 1) for done in range(400)]
    assert [line.strip() for line in told(news).splitlines()][:-1] == ["0 of 500 images, 1 failed"]


def test_how_far_a_stage_is_comes_as_plain_lines_now_and_then() -> None:
    news = [News("provision cache", f"{number} MB of [9] MB", share=number / 9) for number in range(9)]
    assert [line.strip() for line in told(news).splitlines()][:-1] == ["0 MB of [9] MB"]
    assert "8 MB of [9] MB" in told(news, terminal=True)


def test_on_a_terminal_a_bar_shows_stage_count_and_failures() -> None:
    screen = told([News("generate batches", "drawing"), News("generate batches", "", 3, 12, 2)], terminal=True)
    assert "5/12" in screen
    assert "2 failed" in screen
    assert "generate batches" in screen


def test_a_note_stays_in_sight_after_its_stage_whatever_signs_it_holds() -> None:
    news = [News("scale out", "quoting"), News("scale out", note="quote for 3 images: [b]2 workers[/b]")]
    for terminal in (False, True):
        assert "  quote for 3 images: [b]2 workers[/b]" in told(news, terminal)


def test_something_that_is_no_stage_can_be_announced() -> None:
    screen = io.StringIO()
    with LiveProgress(Console(file=screen)) as progress:
        progress.say("check", "reading")
    assert screen.getvalue().startswith("✓ check")


def test_a_stage_that_broke_is_not_ticked_off() -> None:
    screen = io.StringIO()

    def break_off() -> None:
        with LiveProgress(Console(file=screen)) as progress:
            progress.say("check", "reading")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert "✓" not in screen.getvalue()


def test_nothing_told_is_nothing_shown() -> None:
    assert told([]) == ""


def test_a_stage_that_broke_before_the_tear_down_is_crossed_out_unless_it_was_tried_again() -> None:
    broken = [News("provision cache", "2 models"), News("provision cache", is_broken=True)]
    assert told([*broken, News("tear down", "closing")]).startswith("✗ provision cache")
    assert told([*broken, News("provision cache", "2 models"), News("tear down", "")]).startswith("✓ provision cache")
