"""Every host pulls the model for itself by s3fs: `get` of the folder, as its documentation has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.rivals.hosts import Pull, pull_together
from bench.rivals.parts import Settings, main


def run(settings: Settings) -> dict[str, Any]:
    """Pull on all hosts."""
    return pull_together(settings, open_pull)


def open_pull(settings: Settings, folder: Path) -> Pull:
    """Connect a host."""
    import s3fs

    filesystem = s3fs.S3FileSystem(**settings["options"])
    filesystem.ls(settings["url"])

    def pull() -> None:
        filesystem.get(f"{settings['url']}/", f"{folder}/", recursive=True)

    return pull


if __name__ == "__main__":
    main(run)
