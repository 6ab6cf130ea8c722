"""The tokenizer: byte-level BPE in CLIP's format, learned from the captions.

Start and end are the two highest ids: CLIP's text tower pools where the end token stands, and a reader that looks
for the highest id finds the same place. Knows nothing of models.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import CLIPTokenizer

from models.captions import describe
from models.world import split_scenes

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 32
MERGES = 600


def _learn_merges(texts: list[str]) -> list[tuple[str, str]]:
    normal = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = normal.normalizer, normal.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=512 + MERGES,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def make_tokenizer(seed: int, captions: int = 20_000) -> CLIPTokenizer:
    """Learn the tokenizer from freshly written captions.

    Parameters
    ----------
    seed : int
        Picks the captions.
    captions : int
        How many.

    Returns
    -------
    transformers.CLIPTokenizer
        Every byte has a token, so any text in any script has tokens; 32 tokens at most; padded with the end token.
    """
    rng = np.random.default_rng(seed)
    scenes, _ = split_scenes()
    texts = [describe(scenes[i], rng)[0] for i in rng.integers(len(scenes), size=captions)]
    merges = _learn_merges(texts)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(words))}
    vocab |= {START: len(vocab), END: len(vocab) + 1}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a tokenizer in the current format and, for older readers, as vocab.json and merges.txt too."""
    tokenizer.backend_tokenizer.no_padding()  # what the last call asked for would be stored
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{pair}\n" for pair in pairs), encoding="utf-8")
    vocab = json.dumps(model["vocab"], ensure_ascii=False)
    (folder / "vocab.json").write_text(vocab + "\n", encoding="utf-8")


__all__ = ["END", "MAX_TOKENS", "START", "make_tokenizer", "save_tokenizer"]
