"""Train everything this folder carries: ``python -m models.train``.

The stages run in order: tokenizer, judge, CLIP, VAE, UNet. Each leaves its state in the work folder, so a run that was
cut short goes on where it stopped and a finished stage costs nothing. Knows nothing of how well the result does; that
is ``python -m models.evaluate``.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPTokenizer

from models.pool import Pool, drawn_pool
from models.publish import Parts, save_clip, save_pipeline
from models.train_clip import train_clip
from models.train_judge import train_judge
from models.train_tokenizer import make_tokenizer
from models.train_unet import Lessons, Text, train_unet
from models.train_vae import latents_for, train_vae
from models.training import Plan

log = logging.getLogger("models.train")

POOL_SIZE = 46_200
JUDGE = Plan("judge", steps=1500, batch=128, peak_lr=2e-3, seed=5, log_every=100)
CLIP = Plan("clip", steps=1800, batch=192, peak_lr=1e-3, seed=10)
VAE = Plan("vae", steps=900, batch=16, peak_lr=2e-3, seed=20)
UNET = Plan("unet", steps=11_500, batch=32, peak_lr=1e-3, seed=30, average_decay=0.999, log_every=100)


def _train_clip(tokenizer: CLIPTokenizer, pool: Pool, plan: Plan, work: Path) -> CLIPModel:
    clip, seconds = train_clip(tokenizer, pool, plan, work)
    save_clip(clip, tokenizer)
    log.info("clip trained in %.0f s", seconds)
    return clip


def train_all(work: Path, seed: int = 0) -> None:
    """Train all stages and replace the carried models.

    Parameters
    ----------
    work : pathlib.Path
        Where the stages keep what they need to go on after an interruption.
    seed : int
        Decides pictures, captions, weights and noise.
    """
    work.mkdir(parents=True, exist_ok=True)
    judge_plan, clip_plan, vae_plan, unet_plan = (
        replace(plan, seed=plan.seed + 100 * seed) for plan in (JUDGE, CLIP, VAE, UNET)
    )
    tokenizer = make_tokenizer(seed)
    pool = drawn_pool(POOL_SIZE, seed + 1, work)
    judge, seconds = train_judge(pool, judge_plan, work)
    judge.save()
    log.info("judge trained in %.0f s", seconds)
    clip = _train_clip(tokenizer, pool, clip_plan, work)
    vae, seconds = train_vae(pool, vae_plan, work)
    log.info("vae trained in %.0f s", seconds)
    text = Text(tokenizer, clip.text_model)
    unet, seconds = train_unet(Lessons(pool, latents_for(pool).of_all(pool), text), unet_plan, work)
    log.info("unet trained in %.0f s", seconds)
    save_pipeline(Parts(clip, tokenizer, vae, unet))


def main() -> None:
    """Read the command line and train."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--work", type=Path, default=Path(".work/train"), help="where unfinished stages are kept")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--threads", type=int, default=2)
    options = reader.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    train_all(options.work, options.seed)


if __name__ == "__main__":
    main()
