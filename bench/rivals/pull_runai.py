"""Every host streams the model's tensors for itself by the Run:ai Model Streamer, into memory: it writes no files."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from bench.rivals.hosts import Pull, pull_together
from bench.rivals.parts import Settings, main


def runai_is_here() -> bool:
    """Return whether the streamer and its S3 part can be imported."""
    return all(importlib.util.find_spec(name) for name in ("runai_model_streamer", "runai_model_streamer_s3"))


def run(settings: Settings) -> dict[str, Any]:
    """Pull on all hosts."""
    options = settings["options"]
    os.environ |= {
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
    }
    return pull_together(settings, open_pull)


def open_pull(settings: Settings, folder: Path) -> Pull:
    """Make a host ready."""
    from runai_model_streamer import SafetensorsStreamer

    paths = [f"{settings['url']}/{path}" for path in settings["weights"]]
    opened = SafetensorsStreamer()  # loads its libraries

    def pull() -> None:
        came_bytes = 0
        with opened as streamer:
            streamer.stream_files(paths)
            for _, tensor in streamer.get_tensors():
                came_bytes += tensor.nbytes
        (folder / "streamed").write_text(str(came_bytes))

    return pull


if __name__ == "__main__":
    main(run)
