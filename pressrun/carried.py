"""Where the models that the repository carries lie.

Knows nothing of what they are.
"""

from __future__ import annotations

from pathlib import Path

_MODELS = Path(__file__).parent.parent / "models"
CARRIED_MODEL = _MODELS / "shapes"
CARRIED_EMBEDDER = _MODELS / "shapes-clip"
CARRIED = "carried"  # what users write for it


def embedder_folder(name: str) -> str:
    """Return the embedder's location, the carried one's for "carried"."""
    return str(CARRIED_EMBEDDER) if name == CARRIED else name
