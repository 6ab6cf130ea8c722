"""Each text is encoded once, and no picture can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.workers.tiny_models import MAKERS, make_batch, save_tiny
from workers.engines.diffusers_renderer import DiffusersRenderer
from workers.engines.text_memo import TextMemo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
WIDTH = 4


class Encoder:
    """Stands where a pipeline's `encode_prompt` does, and writes down what it had to read."""

    def __init__(self) -> None:
        self.read: list[list[str]] = []

    def encode_prompt(self, prompt: Any, negative_prompt: Any = None, guided: bool = True, embeds: Any = None) -> Any:
        self.read.append(list(prompt))
        texts = torch.stack([self.vector(text) for text in prompt])
        return texts, torch.stack([self.vector(text) for text in negative_prompt]) if guided else None

    @staticmethod
    def vector(text: str) -> torch.Tensor:
        return torch.full((2, WIDTH), float(sum(text.encode())))


def assert_encodes(memo: TextMemo, prompts: list[str], negatives: list[str]) -> None:
    texts, others = memo(prompt=prompts, negative_prompt=negatives)
    assert torch.equal(texts, torch.stack([Encoder.vector(text) for text in prompts]))
    assert torch.equal(others, torch.stack([Encoder.vector(text) for text in negatives]))


def test_a_text_is_read_once_for_all_its_seeds_and_batches() -> None:
    encoder = Encoder()
    memo = TextMemo(encoder.encode_prompt)
    assert_encodes(memo, ["a", "a", "b", "a"], [""] * 4)
    assert_encodes(memo, ["b", "c", "a", "c"], [""] * 4)
    # Filled up to the batch: how many are encoded at once moves the lowest bits.
    assert encoder.read == [["a", "b", "b", "b"], ["c", "c", "c", "c"]]


def test_a_batch_of_another_size_encodes_its_own_as_its_lowest_bits_differ() -> None:
    encoder = Encoder()
    memo = TextMemo(encoder.encode_prompt)
    for prompts in (["a", "b"], ["a"], ["b", "a"]):
        assert_encodes(memo, prompts, [""] * len(prompts))
    assert encoder.read == [["a", "b"], ["a"]]


def test_what_was_read_ahead_is_not_read_again() -> None:
    encoder = Encoder()
    memo = TextMemo(encoder.encode_prompt)
    memo.read_ahead({"prompt": ["a"], "negative_prompt": [""]})  # how the pipeline asks is not known yet
    assert encoder.read == []
    assert_encodes(memo, ["a", "b"], ["", ""])
    memo.read_ahead({"prompt": ["c", "b"], "negative_prompt": ["", ""]})
    assert_encodes(memo, ["c", "b"], ["", ""])
    assert encoder.read == [["a", "b"], ["c", "c"]]


def test_what_belongs_to_all_texts_alike_is_handed_on_as_it_is() -> None:
    encoder = Encoder()

    def with_positions(prompt: Any, negative_prompt: Any = None) -> Any:
        return (*encoder.encode_prompt(prompt, negative_prompt), torch.zeros(7, 3), None, torch.ones(1, 3))

    memo = TextMemo(with_positions)
    for prompts in (["a", "b"], ["b", "a"], ["b", "c"]):
        texts, _, positions, nothing, one = memo(prompt=prompts, negative_prompt=["", ""])
        assert torch.equal(texts, torch.stack([Encoder.vector(text) for text in prompts]))
        assert positions.shape == (7, 3)
        assert nothing is None
        assert one.shape == (1, 3)
    assert encoder.read == [["a", "b"], ["c", "c"]]


def test_texts_that_are_as_long_as_their_longest_companion_are_not_shared() -> None:
    read: list[list[str]] = []

    def padded(prompt: list[str]) -> Any:
        read.append(prompt)
        return (torch.stack([torch.full((max(map(len, prompt)), WIDTH), float(len(text))) for text in prompt]),)

    memo = TextMemo(padded)
    for prompts in (["a", "b"], ["a", "ccc"], ["ccc", "a"]):
        (texts,) = memo(prompt=prompts)
        assert texts.shape == (2, max(map(len, prompts)), WIDTH)
    memo.read_ahead({"prompt": ["a", "dddd"]})
    assert read == [["a", "b"], ["ccc", "ccc"], ["a", "ccc"], ["ccc", "a"]]


def test_the_same_prompt_with_other_settings_is_another_text() -> None:
    encoder = Encoder()
    memo = TextMemo(encoder.encode_prompt)
    memo(prompt=["a"], negative_prompt=["x"])
    memo(prompt=["a"], negative_prompt=["y"])
    assert memo(prompt=["a"], negative_prompt=["x"], guided=False)[1] is None
    assert len(encoder.read) == 3


def test_memory_is_bounded_and_what_was_used_last_stays() -> None:
    encoder = Encoder()
    row_bytes = 2 * 2 * WIDTH * 4
    memo = TextMemo(encoder.encode_prompt, budget_bytes=2 * row_bytes)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        assert_encodes(memo, [prompt], [""])
    assert encoder.read == [["a"], ["b"], ["c"], ["b"]]


def test_a_batch_larger_than_the_budget_is_encoded_all_the_same() -> None:
    memo = TextMemo(Encoder().encode_prompt, budget_bytes=1)
    for _ in range(2):
        assert_encodes(memo, ["a", "b"], ["", ""])


@pytest.mark.parametrize(
    "arguments",
    [
        {"prompt": "one text"},
        {"prompt": ["a"], "negative_prompt": ["", ""]},
        {"prompt": ["a"], "negative_prompt": [None], "guided": False},
        {"prompt": ["a"], "negative_prompt": [""], "embeds": torch.zeros(1)},
    ],
    ids=["no list", "unequal lists", "not texts", "ready-made embeddings"],
)
def test_what_cannot_be_taken_apart_is_passed_on_as_it_is(arguments: dict[str, Any]) -> None:
    seen = []

    def encode_prompt(prompt: Any, negative_prompt: Any = None, guided: bool = True, embeds: Any = None) -> str:
        seen.append((prompt, negative_prompt, guided, embeds))
        return "result"

    memo = TextMemo(encode_prompt)
    for _ in range(2):
        assert memo(**arguments) == "result"
    assert len(seen) == 2


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("kind", list(MAKERS))
def test_pictures_are_the_same_with_and_without_memory(kind: str, tmp_path: Path) -> None:
    folder = save_tiny(kind, tmp_path / kind)
    seeds = make_batch(["a red circle", "a green star", "a red circle"], seed=[1, 2, 3])
    later = make_batch(["a green star", "two yellow squares", "a red circle"], seed=[4, 5, 6])
    with_memory, without = DiffusersRenderer(folder), DiffusersRenderer(folder)
    encode: Callable[..., Any] | None = getattr(without._pipeline, "encode_prompt", None)
    if isinstance(encode, TextMemo):
        without._pipeline.encode_prompt = encode._encode
    for batch in (seeds, later):
        assert np.array_equal(with_memory.render(batch), without.render(batch))


def test_a_batch_that_was_read_ahead_gives_the_same_pictures_without_reading_again(tmp_path: Path) -> None:
    engine = DiffusersRenderer(save_tiny("sd", tmp_path / "sd"))
    batches = [make_batch(["a", "b"]), make_batch(["c", "d"]), make_batch(["c", "d"])]
    engine.render(batches[0])
    engine.read_ahead(batches[1])
    encoder = engine._pipeline.text_encoder
    engine._pipeline.text_encoder = None  # whoever reads now fails
    ahead = engine.render(batches[1])
    engine._pipeline.text_encoder = encoder
    fresh = DiffusersRenderer(tmp_path / "sd").render(batches[2])
    assert np.array_equal(ahead, fresh)
