"""A training course: optimiser, schedule, running average, progress and resume, shared by all stages.

Knows nothing of what is trained: a stage hands in a module and a loss a step.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

Learner = TypeVar("Learner", bound=nn.Module)
log = logging.getLogger("models.train")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast one stage learns."""

    name: str
    steps: int
    batch: int
    peak_lr: float
    seed: int = 0
    warmup_steps: int = 100
    final_lr_share: float = 0.02
    average_decay: float = 0.998
    save_every: int = 500
    log_every: int = 50

    def lr(self, step: int) -> float:
        """Give the learning rate at a step: linear warm-up, then half a cosine."""
        if step < self.warmup_steps:
            return self.peak_lr * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak_lr * (self.final_lr_share + (1 - self.final_lr_share) * 0.5 * (1 + math.cos(math.pi * done)))

    def decay(self, step: int) -> float:
        """Give the running average's decay at a step, lower at first so that it forgets the start."""
        return min(self.average_decay, (1 + step) / (10 + step))


class Course(Generic[Learner]):
    """One stage's training run, resumed from its work folder when it was cut short.

    Parameters
    ----------
    module : torch.nn.Module
        What learns.
    plan : Plan
        Its schedule.
    work : pathlib.Path
        Folder of the checkpoint ``<plan.name>.ckpt``.
    """

    def __init__(self, module: Learner, plan: Plan, work: Path) -> None:
        self.module = module
        self.plan = plan
        self.average = copy.deepcopy(module).requires_grad_(False).eval()
        self._checkpoint = work / f"{plan.name}.ckpt"
        matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(groups, lr=plan.peak_lr, betas=(0.9, 0.98))
        self._step = 0
        self.seconds = 0.0
        self._losses: list[float] = []
        if self._checkpoint.exists():
            self._resume()

    def steps(self) -> Iterator[int]:
        """Yield each step still to do, after which the caller must have called `learn` once."""
        self.module.train()
        while self._step < self.plan.steps:
            started = time.perf_counter()
            yield self._step
            self._step += 1
            self.seconds += time.perf_counter() - started
            self._report()
            if self._step % self.plan.save_every == 0 or self._step == self.plan.steps:
                self._save()

    def learn(self, loss: torch.Tensor) -> None:
        """Take one optimiser step down a scalar loss and update the running average."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.plan.lr(self._step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self._optimiser.step()
        decay = self.plan.decay(self._step)
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.module.parameters(), strict=True):
                mean.lerp_(now, 1.0 - decay)
        self._losses.append(float(loss.detach()))

    def _report(self) -> None:
        if self._step % self.plan.log_every and self._step != self.plan.steps:
            return
        eta_s = self.seconds / self._step * (self.plan.steps - self._step)
        mean = sum(self._losses) / max(1, len(self._losses))
        self._losses.clear()
        log.info("%s step %d/%d loss %.4f spent %.0f s eta %.0f s",
                 self.plan.name, self._step, self.plan.steps, mean, self.seconds, eta_s)  # fmt: skip

    def _save(self) -> None:
        state = {
            "step": self._step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        partial = self._checkpoint.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step, self.seconds = state["step"], state["seconds"]
        log.info("%s resumes at step %d", self.plan.name, self._step)
