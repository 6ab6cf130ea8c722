"""Models that hosts have mounted: looked at on all hosts before anything is loaded, and read for a mount's own cache.

Knows nothing of what serves a mount.
"""

from __future__ import annotations

from collections.abc import Sequence

from distributed import Client

from pressrun.errors import InvalidModel
from workers.cache.runtimes import bring
from workers.delivery import Need
from workers.order import PrintOrder

_BLOCK_BYTES = 8 * 2**20


def check_mounted(client: Client, order: PrintOrder, needed: Sequence[Need]) -> None:
    """Refuse hosts that lack a file which should be mounted there, all of them at once.

    Raises
    ------
    InvalidModel
        With what each lacks. Nothing is asked of hosts to which models come in another way.
    """
    if order.cache.runtime == "mount":
        said = client.run(_say_what_lacks, order, needed)
        lacking = sorted({text for texts in said.values() for text in texts})
        if lacking:
            raise InvalidModel("\n".join(lacking))


def read_through(order: PrintOrder) -> int:
    """Read the order's model through this host's mount, so that the mount's own cache has it; return how much that was.

    Raises
    ------
    InvalidModel
        When it is not mounted here whole.
    OSError
        When it cannot be read.
    """
    folder = bring(order, order.model, order.facts).path
    block, size_bytes = bytearray(_BLOCK_BYTES), 0
    for listed in order.facts.files:
        with (folder / listed.path).open("rb", buffering=0) as file:
            while count := file.readinto(block):
                size_bytes += count
    return size_bytes


def _say_what_lacks(order: PrintOrder, needed: Sequence[Need]) -> list[str]:
    lacking = []
    for location, facts in needed:
        try:
            bring(order, location, facts)
        except InvalidModel as error:
            lacking.append(str(error))
    return lacking


__all__ = ["check_mounted", "read_through"]
