"""S3 buckets for obstore, reached just as s3fs reaches them.

Endpoint, region and credentials are asked of the filesystem itself, which found them in its options, the environment,
a profile or the machine's role; the few other options that decide a read are translated, and where one is not known
here, there is no store. Knows nothing of reading.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fsspec.asyn import sync
from obstore.store import S3Store

from workers.cache.store_client import RETRY, client_config

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

logger = logging.getLogger(__name__)

# Carried by what the filesystem is asked for, or without a say in reads of whole chunks.
_OPTIONS = frozenset(
    "key username secret password token endpoint_url anon profile session use_ssl client_kwargs config_kwargs "
    "requester_pays s3_additional_kwargs cache_regions local_expiry_check use_listings_cache listings_expiry_time "
    "max_paths skip_instance_cache default_block_size default_fill_cache default_cache_type max_concurrency "
    "fixed_upload_size".split()
)
_CLIENT_OPTIONS = frozenset(
    "endpoint_url region_name aws_access_key_id aws_secret_access_key aws_session_token verify use_ssl".split()
)
_CONFIG_OPTIONS = frozenset(
    "region_name signature_version s3 connect_timeout read_timeout retries max_pool_connections".split()
)
_WRITE_OPTIONS = frozenset("ACL ServerSideEncryption SSEKMSKeyId BucketKeyEnabled StorageClass ContentType".split())
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]+[a-z0-9]")  # no access points, which are ARNs
_EXPRESS = "--x-s3"
_AMAZON = re.compile(r"https://s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?P<china>\.cn)?")
# Asked for again so often: temporary ones that the filesystem renews would be used beyond their end otherwise.
_CREDENTIALS_LAST = timedelta(minutes=5)


def s3_store(filesystem: Any, bucket: str, options: Mapping[str, Any]) -> S3Store | None:
    """Return a bucket's store.

    Parameters
    ----------
    filesystem : s3fs.S3FileSystem
        The filesystem that the options open.
    bucket : str
        Its name.
    options : mapping
        The location's options.

    Returns
    -------
    S3Store or None
        None where an option or a bucket is of a kind that cannot be translated, or its region is not told.
    """
    place = _translated_place(filesystem, bucket, options)
    if place is None:
        return None
    endpoint, region = place
    is_virtual = _addressing(options) == "virtual"
    if is_virtual:
        scheme, _, host = endpoint.partition("://")
        endpoint = f"{scheme}://{bucket}.{host}"
    # Everything is said, or obstore would take it from the environment: for other options than these.
    return S3Store(
        bucket,
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=region,
        virtual_hosted_style_request=is_virtual,
        skip_signature=bool(options.get("anon")),
        request_payer=bool(options.get("requester_pays")),
        s3_express=False,
        client_options=_client(filesystem, options),
        retry_config=RETRY,
        credential_provider=None if options.get("anon") else _Credentials(filesystem),
    )


def _translated_place(filesystem: Any, bucket: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what `_place_of` does, or tell why s3fs has to read."""
    obstacle, place = _obstacle(bucket, options), None
    if not obstacle:
        filesystem.connect()
        place = _place_of(filesystem, bucket)
        obstacle = "its region, which nobody tells"
    if place is None:
        logger.info("The bucket %s is read by s3fs, which is slower, because of %s.", bucket, obstacle)
    return place


class _Credentials:
    """What the filesystem signs with, in obstore's terms.

    Parameters
    ----------
    filesystem : s3fs.S3FileSystem
        A connected one.
    """

    def __init__(self, filesystem: Any) -> None:
        self._filesystem = filesystem

    def __call__(self) -> S3Credential:
        """Return credentials; called by obstore now and then."""
        given = _given(self._filesystem)
        if given is not None:
            return given
        key, secret, token = sync(self._filesystem.loop, self._frozen)
        expires_at = datetime.now(UTC) + _CREDENTIALS_LAST
        return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": expires_at}

    async def _frozen(self) -> tuple[str, str, str | None]:
        credentials = await self._filesystem.session.get_credentials()
        if credentials is None:
            raise PermissionError("none found")  # which is told apart from not being able to look
        frozen = await credentials.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token


def _given(filesystem: Any) -> S3Credential | None:
    """Return credentials that stand in the options themselves."""
    client = filesystem.client_kwargs
    key = filesystem.key or client.get("aws_access_key_id")
    secret = filesystem.secret or client.get("aws_secret_access_key")
    if not key or not secret:
        return None
    token = filesystem.token or client.get("aws_session_token")
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": None}


def _obstacle(bucket: str, options: Mapping[str, Any]) -> str:
    """Return what cannot be translated, by its name alone; "" for nothing."""
    if not _BUCKET.fullmatch(bucket) or bucket.endswith(_EXPRESS):
        return "its kind: an access point or a directory bucket"
    config = options.get("config_kwargs") or {}
    known_in = {
        "": (options, _OPTIONS),
        "client_kwargs": (options.get("client_kwargs") or {}, _CLIENT_OPTIONS),
        "s3_additional_kwargs": (options.get("s3_additional_kwargs") or {}, _WRITE_OPTIONS),
        "config_kwargs": (config, _CONFIG_OPTIONS),
        "config_kwargs.s3": (config.get("s3") or {}, {"addressing_style"}),
    }
    unknown = [
        f"{where}.{name}".lstrip(".") for where, (given, known) in known_in.items() for name in given.keys() - known
    ]
    if config.get("signature_version") not in (None, "s3v4"):
        unknown.append("config_kwargs.signature_version")
    return f"the option {min(unknown)}" if unknown else ""


def _addressing(options: Mapping[str, Any]) -> str:
    config = options.get("config_kwargs") or {}
    return str((config.get("s3") or {}).get("addressing_style") or "auto")


def _place_of(filesystem: Any, bucket: str) -> tuple[str, str] | None:
    """Return the endpoint and the region that requests for a bucket go to; None where nobody tells the region."""
    meta = filesystem.s3.meta
    endpoint, region = str(meta.endpoint_url).rstrip("/"), meta.region_name or "us-east-1"
    amazon = _AMAZON.fullmatch(endpoint)
    if not amazon:
        return endpoint, region
    # botocore follows Amazon's hints at a bucket's own region; obstore does not.
    own = _region_of(filesystem, bucket, region)
    return (f"https://s3.{own}.amazonaws.com{amazon['china'] or ''}", own) if own else None


def _region_of(filesystem: Any, bucket: str, usual: str) -> str | None:
    try:
        answer = filesystem.call_s3("head_bucket", Bucket=bucket)
    except Exception as error:
        # Rights to read some prefix only do not suffice for this; Amazon tells the region with its refusal.
        answer, usual = getattr(error.__cause__ or error, "response", {}), filesystem.client_kwargs.get("region_name")
    told: str | None = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", usual)
    return told


def _client(filesystem: Any, options: Mapping[str, Any]) -> ClientConfig:
    config = options.get("config_kwargs") or {}
    verify = (options.get("client_kwargs") or {}).get("verify")
    if verify is None:
        verify = filesystem.session.get_config_variable("ca_bundle")
    client = client_config(config.get("connect_timeout"), config.get("read_timeout"))
    client["allow_http"] = urlsplit(str(filesystem.s3.meta.endpoint_url)).scheme == "http"
    if verify is False:
        client["allow_invalid_certificates"] = True
    elif isinstance(verify, str):
        client["root_certificate"] = Path(verify).read_bytes()
    return client


__all__ = ["s3_store"]
