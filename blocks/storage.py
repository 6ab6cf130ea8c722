"""Blocks for the places a job reads from and writes to.

Know nothing of what is stored there. A block keeps the credentials; everything else sees a `Location`.
"""

from __future__ import annotations

import shutil
import uuid
from typing import Any

from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import BaseModel, Field

from pressrun.location import Location
from pressrun.models.diffusers_folder import read_model
from pressrun.storage import Store


class _Storage(BaseModel):
    """An fsspec URL with its options and credentials; no block itself, or Prefect would register it as one."""

    url: str = Field(
        title="URL",
        description="Folder or bucket prefix: any fsspec URL, such as s3://bucket/prefix, or a local path.",
        examples=["s3://studio/models", "/data/models"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        title="Options",
        description='Filesystem options that are no secrets, such as {"client_kwargs": {"region_name": "eu-west-1"}}.',
    )
    credentials: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Credentials",
        description='Secret filesystem options, such as {"key": "...", "secret": "..."} for S3. Never shown again.',
    )

    def location(self, path: str = "") -> Location:
        """Return the place, or one below it.

        Parameters
        ----------
        path : str
            Path relative to the block's URL; "" for the URL itself.
        """
        root = Location(self.url, {**self.options, **self.credentials.get_secret_value()})
        return root.child(path.strip("/")) if path.strip("/") else root


class ModelStore(_Storage, Block):
    """A folder or bucket of models in the diffusers layout, read with its own credentials."""

    _block_type_name = "Pressrun Model Store"
    _block_type_slug = "pressrun-model-store"
    _description = "Where Pressrun reads diffusers models from: a folder or bucket, and the credentials for it."

    def check(self, path: str = "") -> str:
        """Read a model's listing and return one line about it.

        Parameters
        ----------
        path : str
            The model's folder below the store; "" when the URL is the model itself.

        Raises
        ------
        InvalidModel
            Naming what is wrong with the model, or that the store cannot be reached.
        """
        facts = read_model(self.location(path))
        return (
            f"{facts.pipeline_class} {facts.name!r}, {facts.weight_bytes / 1e6:.1f} MB of weights, "
            f"{facts.width_px} x {facts.height_px} px, revision {facts.revision[:12]}"
        )


class CollectionStore(_Storage, Block):
    """A folder or bucket that collections are written to, with its own credentials."""

    _block_type_name = "Pressrun Collection Store"
    _block_type_slug = "pressrun-collection-store"
    _description = "Where Pressrun writes finished collections: a folder or bucket, and the credentials for it."

    def check(self) -> str:
        """Write, read and delete a small object, and return one line about it.

        Raises
        ------
        OSError
            When the store cannot be written, read or deleted from.
        """
        folder = f".pressrun-check-{uuid.uuid4().hex}"  # of its own, so that nobody who writes here is disturbed
        store = Store(self.location(folder))
        data = b"pressrun"
        try:
            store.write("check", data)
            if store.read("check") != data:
                raise OSError(f"{self.location()} returned other bytes than were written; check what stands before it.")
            store.delete(["check"])
        finally:
            if store.is_local:
                shutil.rmtree(store.root, ignore_errors=True)
        return f"{self.location()} can be written, read and deleted from"
