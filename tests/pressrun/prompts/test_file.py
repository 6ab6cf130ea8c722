"""Claims about reading prompts: every format, every place, any text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pressrun.errors import InvalidPrompts
from pressrun.location import Location
from pressrun.prompts import file as prompt_file
from pressrun.prompts.file import ENDINGS
from pressrun.prompts.request_rows import PIECE_IMAGES
from pressrun.request import RequestDefaults, derived_seed
from tests.pressrun.prompts.prompt_samples import (
    CONTENTS,
    PROMPTS,
    file_problems,
    only_remedy,
    read,
    read_bytes,
)
from tests.s3_server import S3Server


@pytest.mark.parametrize("ending", CONTENTS)
def test_every_table_format_reads_the_same_requests(ending: str) -> None:
    records = [{"prompt": prompt, "seed": number, "tag": "ü"} for number, prompt in enumerate(PROMPTS)]
    table = read_bytes(f"prompts{ending.upper()}", CONTENTS[ending](records))
    assert table["prompt"].to_pylist() == PROMPTS
    assert table["seed"].to_pylist() == [0, 1, 2, 3]
    assert table["row"].to_pylist() == [1, 2, 3, 4]
    assert table["extra"].to_pylist() == ['{"tag": "ü"}'] * 4


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson"])
def test_packed_text_reads_like_plain_text(ending: str) -> None:
    content = CONTENTS[ending]([{"prompt": prompt} for prompt in PROMPTS])
    assert read_bytes(f"a{ending}.gz", gzip.compress(content)) == read_bytes(f"a{ending}", content)


def test_plain_text_is_one_prompt_a_line_numbered_as_in_the_file() -> None:
    table = read_bytes("prompts.txt", b'\n one \n\r\n\ttwo, "three"\r\nfour')
    assert table["prompt"].to_pylist() == ["one", 'two, "three"', "four"]
    assert table["row"].to_pylist() == [2, 4, 5]


def test_blank_lines_keep_row_numbers() -> None:
    (in_csv,) = file_problems("a.csv", "prompt,seed\n\nx,1\n\n\ny,z\n")
    (in_json,) = file_problems("a.jsonl", '\n{"prompt": "x"}\n\n{"prompt": "y", "seed": "z"}\n')
    assert (in_csv.row, in_csv.column, in_csv.value) == (5, "seed", "z")
    assert in_json.row == 4


def test_a_row_over_several_lines_counts_once() -> None:
    (problem,) = file_problems("a.csv", 'prompt,seed\n"x\n\ny",1\nz,bad\n')
    assert problem.row == 2


def test_lists_of_texts_and_mappings_read_like_files() -> None:
    table = read(["one", {"Text": None, "prompt": "two", "seed": 7}][:1])
    assert table["prompt"].to_pylist() == ["one"]
    table = read(["one", {"prompt": "two", "seed": 7.0, "n": [1, 2]}])
    assert table["seed"].to_pylist() == [derived_seed("one", 0), 7]
    assert table["extra"].to_pylist() == ["{}", '{"n": [1, 2]}']


def test_list_items_that_are_no_prompts_are_named() -> None:
    with pytest.raises(InvalidPrompts, match="the list of prompts: 3 problems") as caught:
        read(["fine", 3, {1: "x"}, None])  # type: ignore[list-item]
    assert [problem.row for problem in caught.value.problems] == [2, 3, 4]


def test_a_bare_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(InvalidPrompts, match="is one text; pass a list of prompts, or Location"):
        read("prompts.csv")


def test_any_fsspec_url_works() -> None:
    with fsspec.open("memory://inputs/a.csv", "wb") as file:
        file.write(b"prompt\na star\n")
    assert read(Location("memory://inputs/a.csv"))["prompt"].to_pylist() == ["a star"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl.gz"])
def test_prompts_are_read_from_a_real_s3_server(s3_server: S3Server, ending: str) -> None:
    url = f"{s3_server.make_bucket()}/in/prompts{ending}"
    content = CONTENTS[ending.removesuffix(".gz")]([{"prompt": prompt} for prompt in PROMPTS])
    with fsspec.open(url, "wb", **s3_server.storage_options) as file:
        file.write(gzip.compress(content) if ending.endswith(".gz") else content)
    assert read(Location(url, s3_server.storage_options))["prompt"].to_pylist() == PROMPTS


@pytest.mark.parametrize("path", ["no-such-bucket/a.csv", "{bucket}/a.csv", "{bucket}/a.parquet"])
def test_a_missing_bucket_or_object_is_said(s3_server: S3Server, path: str) -> None:
    url = "s3://" + path.format(bucket=s3_server.make_bucket().removeprefix("s3://"))
    with pytest.raises(InvalidPrompts, match="no such file or bucket; check the path") as caught:
        read(Location(url, s3_server.storage_options))
    assert url in str(caught.value)
    assert "test-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_an_unreachable_url_is_said_without_its_secrets() -> None:
    url = "nosuch://me:hunter2@host/a.csv?token=hunter2"
    with pytest.raises(InvalidPrompts, match="needs an fsspec driver") as caught:
        read(Location(url, {"secret": "hunter2"}))
    assert "hunter2" not in f"{caught.value} {caught.value!r}"


def test_a_missing_local_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidPrompts, match="no such file or bucket; check the path"):
        read(Location(f"{tmp_path}/none.csv"))


def test_a_folder_is_not_taken_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InvalidPrompts, match="is a folder; name a file in it"):
        read(Location(f"{tmp_path}/a.csv"))


def test_an_unknown_ending_lists_the_valid_ones() -> None:
    remedy = only_remedy("a.json", "[]")
    assert all(ending in remedy for ending in ENDINGS)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.jsonl", "a.csv.gz"])
def test_an_empty_file_is_said(name: str) -> None:
    assert only_remedy(name, b"").startswith("is empty; write at least one prompt")


@pytest.mark.parametrize(("name", "content"), [("a.csv", "prompt,seed\n"), ("a.csv", "prompt,seed")])
def test_a_header_without_rows_is_said(name: str, content: str) -> None:
    assert only_remedy(name, content) == "has a header (prompt, seed) but no rows; add at least one"


def test_a_file_with_thousands_of_columns_is_refused() -> None:
    wide = {"prompt": "x", **{f"x_{number}": 1 for number in range(1_000)}}
    for ending in (".csv", ".jsonl", ".parquet"):
        assert "1,001 columns" in only_remedy(f"a{ending}", CONTENTS[ending]([wide]))


def test_problems_are_cut_at_ten_thousand_and_that_is_said() -> None:
    found = file_problems("a.csv", "prompt,seed\n" + "x,bad\n" * 30_000)
    assert len(found) == 10_001
    assert found[-2].row == 10_000
    assert "checking stopped after 10,000 problems" in found[-1].remedy


def test_more_pictures_than_one_job_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_file, "MAX_REQUESTS", 99)
    with pytest.raises(InvalidPrompts, match=r"asks for 120 pictures or more, one job takes 99"):
        read(["x"] * 3, RequestDefaults(images_per_prompt=40))


def test_many_chunks_keep_row_numbers_and_duplicates() -> None:
    lines = [f"r{number},a star {number}" for number in range(25_000)]
    content = "id,prompt\n" + "\n".join(lines) + "\n"
    assert read_bytes("a.csv", content.encode())["row"].to_pylist() == list(range(1, 25_001))
    (problem,) = file_problems("a.csv", content + "r3,again\n")
    assert (problem.row, problem.column, problem.value) == (25_001, "id", "r3")
    assert problem.remedy == "row 4 has the same id; give each row its own"


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\t\n\r"), min_size=1, max_size=40)


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(TEXTS.filter(lambda text: text.strip() != ""), min_size=1, max_size=6),
    ending=st.sampled_from([*CONTENTS]),
)
def test_any_text_survives_any_format(texts: list[str], ending: str) -> None:
    records = [{"prompt": text, "negative_prompt": text[::-1], "note": text} for text in texts]
    table = read_bytes(f"a{ending}", CONTENTS[ending](records))
    assert table["prompt"].to_pylist() == [text.strip() for text in texts]
    assert table["negative_prompt"].to_pylist() == [text[::-1].strip() for text in texts]
    assert [json.loads(extra)["note"] for extra in table["extra"].to_pylist()] == texts


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(1, 300), min_size=1, max_size=120), seed=st.none() | st.integers(0, 2**62))
def test_there_is_one_request_a_picture_with_a_seed_of_its_own(counts: list[int], seed: int | None) -> None:
    rows = [{"prompt": f"star {row}", "images_per_prompt": count} for row, count in enumerate(counts)]
    table = read(rows, RequestDefaults(seed=seed))
    assert table.num_rows == sum(counts)
    expected = [(row + 1, number) for row, count in enumerate(counts) for number in range(count)]
    assert list(zip(table["row"].to_pylist(), table["image_number"].to_pylist(), strict=True)) == expected
    base = [derived_seed(f"star {row - 1}", number) if seed is None else seed + number for row, number in expected]
    assert table["seed"].to_pylist() == base


BAD_CELLS = {"prompt": " ", "seed": "1.5", "width": "65", "steps": "0", "cfg": "inf", "scheduler": "ddin", "id": "../x"}


@settings(deadline=None, max_examples=60)
@given(
    row_count=st.integers(1, 30),
    faults=st.dictionaries(st.integers(1, 30), st.sampled_from([*BAD_CELLS]), max_size=10),
    ending=st.sampled_from([*CONTENTS]),
)
def test_bad_rows_are_reported_with_exactly_their_numbers(row_count: int, faults: dict[int, str], ending: str) -> None:
    good = {"prompt": "x", "seed": "1", "width": "64", "steps": "5", "cfg": "3", "scheduler": "ddim"}
    rows = [{**good, "id": f"r{number}"} for number in range(row_count)]
    faults = {row: column for row, column in faults.items() if row <= row_count}
    for row, column in faults.items():
        rows[row - 1][column] = BAD_CELLS[column]
    content = CONTENTS[ending](rows)
    if not faults:
        assert read_bytes(f"a{ending}", content).num_rows == row_count
        return
    found = {problem.row: problem.column for problem in file_problems(f"a{ending}", content)}
    assert found == faults


def test_many_pictures_a_row_come_in_batches_of_bounded_size() -> None:
    table = read(["x", "y", "z"], RequestDefaults(images_per_prompt=10_000))
    assert table["row"].to_pylist() == [1] * 10_000 + [2] * 10_000 + [3] * 10_000
    assert max(batch.num_rows for batch in table.to_batches()) <= PIECE_IMAGES
