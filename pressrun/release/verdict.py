"""Whether a new revision draws the golden pictures like enough, and what people are told of it.

Knows nothing of how pictures are drawn or found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pressrun.wording import count


@dataclass(frozen=True, slots=True)
class GoldenBudget:
    """How far each picture may be from its golden one.

    Parameters
    ----------
    least_psnr_db : float
        Peak signal-to-noise ratio, decibels; 30 is hard to see, equal pictures have infinity.
    least_ssim : float
        Structural similarity, -1 .. 1; equal pictures have 1.
    """

    least_psnr_db: float = 30.0
    least_ssim: float = 0.9


@dataclass(frozen=True, slots=True)
class Comparison:
    """A golden picture and the one that the new revision drew of the same request.

    Parameters
    ----------
    image_id : str
        The golden picture.
    prompt : str
        Of both.
    path : str
        Where the golden picture is.
    psnr_db : float
        Peak signal-to-noise ratio; infinity for equal pictures.
    ssim : float
        Structural similarity; 1 for equal pictures.
    changes : tuple of str
        What else decides bits and is not as it was, as "torch 2.12.0 then, 2.13.0 now".
    """

    image_id: str
    prompt: str
    path: str
    psnr_db: float
    ssim: float
    changes: tuple[str, ...] = ()

    def breach(self, budget: GoldenBudget) -> str:
        """Return what is over the budget, with both numbers; "" when nothing is."""
        found = []
        if self.psnr_db < budget.least_psnr_db:
            found.append(f"PSNR {self.psnr_db:.1f} dB, at least {budget.least_psnr_db:.1f} dB wanted")
        if self.ssim < budget.least_ssim:
            found.append(f"SSIM {self.ssim:.3f}, at least {budget.least_ssim:.3f} wanted")
        return " and ".join(found)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A golden set drawn again by a new revision.

    Parameters
    ----------
    comparisons : tuple of Comparison
        Every picture, the least like first; one at least.
    budget : GoldenBudget
        What was allowed.
    """

    comparisons: tuple[Comparison, ...]
    budget: GoldenBudget

    @classmethod
    def of(cls, comparisons: list[Comparison], budget: GoldenBudget) -> Verdict:
        """Return the verdict on pictures in any order."""
        # Pictures over the budget come first, whichever of the two numbers it is that they fail by.
        ranked = sorted(comparisons, key=lambda one: (not one.breach(budget), one.psnr_db, one.ssim, one.image_id))
        return cls(tuple(ranked), budget)

    @property
    def worst(self) -> Comparison:
        """The picture that is least like its golden one."""
        return self.comparisons[0]

    @property
    def over_budget(self) -> int:
        """How many pictures differ more than allowed."""
        return sum(bool(one.breach(self.budget)) for one in self.comparisons)

    @property
    def is_accepted(self) -> bool:
        """Whether every picture is within the budget."""
        return self.over_budget == 0

    @property
    def line(self) -> str:
        """The verdict in one line."""
        worst = self.worst
        if math.isinf(worst.psnr_db):
            return f"{count(len(self.comparisons), 'golden picture')} drawn again, all equal"
        return (
            f"{count(len(self.comparisons), 'golden picture')} drawn again, {self.over_budget} over the budget; the "
            f"least like is {worst.prompt!r}: PSNR {worst.psnr_db:.1f} dB, SSIM {worst.ssim:.3f}"
        )

    def refusal(self, model: str) -> str:
        """Return why a model is not released, with the numbers of the worst picture and the remedy."""
        worst = self.worst
        also = f" Other than when they were drawn: {'; '.join(worst.changes)}." if worst.changes else ""
        return (
            f"{self.over_budget} of {len(self.comparisons)} golden pictures come out other than allowed with the model "
            f"{model}. The worst is {worst.prompt!r} ({worst.path}): {worst.breach(self.budget)}.{also} If the change "
            "is wanted, write a new golden set to a new place; else do not use this revision."
        )

    def table(self) -> str:
        """Return every picture as a row of a Markdown table, the least like first."""
        head = (
            f"{self.line}. At least {self.budget.least_psnr_db:.1f} dB and an SSIM of {self.budget.least_ssim:.3f} "
            "are wanted of each.\n\n| | prompt | PSNR (dB) | SSIM | picture |\n|---|---|---|---|---|"
        )
        return "\n".join([head, *(_row(one, self.budget) for one in self.comparisons)])


def _row(one: Comparison, budget: GoldenBudget) -> str:
    noise = "equal" if math.isinf(one.psnr_db) else f"{one.psnr_db:.1f}"
    state = "over the budget" if one.breach(budget) else "good"
    prompt = " ".join(one.prompt.split()).replace("|", "\\|")
    return f"| {state} | {prompt} | {noise} | {one.ssim:.3f} | {one.path} |"
