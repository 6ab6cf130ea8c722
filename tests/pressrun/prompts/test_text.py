"""Claims about text files that are broken: encodings, packing, rows and lines out of shape."""

from __future__ import annotations

import gzip

import pytest

from pressrun.prompts.text import BLOCK_BYTES
from tests.pressrun.prompts.prompt_samples import (
    file_problems,
    only_remedy,
    read_bytes,
)


def test_latin_1_is_refused_with_the_byte_its_line_and_the_remedy() -> None:
    remedy = only_remedy("a.csv", "prompt\nfine\ncaf\xe9\n".encode("latin-1"))
    assert remedy.startswith("byte 15 (line 3) is 0xE9, not UTF-8; save the file as UTF-8")


def test_the_bad_byte_is_found_far_into_a_file() -> None:
    content = b"prompt\n" + "größer\n".encode() * 200_000 + b"\xff\n"
    assert only_remedy("a.csv", content).startswith(f"byte {len(content) - 2:,} (line 200,002) is 0xFF")


def test_the_bad_byte_is_found_after_a_character_that_two_blocks_share() -> None:
    content = b"prompt\nx\n" + "é\n".encode() * 400_000 + b"\xff\n"
    assert (BLOCK_BYTES - len(b"prompt\nx\n")) % 3 == 1
    assert only_remedy("a.csv", content).startswith(f"byte {len(content) - 2:,} (line 400,003) is 0xFF")


def test_rows_before_a_bad_byte_are_checked_too() -> None:
    content = b"prompt,seed\nx,bad\n" + b"y,1\n" * 5_000 + b"\xff\n"
    assert [problem.row for problem in file_problems("a.csv", content)] == [0, 1]


def test_a_file_cut_within_a_character_is_refused() -> None:
    assert "ends within a character" in only_remedy("a.csv", b"prompt\ncaf\xc3")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_has_its_own_remedy(encoding: str) -> None:
    assert "is UTF-16 or binary, not UTF-8; save the file as UTF-8" in only_remedy(
        "a.csv", "prompt\nx\n".encode(encoding)
    )


def test_a_utf_8_mark_is_accepted() -> None:
    assert read_bytes("a.csv", "prompt\ncafé\n".encode("utf-8-sig"))["prompt"].to_pylist() == ["café"]


@pytest.mark.parametrize("content", [b"prompt\nx\n", gzip.compress(b"prompt\nx\n", mtime=0)[:-9]])
def test_damaged_gzip_is_said(content: bytes) -> None:
    assert "gzip data is damaged or cut short" in only_remedy("a.csv.gz", content)


def test_rows_with_too_many_or_few_fields_are_numbered() -> None:
    many, few = file_problems("a.csv", "prompt,seed\nx,1\na, b,2\ny\nz,3\n")
    assert (many.row, few.row) == (2, 3)
    assert many.remedy == "has 3 fields, the header has 2 (file line 3); quote fields that hold a separator"
    assert few.remedy == "has 1 field, the header has 2 (file line 4); add the missing separators"


def test_a_loose_quote_is_named_and_the_rows_after_it_are_checked() -> None:
    loose, bad = file_problems("a.csv", 'prompt,seed\n"x"y,1\nz,bad\n')
    assert (loose.row, bad.row) == (1, 2)
    assert "malformed at file line 2" in loose.remedy


def test_a_quote_never_closed_is_named_where_it_opens() -> None:
    (problem,) = file_problems("a.csv", 'prompt,seed\nx,1\n"y,2\nz,3\n')
    assert problem.row == 2
    assert "a quote opened at file line 3 is never closed" in problem.remedy


def test_rows_swallowed_by_an_open_quote_are_not_guessed_at() -> None:
    (problem,) = file_problems("a.csv", 'prompt,seed\n"open,1\n' + "y,1\n" * 50_000 + "z,bad\n")
    assert problem.row == 1
    assert "shorten it or close its quote" in problem.remedy


def test_an_overlong_field_gets_a_short_answer_and_later_rows_are_checked() -> None:
    long, overlong, bad = file_problems("a.csv", f"prompt,seed\n{'x' * 100_000},1\n{'y' * 200_000},2\nz,bad\n")
    assert (long.row, overlong.row, bad.row) == (1, 2, 3)
    assert "is 100,000 characters long, the limit is 10,000" in long.remedy
    assert "longer than 131,072 characters" in overlong.remedy
    assert max(len(str(problem)) for problem in (long, overlong, bad)) < 200


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('{"prompt": ', "malformed JSON at position 11"),
        ('["x"]', "must be an object of column names and values, not list"),
        ('"x"', "must be an object of column names and values, not str"),
        ('{"prompt": "x", "prompt": "y"}', "a key stands twice"),
        ('{"prompt": "x", "z": ' + "[" * 100_000, "nested too deeply"),
        ('{"prompt": "x", "z": ' + "9" * 5_000 + "}", "malformed JSON"),
        ('{"prompt": "\\ud800"}', "lone surrogate U+D800"),
        ('{"prompt": 7}', "must be text, not int"),
        ('{"seed": 7}', "is empty"),
    ],
)
def test_a_bad_json_line_is_numbered_with_its_fault(line: str, remedy: str) -> None:
    (problem,) = file_problems("a.jsonl", f'{{"prompt": "fine"}}\n\n{line}\n')
    assert problem.row == 3
    assert remedy in problem.remedy
    assert len(str(problem)) < 250
