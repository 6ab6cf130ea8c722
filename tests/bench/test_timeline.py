"""What the engines of the benchmarks note, and what is made of it."""

from __future__ import annotations

import pytest

from bench.timeline import Span, busy, note_span, read_spans


def test_notes_are_read_as_they_were_written(tmp_path):
    spans = [Span(1, 0.0, 1.0, 4, 0.8), Span(1, 1.0, 2.0, 4, 0.8), Span(2, 0.5, 1.5, 4, 0.7)]
    for span in spans:
        note_span(tmp_path / "collection", span)
    assert read_spans(tmp_path / "collection") == spans


def test_a_worker_that_waits_between_two_renderings_is_not_busy_meanwhile():
    found = busy([Span(1, 0.0, 1.0, 4, 0.5), Span(1, 3.0, 4.0, 4, 0.5)])
    assert (found.rendering_share, found.denoising_share) == (0.5, 0.25)


def test_each_worker_counts_from_its_own_first_rendering_and_the_tail_is_told():
    found = busy([Span(1, 0.0, 4.0, 4, 4.0), Span(2, 2.0, 5.0, 4, 3.0)])
    assert (found.workers, found.rendering_share) == (2, 1.0)
    assert found.tail_s == pytest.approx(1.0)


def test_what_is_decoded_beside_the_next_rendering_counts_once():
    found = busy([Span(1, 0.0, 3.0, 4, 2.0), Span(1, 2.0, 4.0, 4, 2.0)])
    assert (found.rendering_share, found.denoising_share) == (1.0, 1.0)
