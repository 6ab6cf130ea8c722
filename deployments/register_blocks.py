"""Registers Pressrun's block types with a Prefect server: `python -m deployments.register_blocks [--examples]`.

Knows nothing of which server; that is Prefect's own setting (PREFECT_API_URL, or the active profile).
"""

from __future__ import annotations

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound

from blocks.clusters import ExistingDaskCluster, LocalDaskCluster
from blocks.engine import DiffusersEngine
from blocks.storage import CollectionStore, ModelStore
from deployments.console import out

BLOCK_TYPES: tuple[type[Block], ...] = (
    ModelStore,
    CollectionStore,
    LocalDaskCluster,
    ExistingDaskCluster,
    DiffusersEngine,
)


def example_documents() -> dict[str, Block]:
    """Return a block of each kind that works in a fresh clone, by name; paths are relative to the clone."""
    return {
        "examples-models": ModelStore(url="models"),
        "examples-collections": CollectionStore(url="out-collections"),
        "this-machine": LocalDaskCluster(),
    }


def register_types() -> list[str]:
    """Register every block type, or bring it up to date, and return the names."""
    for block_type in BLOCK_TYPES:
        block_type.register_type_and_schema()
    return [block_type.get_block_type_name() for block_type in BLOCK_TYPES]


def save_examples() -> list[str]:
    """Save the example documents that are not there yet, and return their names; one that is there may be edited."""
    with get_client(sync_client=True) as client:
        missing = {name: block for name, block in example_documents().items() if not _exists(client, name, block)}
    for name, block in missing.items():
        block.save(name)
    return list(missing)


def _exists(client: SyncPrefectClient, name: str, block: Block) -> bool:
    try:
        client.read_block_document_by_name(name, block.get_block_type_slug())
    except ObjectNotFound:
        return False
    return True


def main(examples: bool = False) -> None:
    """Register the block types.

    Parameters
    ----------
    examples : bool
        Whether to save example documents too.
    """
    for name in register_types():
        out.print(f"registered {name}")
    for name in save_examples() if examples else []:
        out.print(f"saved {name}")


if __name__ == "__main__":
    from cyclopts import run

    run(main)
