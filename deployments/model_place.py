"""Where the model lies that a command names: at a URL, or below a `ModelStore` block, with the block's credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.prefect_environment import prepare_prefect
from pressrun.errors import InvalidJob
from pressrun.location import Location

if TYPE_CHECKING:  # Prefect reads its settings when it is imported, so that waits until they are set
    from blocks.storage import ModelStore


def model_place(url: str, store: str | None) -> Location:
    """Return where a model lies.

    Parameters
    ----------
    url : str
        Its URL or path; below the store, if one is named.
    store : str or None
        Name of a `ModelStore` block.

    Raises
    ------
    InvalidJob
        If there is no such block.
    """
    return (Location(url) if store is None else model_store(store).location(url)).absolute()


def model_store(name: str) -> ModelStore:
    """Return a block from the Prefect server of the active profile, or from the temporary one, which is started then.

    Raises
    ------
    InvalidJob
        If there is no such block, what it holds is invalid, or the server does not answer.
    """
    prepare_prefect(verbose=False)
    import httpx

    from blocks.storage import ModelStore
    from deployments.temporary_server import TemporaryServer

    TemporaryServer().wait()
    try:
        block = ModelStore.load(name)
    except RuntimeError:  # whose cause shows what the block holds
        raise InvalidJob(
            f"The block {name!r} of the type {ModelStore.get_block_type_slug()} holds values that are no such block's; "
            "look at it in the Prefect UI and save it again."
        ) from None
    except (ValueError, httpx.HTTPError) as error:
        raise InvalidJob(
            f"The block {name!r} of the type {ModelStore.get_block_type_slug()} cannot be had ({error}); "
            "`prefect block ls` shows those that there are, and PREFECT_API_URL says where."
        ) from error
    assert isinstance(block, ModelStore)  # not a coroutine, as nothing runs an event loop here
    return block


__all__ = ["model_place", "model_store"]
