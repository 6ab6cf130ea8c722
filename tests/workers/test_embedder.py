from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipProcessor,
)

from pressrun.errors import InvalidModel
from tests import runs
from workers.embedder import Embedder

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
TEXT = {
    **TOWER,
    "vocab_size": 23,
    "max_position_embeddings": 8,
    "bos_token_id": 0,
    "eos_token_id": 22,
    "pad_token_id": 22,
}
VISION = {**TOWER, "image_size": 16, "patch_size": 8}


def word_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"<s>": 0, **{f"w{i}": i + 1 for i in range(20)}, "<unk>": 21, "</s>": 22}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 22)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )


def save_clip(folder: Path) -> None:
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=12)).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    CLIPProcessor(pictures, word_tokenizer()).save_pretrained(folder)


def save_siglip(folder: Path) -> None:
    torch.manual_seed(0)
    SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION)).save_pretrained(folder)
    tokenizer = word_tokenizer()
    tokenizer.model_input_names = ["input_ids"]
    SiglipProcessor(SiglipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    {"clip": save_clip, "siglip": save_siglip}[request.param](path)
    return path


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder(folder, "cpu")


def pictures(count: int, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def places(folder: Path) -> list[Path]:
    return [folder, runs.ROOT / "models" / "shapes-clip"]


def test_its_weights_are_read_here_and_are_bit_by_bit_what_the_library_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {place: AutoModel.from_pretrained(place, dtype=torch.float32) for place in places(folder)}
    monkeypatch.setattr(AutoModel, "from_pretrained", None)
    for place, library in wanted.items():
        model = Embedder(place, "cpu")._model
        assert (type(model), model.training) == (type(library), False)
        assert model.config.to_diff_dict() == library.config.to_diff_dict()
        for kind in ("named_parameters", "named_buffers"):
            ours, theirs = dict(getattr(model, kind)()), dict(getattr(library, kind)())
            assert ours.keys() == theirs.keys()
            assert all(ours[name].dtype == theirs[name].dtype for name in ours)
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_pictures_and_texts_become_unit_rows_of_one_dimension(embedder: Embedder) -> None:
    for rows in (embedder.embed_images(pictures(3)), embedder.embed_texts(["w1 w2", "w3", "w4"])):
        assert rows.shape == (3, embedder.dimension)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_the_dimension_is_the_models(embedder: Embedder, folder: Path) -> None:
    assert embedder.dimension == (12 if "siglip" not in folder.name else 16)


def test_an_embedding_does_not_depend_on_its_neighbours(embedder: Embedder) -> None:
    many = pictures(70)  # more than one slice
    np.testing.assert_allclose(embedder.embed_images(many)[69], embedder.embed_images(many[69:])[0], atol=1e-5)
    texts = ["w1", "w2 w3 w4 w5"]
    np.testing.assert_allclose(embedder.embed_texts(texts)[0], embedder.embed_texts(texts[:1])[0], atol=1e-5)


def test_different_pictures_and_texts_differ(embedder: Embedder) -> None:
    first, second = embedder.embed_images(pictures(2))
    assert abs(first - second).max() > 1e-4
    first, second = embedder.embed_texts(["w1 w2", "w3 w4"])
    assert abs(first - second).max() > 1e-4


def test_a_long_text_is_cut_to_what_the_model_holds(embedder: Embedder) -> None:
    short, long = embedder.embed_texts(["w1 " * 6, "w1 " * 5000])
    np.testing.assert_allclose(short, long, atol=1e-6)


def test_a_three_pixel_picture_is_not_read_as_channels_first(embedder: Embedder) -> None:
    flat = np.zeros((1, 3, 40, 3), np.uint8)
    flat[..., 0] = 255
    assert embedder.embed_images(flat).shape == (1, embedder.dimension)


def test_nothing_gives_an_empty_result(embedder: Embedder) -> None:
    assert embedder.embed_images(pictures(0)).shape == (0, embedder.dimension)
    assert embedder.embed_texts([]).shape == (0, embedder.dimension)


def test_threads_can_share_one_embedder(embedder: Embedder) -> None:
    texts = [[f"w{i}", "w1 w2 w3 " * (i % 4)] for i in range(20)]
    alone = [embedder.embed_texts(pair) for pair in texts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(embedder.embed_texts, texts))
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=1e-6)


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(InvalidModel, match="does not load"):
        Embedder(copy, "cpu")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"has no config\.json"):
        Embedder(tmp_path, "cpu")


def test_a_damaged_config_is_an_invalid_model(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(InvalidModel, match="no-such-model"):
        Embedder(copy, "cpu")


def test_a_text_only_model_is_refused(tmp_path: Path) -> None:
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    BertModel(BertConfig(**tower, vocab_size=23)).save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(InvalidModel, match="'bert' model"):
        Embedder(tmp_path, "cpu")
