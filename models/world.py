"""The drawn world: which pictures exist, and how one is drawn.

A scene is five words; `draw` turns it into a 64 px picture with a little jitter, so that what is learned from
the pictures is the words and not the pixels. Knows nothing of captions, models or training.
"""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

PICTURE_PX = 64
SUPERSAMPLING = 4

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 36, 40),
    "orange": (246, 140, 24),
    "yellow": (250, 222, 50),
    "green": (40, 160, 68),
    "blue": (44, 88, 222),
    "purple": (128, 52, 178),
    "pink": (250, 136, 190),
    "brown": (122, 74, 38),
    "black": (18, 18, 22),
    "white": (248, 248, 248),
}
BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    **{name: COLOURS[name] for name in ("white", "black", "blue", "green", "yellow", "pink")},
    "grey": (138, 140, 146),
}
SIZES: dict[str, float] = {"small": 10.0, "big": 17.0}
POSITIONS: dict[str, tuple[float, float]] = {
    "centre": (32.0, 32.0),
    "left": (20.0, 32.0),
    "right": (44.0, 32.0),
    "top": (32.0, 20.0),
    "bottom": (32.0, 44.0),
}


def _regular(corners: int, turn_deg: float) -> NDArray[np.float64]:
    angles = np.deg2rad(turn_deg) + np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (corners, 2), y downwards


def _star() -> NDArray[np.float64]:
    points = _regular(10, -90.0) * 1.12
    points[1::2] *= 0.42
    return points


def _heart() -> NDArray[np.float64]:
    t = np.linspace(0.0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y - 2.5], axis=1) / 15.5


def _cross() -> NDArray[np.float64]:
    a, b = 0.33, 1.0
    corners = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a)]
    return np.array([*corners, (-a, -a)], dtype=np.float64)


def outlines() -> dict[str, NDArray[np.float64]]:
    """Give each shape's outline as corner points.

    Returns
    -------
    dict
        Shape name to float64 (corners, 2) points (x right, y down) about the origin, some 1.0 in radius.
        The ring's is its outer edge.
    """
    circle = _regular(72, 0.0)
    return {
        "circle": circle,
        "square": _regular(4, 45.0) * 1.22,
        "triangle": _regular(3, -90.0) * 1.2 + np.array([0.0, 0.15]),
        "star": _star(),
        "heart": _heart(),
        "cross": _cross(),
        "ring": circle * 1.05,
        "diamond": _regular(4, -90.0) * np.array([0.72, 1.22]),
    }


_OUTLINES = outlines()
SHAPES: tuple[str, ...] = tuple(_OUTLINES)
RING_HOLE = 0.55


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows: five words, each a key of this module's tables."""

    shape: str
    colour: str
    background: str
    size: str
    position: str

    def codes(self) -> tuple[int, int, int, int, int]:
        """Give each word's index in `VOCABULARY`, in the order of the fields."""
        words = astuple(self)
        a, b, c, d, e = (VOCABULARY[field].index(word) for field, word in zip(FIELDS, words, strict=True))
        return a, b, c, d, e


FIELDS = ("shape", "colour", "background", "size", "position")
VOCABULARY: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "size": tuple(SIZES),
    "position": tuple(POSITIONS),
}


def every_scene() -> list[Scene]:
    """List all scenes; a shape never has its background's colour."""
    scenes = (Scene(*words) for words in itertools.product(*VOCABULARY.values()))
    return [scene for scene in scenes if scene.colour != scene.background]


def split_scenes(held_out: int = 500, seed: int = 2718) -> tuple[list[Scene], list[Scene]]:
    """Split all scenes into those shown in training and those never shown.

    Parameters
    ----------
    held_out : int
        How many scenes are kept from training.
    seed : int
        Which ones.

    Returns
    -------
    tuple of list
        The training scenes, then the held-out ones; together every scene once.
    """
    scenes = every_scene()
    order = np.random.default_rng(seed).permutation(len(scenes))
    return [scenes[i] for i in order[held_out:]], [scenes[i] for i in order[:held_out]]


def _shade(rgb: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    tint = rng.uniform(-7.0, 7.0, size=3) + rng.uniform(-7.0, 7.0)
    return np.clip(np.array(rgb, dtype=np.float64) + tint, 0.0, 255.0)


def _mask(scene: Scene, rng: np.random.Generator) -> NDArray[np.float64]:
    turn = np.deg2rad(rng.uniform(-9.0, 9.0))
    radius_px = SIZES[scene.size] * rng.uniform(0.94, 1.06)
    centre = np.array(POSITIONS[scene.position]) + rng.uniform(-1.5, 1.5, size=2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = _OUTLINES[scene.shape] @ rotation.T * radius_px
    canvas = Image.new("L", (PICTURE_PX * SUPERSAMPLING,) * 2, 0)
    pen = ImageDraw.Draw(canvas)
    pen.polygon([(x, y) for x, y in ((points + centre) * SUPERSAMPLING).tolist()], fill=255)
    if scene.shape == "ring":
        hole = (points * RING_HOLE + centre) * SUPERSAMPLING
        pen.polygon([(x, y) for x, y in hole.tolist()], fill=0)
    small = canvas.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float64)[..., None] / 255.0  # (64, 64, 1)


def draw(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture of a scene.

    Parameters
    ----------
    scene : Scene
        What to show.
    rng : numpy.random.Generator
        Jitters the shape's place (1.5 px), size (6 %), turn (9 degrees) and both colours.

    Returns
    -------
    numpy.ndarray
        uint8 (64, 64, 3), RGB, edges anti-aliased.
    """
    mask = _mask(scene, rng)
    picture = mask * _shade(COLOURS[scene.colour], rng) + (1.0 - mask) * _shade(BACKGROUNDS[scene.background], rng)
    return np.rint(picture).astype(np.uint8)


def draw_many(scenes: list[Scene], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one picture of each scene, as uint8 (N, 64, 64, 3)."""
    pictures = np.empty((len(scenes), PICTURE_PX, PICTURE_PX, 3), dtype=np.uint8)
    for i, scene in enumerate(scenes):
        pictures[i] = draw(scene, rng)
    return pictures
