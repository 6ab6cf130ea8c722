from __future__ import annotations

from tests.pressrun.claiming import claims
from tests.s3_server import s3_server

__all__ = ["claims", "s3_server"]
