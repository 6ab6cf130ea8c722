from __future__ import annotations

from tests.pressrun.claiming import claims
from tests.pressrun.places import location, store
from tests.s3_server import s3_server

__all__ = ["claims", "location", "s3_server", "store"]
