"""What a file's digest is worth: whether it names bytes wherever they lie, in one store, or one file's state alone.

Knows nothing of how digests are come by.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pressrun.location import Location

_OF_CONTENTS = ("md5hash:", "content_md5:", "checksum:", "xxh3:")
_OF_A_WRITE = ("etag:", "versionid:", "generation:")
# Stores whose ETag is made of the contents. That of nginx, Apache and Caddy is made of time and size, which two
# adapters unpacked together have in common.
_ETAG_OF_CONTENTS = ("s3", "s3a")
# Stores whose ETag is new with every write and is never given to another file.
_ETAG_OF_A_WRITE = ("gs", "gcs", "az", "abfs", "abfss", "adl")
# No other names of Amazon's: anybody may rent a machine or a load balancer that has one.
_AMAZON = re.compile(r"s3(?:[.-](?:fips|dualstack|accelerate|[a-z]{2}(?:-[a-z]+)+-\d))*\.amazonaws\.com(?:\.cn)?")
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # in the order in which boto heeds them


def names_contents(location: Location, digest: str) -> bool:
    """Return whether files of the same digest in the same `store_of` hold the same bytes.

    Parameters
    ----------
    location : Location
        Where the file was listed.
    digest : str
        What `ModelListing.digest` returned there.
    """
    return digest.startswith(_OF_CONTENTS) or (digest.startswith("etag:") and _scheme(location) in _ETAG_OF_CONTENTS)


def names_a_write(location: Location, digest: str) -> bool:
    """Return whether no file of other bytes there has this digest, though a copy of the same bytes may have another.

    Parameters
    ----------
    location : Location
        Where the file was listed.
    digest : str
        What `ModelListing.digest` returned there.
    """
    is_of_a_write = digest.startswith(_OF_A_WRITE) and _scheme(location) in _ETAG_OF_A_WRITE
    return is_of_a_write or names_contents(location, digest)


def store_of(location: Location) -> str:
    """Return the endpoint and bucket that a digest is bound to; "" where it holds everywhere.

    An S3 server that is not Amazon's answers with any ETag it likes: a constant, or that of another's model.
    """
    scheme = _scheme(location)
    if scheme not in _ETAG_OF_CONTENTS:
        return ""
    endpoint = _endpoint_of({**location.options, **(location.options.get(scheme) or {})})
    if not endpoint or _AMAZON.fullmatch(urlsplit(endpoint).netloc.lower()):
        return ""
    bucket = urlsplit(location.url.rpartition("::")[2]).netloc.rpartition("@")[2]
    return f"{endpoint.rstrip('/')}/{bucket}"


def place_of(location: Location) -> str:
    """Return what tells a location from all others; to be hashed and never shown, as it holds the URL's query."""
    queries = (urlsplit(link).query for link in location.url.split("::"))
    return "?".join([str(location).rstrip("/"), *filter(None, queries)])


def _endpoint_of(options: Mapping[str, Any]) -> str:
    """Return the S3 server that options or environment name; "" for Amazon's."""
    named = [options.get("endpoint_url"), (options.get("client_kwargs") or {}).get("endpoint_url")]
    return str(next(filter(None, [*named, *map(os.environ.get, _ENDPOINT_VARIABLES)]), ""))


def _scheme(location: Location) -> str:
    """Return the scheme of the store that a chained URL ends in."""
    return location.url.rpartition("::")[2].partition("://")[0]


__all__ = ["names_a_write", "names_contents", "place_of", "store_of"]
