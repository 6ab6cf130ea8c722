"""Pressrun itself: every host calls `ensure_local` with a cache folder of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.rivals.hosts import Pull, pull_together
from bench.rivals.parts import Settings, main


def run(settings: Settings) -> dict[str, Any]:
    """Pull on all hosts."""
    return pull_together(settings, open_pull)


def open_pull(settings: Settings, folder: Path) -> Pull:
    """Make a host ready: import, connect and read what the model is."""
    from pressrun.location import Location
    from pressrun.models.diffusers_folder import read_model
    from workers.model_cache import ensure_local

    location = Location(settings["url"], settings["options"])
    facts = read_model(location)

    def pull() -> None:
        ensure_local(location, facts, folder)

    return pull


if __name__ == "__main__":
    main(run)
