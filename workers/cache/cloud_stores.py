"""Google and Azure buckets and plain web servers for obstore, where their options can be said in its terms.

Knows nothing of reading. What is not listed here is not translated: the caller then reads by fsspec.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, HTTPStore

from workers.cache.store_client import RETRY, client_config

if TYPE_CHECKING:
    from obstore.store import AzureConfig, GCSCredential

_UNHEARD = {"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache", "block_size"}
_GOOGLE = {"project", "access", "token", "default_location", "check_connection"} | _UNHEARD
_GOOGLE_URL = "https://storage.googleapis.com"
# Where adlfs looks for what the options leave out, or for a way of signing that outdoes them.
_AZURE_ENVIRONMENT = "AZURE_STORAGE_"
# Each way of signing with just the options that it needs; more of them leave open which one counts.
_AZURE = {
    frozenset({"account_name", "account_key"}): ("access_key", {"account_key": "account_key"}),
    frozenset({"account_name", "sas_token"}): ("sas_token", {"sas_token": "sas_key"}),
    frozenset({"account_name", "tenant_id", "client_id", "client_secret"}): (
        "client_secret",
        {"tenant_id": "tenant_id", "client_id": "client_id", "client_secret": "client_secret"},
    ),
}


def google_store(filesystem: Any, bucket: str, options: Mapping[str, Any]) -> GCSStore | None:
    """Return a Google bucket's store, signed as gcsfs signs; None where an option cannot be translated."""
    # Elsewhere for an emulator, another universe or a client certificate, all of which the environment may name.
    if not options.keys() <= _GOOGLE or not filesystem.base.startswith(f"{_GOOGLE_URL}/"):
        return None
    held = filesystem.credentials
    is_open = held.credentials is None
    return GCSStore(
        bucket,
        base_url=_GOOGLE_URL,
        skip_signature=is_open,
        client_options=client_config(),
        retry_config=RETRY,
        credential_provider=None if is_open else _GoogleToken(held),
    )


class _GoogleToken:
    """What gcsfs signs with, in obstore's terms.

    Parameters
    ----------
    held : gcsfs.credentials.GoogleCredentials
        Those of the filesystem.
    """

    def __init__(self, held: Any) -> None:
        self._held = held

    def __call__(self) -> GCSCredential:
        """Return a token; called by obstore when the last one ends."""
        self._held.maybe_refresh()
        found = self._held.credentials
        expiry = found.expiry
        return {"token": found.token, "expires_at": expiry and expiry.replace(tzinfo=expiry.tzinfo or UTC)}


def azure_store(container: str, options: Mapping[str, Any]) -> AzureStore | None:
    """Return a container's store; None unless the options alone name the account and just one way of signing."""
    if any(name.startswith(_AZURE_ENVIRONMENT) for name in os.environ):
        return None
    told = {name: value for name, value in options.items() if name not in _UNHEARD and value is not None}
    anonymous = told.pop("anon", False)
    if anonymous and told.keys() == {"account_name"}:
        return _azure(container, {"account_name": told["account_name"], "skip_signature": True})
    way = None if anonymous else _AZURE.get(frozenset(told))
    if way is None:
        return None
    config: AzureConfig = {"account_name": told["account_name"], "credential_type": way[0], "skip_signature": False}
    config |= {theirs: str(told[ours]).lstrip("?") for ours, theirs in way[1].items()}  # type: ignore[typeddict-item]
    return _azure(container, config)


def _azure(container: str, config: AzureConfig) -> AzureStore:
    endpoint = f"https://{config['account_name']}.blob.core.windows.net"
    whole: AzureConfig = {**config, "endpoint": endpoint, "use_emulator": False, "use_fabric_endpoint": False}
    return AzureStore(container, config=whole, client_options=client_config(), retry_config=RETRY)


def web_store(root: str, options: Mapping[str, Any]) -> HTTPStore | None:
    """Return a web folder's store; None where its URL carries more than a path, or an option cannot be translated."""
    parts = urlsplit(root)
    if parts.query or parts.fragment or "@" in parts.netloc or "%" in root or not options.keys() <= _UNHEARD:
        return None
    client = client_config()
    client["allow_http"] = parts.scheme == "http"
    return HTTPStore(root, client_options=client, retry_config=RETRY)


__all__ = ["azure_store", "google_store", "web_store"]
