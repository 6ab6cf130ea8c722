"""Captions: the many ways to say what a scene shows, and how to read them back.

A caption may leave words out; `describe` tells which ones it named. Knows nothing of pixels or tokens.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass

import numpy as np

from models.world import FIELDS, VOCABULARY, Scene

SYNONYMS: dict[str, tuple[str, ...]] = {
    "small": ("small", "small", "small", "little", "tiny"),
    "big": ("big", "big", "large", "large", "huge"),
    "grey": ("grey", "gray"),
}
DISTRACTORS = (
    "high quality", "best quality", "flat", "simple", "minimal", "clean", "vector art", "digital art",
    "illustration", "for the catalogue", "sharp", "4k", "no text", "studio", "poster", "sticker", "print",
    "please", "variant", "image", "number", "item", "edition", "copy", "take", "sample", "test", "blurry",
    "low quality", "ugly", "nice", "pretty", "beautiful", "small file", "noise", "watermark", "no.",
)  # fmt: skip
_OPENINGS = ("a picture of ", "a drawing of ", "an image of ", "there is ", "a photo of ", "draw ")
_SIDE = ("{0}", "on the {0}", "at the {0}", "to the {0}", "on the {0} side", "near the {0}", "in the {0} part")
_CENTRE = ("{0}", "in the {0}", "at the {0}", "in the middle", "middle", "in the {0} part")
_SPOKEN = {word: word for words in VOCABULARY.values() for word in words}
_SPOKEN |= {spoken: word for word, many in SYNONYMS.items() for spoken in many}
_SPOKEN |= {"center": "centre", "middle": "centre"}


@dataclass(frozen=True, slots=True)
class Named:
    """What a caption names: a word of the world for each field, or None where it is silent."""

    shape: str | None = None
    colour: str | None = None
    background: str | None = None
    size: str | None = None
    position: str | None = None

    def codes(self) -> tuple[int, ...]:
        """Give each word's index in the world's vocabulary, -1 where the caption is silent."""
        words = zip(FIELDS, astuple(self), strict=True)
        return tuple(-1 if word is None else VOCABULARY[field].index(word) for field, word in words)

    def fits(self, scene: Scene) -> bool:
        """Tell whether a scene shows everything that is named."""
        pairs = zip(astuple(self), astuple(scene), strict=True)
        return all(word is None or word == shown for word, shown in pairs)


def name_some(scene: Scene, rng: np.random.Generator) -> Named:
    """Choose at random which of a scene's words a caption will name; shape and colour nearly always."""
    chances = zip(FIELDS, astuple(scene), (0.96, 0.94, 0.6, 0.5, 0.5), strict=True)
    return Named(**{field: word for field, word, chance in chances if rng.random() < chance})


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _spoken(word: str, rng: np.random.Generator) -> str:
    return _pick(SYNONYMS.get(word, (word,)), rng)


def _subject(named: Named, rng: np.random.Generator) -> str:
    words = [_spoken(word, rng) for word in (named.size, named.colour) if word]
    noun = named.shape or ("thing" if rng.random() < 0.3 else "shape")
    first = [*words, noun][0]
    article = _pick(("an " if first[0] in "aeiou" else "a ",) * 4 + ("one ", "the ", "", ""), rng)
    if named.colour and not named.size and rng.random() < 0.08:
        return f"{'a ' if article else ''}{noun} {_pick(('in', 'that is', 'coloured'), rng)} {named.colour}"
    return article + " ".join([*words, noun])


def _place(position: str, rng: np.random.Generator) -> str:
    word = "center" if position == "centre" and rng.random() < 0.3 else position
    return _pick(_CENTRE if position == "centre" else _SIDE, rng).format(word)


def _ground(background: str, rng: np.random.Generator) -> str:
    colour = _spoken(background, rng)
    if rng.random() < 0.25:
        return f", {colour} background"
    link = _pick(("on", "on", "on", "against", "over", "in front of", "with"), rng)
    return f" {link} a {colour} background" if link == "with" or rng.random() < 0.85 else f" {link} {colour}"


def _details(named: Named, rng: np.random.Generator) -> str:
    if named.position and named.background and rng.random() < 0.15:
        link = _pick(("at", "on", "in"), rng)
        return f" {link} the {named.position} of a {_spoken(named.background, rng)} background"
    parts = [_ground(named.background, rng)] if named.background else []
    if named.position:
        place = _place(named.position, rng)
        parts.append((", " if " " not in place or rng.random() < 0.4 else " ") + place)
    if len(parts) == 2 and rng.random() < 0.3:
        parts.reverse()
    return "".join(parts)


def _distract(rng: np.random.Generator) -> str:
    words = _pick(DISTRACTORS, rng)
    return words if rng.random() < 0.5 else f"{words} {int(rng.integers(100_000))}"


def phrase(named: Named, rng: np.random.Generator) -> str:
    """Put what is named into words.

    Parameters
    ----------
    named : Named
        What the caption shall name.
    rng : numpy.random.Generator
        Picks the phrasing: article, order, synonyms, now and then an opening or words without meaning here.

    Returns
    -------
    str
        Such as "a small red circle on a blue background, left"; `read` gives `named` back.
    """
    text = _subject(named, rng) + _details(named, rng)
    if rng.random() < 0.15:
        text = _pick(_OPENINGS, rng) + text
    return f"{text}, {_distract(rng)}" if rng.random() < 0.12 else text


def describe(scene: Scene, rng: np.random.Generator) -> tuple[str, Named]:
    """Caption a scene in a random phrasing that may leave words out.

    Returns
    -------
    tuple
        The caption, and what it names.
    """
    named = name_some(scene, rng)
    return phrase(named, rng), named


def full_caption(scene: Scene) -> str:
    """Caption a scene plainly, naming all five words."""
    article = "a"
    place = {"centre": "in the centre"}.get(scene.position, f"at the {scene.position}")
    return f"{article} {scene.size} {scene.colour} {scene.shape} on a {scene.background} background, {place}"


def read(caption: str) -> Named:
    """Read from a caption what it names.

    Parameters
    ----------
    caption : str
        Any text; words that the world does not know are passed over, as is letter case.

    Returns
    -------
    Named
        The words named. A colour before "background", or after "on" and the like with no shape following, is
        the background's.
    """
    text = caption.lower()
    found: dict[str, str] = {}
    colours = "|".join((*VOCABULARY["colour"], "grey", "gray"))
    links = "on|against|over|in front of"
    ground = re.search(rf"\b({colours}) background\b|\b(?:{links}) ({colours})\b", text)
    if ground:
        found["background"] = _SPOKEN[ground.group(1) or ground.group(2)]
        text = text[: ground.start()] + " " + text[ground.end() :]
    text = text.replace("small file", " ")
    for spoken in re.findall(r"[a-z]+", text):
        word = _SPOKEN.get(spoken)
        for field in ("shape", "colour", "size", "position"):
            if word in VOCABULARY[field]:
                found.setdefault(field, str(word))
    return Named(**found)
