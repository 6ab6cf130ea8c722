from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pressrun.wording import (
    DURATION,
    amount,
    amount_that_suffices,
    count,
    duration,
    duration_that_suffices,
    quantity,
    read_duration,
    read_size,
    size,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_times_read_as_a_person_says_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.4236, "0.424"), (0.999, "1"), (2, "2"), (3.117, "3.12"), (12.34, "12.3"), (1234.5, "1,234")],
)
def test_numbers_keep_three_digits_that_matter(value: float, text: str) -> None:
    assert quantity(value) == text


@pytest.mark.parametrize(("cost", "text"), [(0, "0.00"), (0.0042, "0.0042"), (12.3, "12.30"), (1234.5, "1,234.50")])
def test_small_sums_keep_their_digits(cost: float, text: str) -> None:
    assert amount(cost) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("2h", 7200), ("1.5h", 5400), ("1h30m", 5400), ("45 s", 45), ("2d", 172_800), (" 10 min ", 600)],
)
def test_a_time_is_read_as_people_write_it(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds
    assert re.search(DURATION, text)


@pytest.mark.parametrize("text", ["", "soon", "90", "-2h", "0s", "0h 0m", "1h of it", "nan h", "9" * 400 + "h"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 90m"):
        read_duration(text)


@given(st.floats(0.01, 1e7))
def test_a_time_that_suffices_is_none_too_short(seconds: float) -> None:
    assert read_duration(duration_that_suffices(seconds)) >= seconds


@given(st.floats(1e-6, 1e7))
def test_a_sum_that_suffices_is_none_too_small(cost: float) -> None:
    assert float(amount_that_suffices(cost).replace(",", "")) >= cost * (1 - 1e-12)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1500, "1.5 kB"), (512e6, "512 MB"), (999_999_999, "1 GB")],
)
def test_sizes_keep_three_digits_that_matter(size_bytes: float, text: str) -> None:
    assert size(size_bytes) == text


def test_one_thing_is_not_many() -> None:
    assert (count(1, "worker"), count(3200, "image"), count(0, "image")) == ("1 worker", "3,200 images", "0 images")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("200GB", 200 * 10**9), ("1.5 TB", 15 * 10**11), ("37kB", 37_000), ("512 MiB", 512 * 2**20), (" 2GiB ", 2**31)],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int) -> None:
    assert read_size(text) == size_bytes


@pytest.mark.parametrize("text", ["200", "GB", "-1GB", "0GB", "1.GB", "1e3GB", "2 GB 3 MB"])
def test_a_text_that_is_no_size_is_answered_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as 200GB, 1\.5TB or 512MiB"):
        read_size(text)
