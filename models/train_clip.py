"""The CLIP stage: a text and a picture tower that place a caption near every picture it fits.

A caption's positives are all pictures of the batch that show what it names, so that "a green star" is near green
stars on any background. Two linear readers that name the five words from either embedding speed up the start; they
are thrown away. Knows nothing of the pipeline that later borrows the text tower.

References
----------
Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
Khosla et al., Supervised Contrastive Learning, 2020 (several positives a row).
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from models.pool import Pool, roughen, to_tensor
from models.train_tokenizer import MAX_TOKENS
from models.training import Course, Plan
from models.world import PICTURE_PX, VOCABULARY

log = logging.getLogger("models.train")

WIDTH = 128
EMBEDDING = 96


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Give an untrained CLIP for a tokenizer: text 3 x 128, pictures 5 x 128 in patches of 16 px."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    tower = {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_attention_heads": 4}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": MAX_TOKENS, "num_hidden_layers": 3}
    vision = {"image_size": PICTURE_PX, "patch_size": 16, "num_hidden_layers": 5}
    config = CLIPConfig(
        text_config={**tower, **text, **ids, "projection_dim": EMBEDDING},
        vision_config={**tower, **vision, "projection_dim": EMBEDDING},
        projection_dim=EMBEDDING,
    )
    return CLIPModel(config)


def tokens(tokenizer: CLIPTokenizer, texts: list[str], padding: str = "longest") -> torch.Tensor:
    """Tokenise texts into int64 (B, L) ids, L at most 32."""
    read = tokenizer(texts, padding=padding, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    ids: torch.Tensor = read["input_ids"]
    return ids


def embed_texts(clip: CLIPModel, ids: torch.Tensor) -> torch.Tensor:
    """Embed int64 (B, L) token ids as float32 (B, 96) of length 1."""
    return F.normalize(clip.text_projection(clip.text_model(input_ids=ids).pooler_output), dim=-1)


def embed_pictures(clip: CLIPModel, pictures: torch.Tensor) -> torch.Tensor:
    """Embed float32 (B, 3, 64, 64) pictures in [-1, 1] as float32 (B, 96) of length 1."""
    return F.normalize(clip.visual_projection(clip.vision_model(pixel_values=pictures).pooler_output), dim=-1)


class Student(nn.Module):
    """A CLIP and the two readers that help it start."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        words = sum(len(names) for names in VOCABULARY.values())
        self.text_reader = nn.Linear(EMBEDDING, words)
        self.picture_reader = nn.Linear(EMBEDDING, words)


def shared_positives(named: NDArray[np.int64], shown: NDArray[np.int64]) -> torch.Tensor:
    """Tell which pictures each caption fits.

    Parameters
    ----------
    named : numpy.ndarray
        int64 (B, 5) codes the captions name, -1 where silent.
    shown : numpy.ndarray
        int64 (B, 5) codes the pictures show.

    Returns
    -------
    torch.Tensor
        bool (B, B), caption by picture.
    """
    fits = (named[:, None, :] < 0) | (named[:, None, :] == shown[None, :, :])
    return torch.from_numpy(fits.all(axis=2))


def contrast(similar: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Give the contrastive loss of (B, B) logits when a row may have several positives."""
    share = positives.float()
    rows = -(share / share.sum(1, keepdim=True) * similar.log_softmax(1)).sum(1).mean()
    columns = -(share / share.sum(0, keepdim=True) * similar.log_softmax(0)).sum(0).mean()
    return 0.5 * (rows + columns)


def _reading_loss(logits: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    sizes = [len(names) for names in VOCABULARY.values()]
    parts: tuple[torch.Tensor, ...] = logits.split(sizes, dim=1)  # type: ignore[no-untyped-call]
    losses = [F.cross_entropy(part, codes[:, i], ignore_index=-1) for i, part in enumerate(parts)]
    return torch.stack(losses).mean()


def batch_loss(student: Student, tokenizer: CLIPTokenizer, pool: Pool, plan: Plan, step: int) -> torch.Tensor:
    """Give the loss of one step's batch, which seed and step decide."""
    rng = np.random.default_rng((plan.seed, step))
    rows = rng.choice(len(pool.scenes), size=plan.batch, replace=False)
    texts, named = pool.captions(rows, rng)
    shown = pool.codes[rows]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    pictures = roughen(to_tensor(pool.pictures[rows]), generator)
    text = embed_texts(student.clip, tokens(tokenizer, texts))  # (B, 96)
    picture = embed_pictures(student.clip, pictures)  # (B, 96)
    scale = student.clip.logit_scale.clamp(max=4.0).exp()
    loss = contrast(scale * text @ picture.T, shared_positives(named, shown))
    told = _reading_loss(10.0 * student.text_reader(text), torch.from_numpy(named))
    seen = _reading_loss(10.0 * student.picture_reader(picture), torch.from_numpy(shown))
    return loss + told + seen


def train_clip(tokenizer: CLIPTokenizer, pool: Pool, plan: Plan, work: Path) -> tuple[CLIPModel, float]:
    """Train the CLIP.

    Returns
    -------
    tuple
        The averaged model in evaluation mode, and the seconds its training took in all.
    """
    torch.manual_seed(plan.seed)
    course = Course(Student(new_clip(tokenizer)), plan, work)
    for step in course.steps():
        course.learn(batch_loss(course.module, tokenizer, pool, plan, step))
    clip: CLIPModel = course.average.clip
    return clip.eval(), course.seconds
