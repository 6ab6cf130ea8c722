"""Makes tiny pipelines with random weights, one of each kind, and batches to render with them."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import pyarrow as pa
import torch
from tokenizers import pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from pressrun.batch import Batch
from pressrun.request import REQUEST_SCHEMA, image_id

Folders = Callable[[str], Path]
WORDS = "a small red circle on blue background large green star left two yellow squares".split()
WIDTH = 8  # text width of every tiny model


def make_batch(prompts: list[str], size: int | None = None, **fields: Any) -> Batch:
    """Return a batch; `fields` are values for every request, or lists with one each."""
    defaults: dict[str, Any] = {
        "negative_prompt": "",
        "seed": list(range(len(prompts))),
        "width_px": 32,
        "height_px": 32,
        "steps": 2,
        "guidance_scale": 3.0,
        "scheduler": "default",
        "adapters": "",
        "image_number": 0,
        "user_id": None,
        "extra": "{}",
    }
    columns = {
        name: value if isinstance(value, list) else [value] * len(prompts)
        for name, value in {**defaults, **fields}.items()
    }
    ids = [image_id((prompt, row), "0" * 32) for row, prompt in enumerate(prompts)]
    columns |= {"prompt": prompts, "row": list(range(1, len(prompts) + 1)), "image_id": ids}
    return Batch("b" * 16, pa.table(columns, schema=REQUEST_SCHEMA), size or len(prompts))


def save_tiny(kind: str, folder: Path) -> Path:
    """Write the tiny pipeline of a kind and return its folder."""
    torch.manual_seed(0)
    MAKERS[kind]().save_pretrained(folder, safe_serialization=True)
    return folder


def _clip_tokenizer() -> CLIPTokenizer:
    """Return a tokenizer of letters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77)


def _t5_tokenizer() -> T5Tokenizer:
    """Return a tokenizer of a few words and of letters; one that is trained comes out otherwise in each process."""
    special = ["<pad>", "</s>", "<unk>"]
    words = [f"\u2581{word}" for word in WORDS] + ["\u2581", *string.ascii_lowercase, ","]
    scores = [(word, 0.0) for word in special] + [(word, -float(number)) for number, word in enumerate(words, start=3)]
    return T5Tokenizer(vocab=scores, extra_ids=0, model_max_length=77)


def _clip_text(tokenizer: CLIPTokenizer, projection: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=16,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def _t5_text(tokenizer: T5Tokenizer) -> T5EncoderModel:
    config = T5Config(vocab_size=len(tokenizer), d_model=WIDTH, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def _vae(latent_channels: int = 4) -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.1,
    ).eval()


def _unet(cross_attention_dim: int, **settings: Any) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=4,
        **settings,
    ).eval()


def _sd() -> Any:
    tokenizer = _clip_tokenizer()
    return diffusers.StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_clip_text(tokenizer),
        tokenizer=tokenizer,
        unet=_unet(WIDTH),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> Any:
    tokenizer = _clip_tokenizer()
    unet = _unet(
        2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + WIDTH,
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip_text(tokenizer),
        text_encoder_2=_clip_text(tokenizer, projection=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading"),
    )


def _sd3() -> Any:
    clip, t5 = _clip_tokenizer(), _t5_tokenizer()
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        caption_projection_dim=8,
        joint_attention_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=32,
    ).eval()
    t5_config = T5Config(vocab_size=len(t5), d_model=2 * WIDTH, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(),
        text_encoder=_clip_text(clip, projection=True),
        tokenizer=clip,
        text_encoder_2=_clip_text(clip, projection=True),
        tokenizer_2=clip,
        text_encoder_3=T5EncoderModel(t5_config).eval(),
        tokenizer_3=t5,
    )


def _flux() -> Any:
    clip, t5 = _clip_tokenizer(), _t5_tokenizer()
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=1,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    ).eval()
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_vae(),
        text_encoder=_clip_text(clip),
        tokenizer=clip,
        text_encoder_2=_t5_text(t5),
        tokenizer_2=t5,
        transformer=transformer,
    )


def _pixart() -> Any:
    tokenizer = _t5_tokenizer()
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        cross_attention_dim=8,
        caption_channels=WIDTH,
        use_additional_conditions=False,
    ).eval()
    return diffusers.PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=_t5_text(tokenizer),
        vae=_vae(),
        transformer=transformer,
        scheduler=diffusers.DPMSolverMultistepScheduler(),
    )


MAKERS: Mapping[str, Callable[[], Any]] = {"sd": _sd, "sdxl": _sdxl, "sd3": _sd3, "flux": _flux, "pixart": _pixart}
