"""The judge: tells what a 64 px picture shows, having seen drawn pictures only.

A small network that shares nothing with the models it judges. Besides the world's shapes it knows "other" for
pictures that show none of them: empty ones, two shapes at once, ghosts and blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from models.captions import Named
from models.pool import to_tensor
from models.world import FIELDS, VOCABULARY

OTHER = "other"
WEIGHTS = Path(__file__).parent / "judge" / "judge.safetensors"
ANSWERS: dict[str, tuple[str, ...]] = {**VOCABULARY, "shape": (*VOCABULARY["shape"], OTHER)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge sees in one picture; `sure` is the lower of its probabilities of shape and colour."""

    shape: str
    colour: str
    background: str
    size: str
    position: str
    sure: float

    def agrees(self, named: Named, fields: tuple[str, ...] = FIELDS) -> bool:
        """Tell whether the picture shows what a caption names.

        Parameters
        ----------
        named : Named
            The caption, read by `models.captions.read`.
        fields : tuple of str
            Which fields count.

        Returns
        -------
        bool
            True when every named one of those fields is shown.
        """
        return all(getattr(named, field) in (None, getattr(self, field)) for field in fields)


class Eye(nn.Module):
    """The judge's network: four strided convolutions and one linear layer over the whole field of view."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 64)
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.GroupNorm(8, outer), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.answer = nn.Linear(widths[-1] * 16, sum(len(words) for words in ANSWERS.values()))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Look at float32 (B, 3, 64, 64) pictures in [-1, 1]: one (B, words) tensor of logits a field."""
        logits: torch.Tensor = self.answer(self.layers(pictures))
        widths = [len(words) for words in ANSWERS.values()]
        parts: tuple[torch.Tensor, ...] = logits.split(widths, dim=1)  # type: ignore[no-untyped-call]
        return parts


class Judge:
    """Looks at pictures.

    Parameters
    ----------
    eye : Eye
        A trained network.
    """

    def __init__(self, eye: Eye) -> None:
        self._eye = eye.eval()

    @classmethod
    def load(cls, weights: Path = WEIGHTS) -> Judge:
        """Load the carried judge, or another one's safetensors file."""
        eye = Eye()
        eye.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
        return cls(eye)

    def save(self, weights: Path = WEIGHTS) -> None:
        """Write the weights in half precision."""
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.half().contiguous() for name, value in self._eye.state_dict().items()}, weights)
        weights.chmod(0o644)

    def look(self, pictures: NDArray[np.uint8], batch: int = 256) -> list[Verdict]:
        """Look at pictures.

        Parameters
        ----------
        pictures : numpy.ndarray
            uint8 (N, 64, 64, 3), RGB.
        batch : int
            How many at a time.

        Returns
        -------
        list of Verdict
            One a picture, in order.
        """
        verdicts: list[Verdict] = []
        with torch.inference_mode():
            for start in range(0, len(pictures), batch):
                verdicts += _verdicts(self._eye(to_tensor(pictures[start : start + batch])))
        return verdicts


def _verdicts(logits: tuple[torch.Tensor, ...]) -> list[Verdict]:
    best = [part.softmax(1).max(1) for part in logits]
    sure = torch.minimum(best[0].values, best[1].values).tolist()
    told = [[words[i] for i in part.indices.tolist()] for part, words in zip(best, ANSWERS.values(), strict=True)]
    return [
        Verdict(shape, colour, background, size, position, probability)
        for shape, colour, background, size, position, probability in zip(*told, sure, strict=True)
    ]
