"""Write the two model folders: fp16 safetensors, replaced whole.

Knows nothing of how the weights came about.
"""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from models.train_tokenizer import save_tokenizer
from models.train_unet import new_scheduler
from models.world import PICTURE_PX

MODELS = Path(__file__).parent
SHAPES = MODELS / "shapes"
SHAPES_CLIP = MODELS / "shapes-clip"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a pipeline is put together from."""

    clip: CLIPModel
    tokenizer: CLIPTokenizer
    vae: AutoencoderKL
    unet: UNet2DConditionModel

    def pipeline(self) -> StableDiffusionPipeline:
        """Put the pipeline together, without a safety checker: it draws nothing but shapes."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.clip.text_model,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=new_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def halved(self) -> Parts:
        """Give a copy in half precision."""
        clip, vae, unet = (copy.deepcopy(model).half() for model in (self.clip, self.vae, self.unet))
        return Parts(clip, self.tokenizer, vae, unet)


def _begin(place: Path) -> Path:
    fresh = place.with_name(f".{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    return fresh


def _swap(fresh: Path, place: Path) -> None:
    for file in fresh.rglob("*.safetensors"):
        file.chmod(0o644)
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _load_in_float32(config: Path) -> None:
    """Have transformers load a half-precision file in full precision unless told otherwise.

    diffusers loads its own parts in full precision by default; the text encoder must match.
    """
    stored = json.loads(config.read_text(encoding="utf-8"))
    for part in (stored, stored.get("text_config", {}), stored.get("vision_config", {})):
        if "dtype" in part:
            part["dtype"] = "float32"
    config.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def save_pipeline(parts: Parts, place: Path = SHAPES) -> None:
    """Write the pipeline folder in half precision, in one swap."""
    fresh = _begin(place)
    parts.halved().pipeline().save_pretrained(fresh)
    _load_in_float32(fresh / "text_encoder" / "config.json")
    save_tokenizer(parts.tokenizer, fresh / "tokenizer")
    _swap(fresh, place)


def save_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, place: Path = SHAPES_CLIP) -> None:
    """Write the CLIP folder in half precision, with a processor that takes 64 px pictures as they are."""
    fresh = _begin(place)
    edge = {"height": PICTURE_PX, "width": PICTURE_PX}
    images = CLIPImageProcessorPil(
        size={"shortest_edge": PICTURE_PX}, crop_size=edge, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    copy.deepcopy(clip).half().save_pretrained(fresh)
    _load_in_float32(fresh / "config.json")
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(fresh)
    save_tokenizer(tokenizer, fresh)
    _swap(fresh, place)
