"""The carried models load with the plain loaders and do what the card says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open
from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer

from models.captions import full_caption, read
from models.evaluate import Sampler, generate, judged
from models.judge import Judge
from models.publish import SHAPES, SHAPES_CLIP
from models.search import Search
from models.world import Scene, draw_many, every_scene, split_scenes

BOTH = ("shape", "colour")


@pytest.fixture(scope="module")
def pipeline():
    loaded = DiffusionPipeline.from_pretrained(SHAPES)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def clip():
    return CLIPModel.from_pretrained(SHAPES_CLIP).eval()


@pytest.fixture(scope="module")
def processor():
    return CLIPProcessor.from_pretrained(SHAPES_CLIP)


@pytest.fixture(scope="module")
def search():
    return Search.load()


@pytest.fixture(scope="module")
def drawn():
    scenes = every_scene()[::8]
    return scenes, draw_many(scenes, np.random.default_rng(7))


@pytest.fixture(scope="module")
def made(pipeline):
    scenes = split_scenes()[1][:20]
    prompts = [full_caption(scene) for scene in scenes]
    return prompts, generate(pipeline, prompts, Sampler(steps=20))


def _files() -> list[Path]:
    return [path for folder in (SHAPES, SHAPES_CLIP) for path in folder.rglob("*") if path.is_file()]


def test_both_models_stay_under_16_mb():
    assert sum(path.stat().st_size for path in _files()) < 16_000_000


def test_weights_are_half_precision_safetensors_only():
    weights = [path for path in _files() if path.suffix not in (".json", ".txt")]
    assert {path.suffix for path in weights} == {".safetensors"}
    for path in weights:
        with safe_open(path, "pt") as stored:
            assert {stored.get_slice(name).get_dtype() for name in stored.keys()} <= {"F16", "I64"}


def test_pipeline_draws_held_out_prompts_right(made):
    prompts, pictures = made
    assert judged(Judge.load(), prompts, pictures)["shape and colour"] >= 0.8


def test_bare_call_gives_one_right_picture_of_64_pixels(pipeline):
    picture = pipeline("a red circle", generator=torch.Generator().manual_seed(1)).images[0]
    assert picture.size == (64, 64)
    (verdict,) = Judge.load().look(np.asarray(picture)[None])
    assert verdict.agrees(read("a red circle"))


def test_same_seed_draws_the_same_picture(pipeline):
    first, again = (generate(pipeline, ["a blue star"], Sampler(steps=4)) for _ in range(2))
    assert np.array_equal(first, again)


def test_generated_pictures_are_found_by_their_captions(clip, processor, made):
    prompts, pictures = made
    given = processor(text=prompts, images=list(pictures), return_tensors="pt", padding=True)
    with torch.inference_mode():
        similar = clip(**given).logits_per_text  # (20, 20)
    assert (similar.argmax(1) == torch.arange(len(prompts))).float().mean() >= 0.8


@pytest.mark.parametrize("query", ["a green star", "a red circle", "a yellow heart", "a black cross"])
def test_short_query_finds_drawn_pictures_on_any_background(query, drawn, search):
    scenes, pictures = drawn
    best = search.similarity([query], pictures)[0].topk(4).indices.tolist()
    assert sum(read(query).fits(scenes[i]) for i in best) >= 3


def test_search_finds_every_held_out_picture_by_its_caption(search):
    scenes = split_scenes()[1][:200]
    pictures = draw_many(scenes, np.random.default_rng(9))
    assert search.recall([full_caption(scene) for scene in scenes], pictures)["recall@1"] >= 0.95


def test_processor_leaves_64_pixel_pictures_as_they_are(processor):
    picture = draw_many([Scene("star", "red", "white", "big", "left")], np.random.default_rng(8))[0]
    values = processor(images=[picture], return_tensors="pt")["pixel_values"][0]
    assert np.allclose(values.permute(1, 2, 0).numpy(), picture / 127.5 - 1.0, atol=1e-5)


@pytest.mark.parametrize("folder", [SHAPES / "tokenizer", SHAPES_CLIP])
def test_end_token_is_the_highest_id_and_the_padding(folder, clip):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == tokenizer.pad_token_id
    assert tokenizer.bos_token_id == len(tokenizer) - 2
    assert clip.config.text_config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.model_max_length == clip.config.text_config.max_position_embeddings


@pytest.mark.parametrize("text", ["", "ein grüner Stern", "红色的圆", "🎉 " * 40, "word " * 100])
def test_any_text_can_be_embedded(text, clip, processor):
    given = processor(text=[text], return_tensors="pt", padding="max_length", truncation=True)
    with torch.inference_mode():
        embedded = clip.get_text_features(**given).pooler_output
    assert given["input_ids"].shape == (1, 32)
    assert torch.isfinite(embedded).all()


def test_pipeline_and_clip_read_with_the_same_text_tower(pipeline, clip):
    ours, theirs = pipeline.text_encoder.state_dict(), clip.text_model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
