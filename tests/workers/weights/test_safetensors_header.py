"""What a safetensors file's header says is checked before a byte of a tensor is trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pressrun.errors import InvalidModel
from workers.weights.safetensors_header import read_header


def _write(path: Path, header: Any, data_bytes: int) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data_bytes))
    return path


def _entry(start: int, stop: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop], **changes}


def test_tensors_are_found_where_safetensors_put_them(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"b": torch.arange(6, dtype=torch.int16).reshape(2, 3), "a": torch.ones(3)}, file, {"format": "pt"})
    places = {place.name: place for place in read_header(file)}
    assert (places["b"].dtype, places["b"].shape, places["b"].size_bytes) == ("I16", (2, 3), 12)
    whole = file.read_bytes()
    assert whole[places["b"].start : places["b"].stop] == bytes([0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0])


@pytest.mark.parametrize(
    ("header", "data_bytes"),
    [
        pytest.param({"a": _entry(0, 8)}, 4, id="cut short"),
        pytest.param({"a": _entry(0, 8)}, 12, id="bytes left over"),
        pytest.param({"a": _entry(0, 8), "b": _entry(4, 12)}, 12, id="one in another"),
        pytest.param({"a": _entry(0, 4), "b": _entry(8, 12)}, 12, id="a gap"),
        pytest.param({"a": _entry(0, 8, shape=[3])}, 8, id="another size than its shape's"),
        pytest.param({"a": _entry(0, 8, shape=[-1, -2])}, 8, id="a shape below zero"),
        pytest.param({"a": _entry(0, 8, shape=[2.0])}, 8, id="a broken shape"),
        pytest.param({"a": _entry(0, 8, dtype="F5")}, 8, id="unknown numbers"),
        pytest.param({"a": {"dtype": "F32"}}, 0, id="no place"),
        pytest.param([1], 0, id="no names"),
        pytest.param(b'{"a": 1, "a": 2}', 0, id="a name twice"),
        pytest.param(b"\x80\x04K\x01.", 0, id="a pickle"),
        pytest.param(b"[" * 100_000, 0, id="endless nesting"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: Any, data_bytes: int) -> None:
    with pytest.raises(InvalidModel, match="copy the file again"):
        read_header(_write(tmp_path / "model.safetensors", header, data_bytes))


@pytest.mark.parametrize("content", [b"", b"1234567", (2**40).to_bytes(8, "little") + b"{}"])
def test_a_file_shorter_than_its_header_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InvalidModel, match="cut short"):
        read_header(tmp_path / "model.safetensors")
