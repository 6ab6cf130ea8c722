"""Text encoded once: what a pipeline's text encoders made of a prompt serves all of its seeds.

Knows nothing of denoising. Works at the one seam that pipelines share, their `encode_prompt`, whose arguments and
results differ in number but not in kind: texts in lists, tensors with one row a text.
"""

from __future__ import annotations

import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch

_BUDGET_BYTES = 256 * 2**20  # three thousand prompts of Stable Diffusion XL; a tenth of that where T5 reads them

Encode = Callable[..., Any]
Row = tuple[torch.Tensor | None, ...]


class TextMemo:
    """Encodes each prompt of a pipeline, with its negative prompt, once, as long as there is room for the results.

    Parameters
    ----------
    encode : callable
        The pipeline's own `encode_prompt`.
    budget_bytes : int
        Memory for results, on the device that they were made on; the least recently used go first.
    """

    def __init__(self, encode: Encode, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._budget_bytes = budget_bytes
        self._held_bytes = 0
        self._rows: OrderedDict[object, Row] = OrderedDict()
        self._apart: dict[str, tuple[bool, ...]] = {}  # by context, which parts have a row a text
        self._unshared: set[str] = set()  # contexts in which what comes of a text depends on its companions
        self._lock = threading.Lock()  # tokenizers refuse to be used from two threads at once
        self._last: tuple[Mapping[str, list[Any]], Mapping[str, Any]] | None = None
        self.encoders = ""  # what the encoders are changed by at the moment; each change makes other texts of the same

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Do as the pipeline's `encode_prompt` does, reading each text at most once.

        Texts that are new are encoded together, filled up to the batch that was asked for: how many are encoded at once
        moves the lowest bits, and a prompt's companions must not.
        """
        given = self._signature.bind(*arguments, **named).arguments
        texts = {name: value for name, value in given.items() if isinstance(value, list)}
        rest = {name: value for name, value in given.items() if name not in texts}
        if not texts or not _can_be_shared(texts, rest):
            return self._encode(*arguments, **named)
        with self._lock:
            self._last = texts, rest
            return self._recalled(texts, rest)

    def read_ahead(self, texts: Mapping[str, list[Any]]) -> None:
        """Encode texts that the pipeline will ask for, taking for granted that it asks as it did the last time.

        Where it asks otherwise, they are encoded then.

        Parameters
        ----------
        texts : mapping
            Every list of texts that the pipeline is going to be called with, by name.
        """
        if self._last is None:
            return
        asked, rest = self._last
        if asked.keys() <= texts.keys():
            with self._lock:
                self._recalled({name: texts[name] for name in asked}, rest, is_ahead=True)

    def _recalled(self, texts: Mapping[str, list[Any]], rest: Mapping[str, Any], is_ahead: bool = False) -> Any:
        rows = list(zip(*texts.values(), strict=True))
        context = repr((self.encoders, len(rows), sorted(texts), sorted(rest.items())))
        if context in self._unshared:
            return None if is_ahead else self._encode(**texts, **rest)
        return self._found(context, [(context, *row) for row in rows], texts, rest)

    def _found(self, context: str, keys: list[Any], texts: Mapping[str, list[Any]], rest: Mapping[str, Any]) -> Any:
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self._rows}
        fresh: dict[object, Row] = {}
        if new:
            places = sorted(new.values())
            padded = places + [places[-1]] * (len(keys) - len(places))
            made = self._encode(**{name: [value[at] for at in padded] for name, value in texts.items()}, **rest)
            if not _has_rows(made, len(keys)):
                return self._as_given(context, texts, rest)
            self._apart[context] = tuple(part is not None and part.shape[0] == len(keys) for part in made)
            fresh = {keys[place]: self._row(context, made, at) for at, place in enumerate(places)}
        rows = [fresh.get(key) or self._rows[key] for key in keys]
        if any(len({_shape(part) for part in parts}) > 1 for parts in zip(*rows, strict=True)):
            return self._as_given(context, texts, rest)  # as long as the longest text beside it: nothing to share
        self._keep(fresh, keys)
        columns = zip(self._apart[context], zip(*rows, strict=True), strict=True)
        return tuple(torch.cat(parts) if is_apart else parts[0] for is_apart, parts in columns)

    def _row(self, context: str, made: Row, at: int) -> Row:
        """Return what belongs to one text; a part without a row each, as positions, belongs to all of them alike."""
        parts = zip(self._apart[context], made, strict=True)  # a view would hold the whole batch
        return tuple(part[at : at + 1].clone() if is_apart and part is not None else part for is_apart, part in parts)

    def _as_given(self, context: str, texts: Mapping[str, list[Any]], rest: Mapping[str, Any]) -> Any:
        """Encode texts as the pipeline would, here and from now on."""
        self._unshared.add(context)
        return self._encode(**texts, **rest)

    def _keep(self, fresh: Mapping[object, Row], used: list[Any]) -> None:
        for key in used:
            if key in self._rows:
                self._rows.move_to_end(key)
        for key, row in fresh.items():
            self._rows[key] = row
            self._held_bytes += _size_bytes(row)
        while self._held_bytes > self._budget_bytes:
            _, oldest = self._rows.popitem(last=False)
            self._held_bytes -= _size_bytes(oldest)


def share_texts(pipeline: Any) -> None:
    """Have a pipeline encode each text once; one without `encode_prompt` is left as it is."""
    if callable(getattr(pipeline, "encode_prompt", None)):
        pipeline.encode_prompt = TextMemo(pipeline.encode_prompt)


def _can_be_shared(texts: Mapping[str, list[Any]], rest: Mapping[str, Any]) -> bool:
    """Whether rows are texts, one a picture, and nothing comes ready-made."""
    lengths = {len(value) for value in texts.values()}
    plain = all(isinstance(text, str) for value in texts.values() for text in value)
    return plain and len(lengths) == 1 and not any(isinstance(value, torch.Tensor) for value in rest.values())


def _has_rows(made: Any, count: int) -> bool:
    """Whether there are tensors, some with a row a text; a pipeline that returns anything else is not taken apart."""
    parts = made if isinstance(made, tuple) else ()
    tensors = [part for part in parts if part is not None]
    return all(map(torch.is_tensor, tensors)) and any(part.shape[0] == count for part in tensors)


def _shape(part: torch.Tensor | None) -> tuple[int, ...]:
    return () if part is None else tuple(part.shape)


def _size_bytes(row: Row) -> int:
    return sum(part.nbytes for part in row if part is not None)
