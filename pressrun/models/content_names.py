"""What a file's digest is worth: whether it names bytes wherever they lie, or one file's state alone.

Knows nothing of how digests are come by.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from pressrun.location import Location

_OF_CONTENTS = ("md5hash:", "content_md5:", "checksum:", "xxh3:")
_OF_A_WRITE = ("etag:", "versionid:", "generation:")
# Stores whose ETag is made of the contents. That of nginx, Apache and Caddy is made of time and size, which two
# adapters unpacked together have in common.
_ETAG_OF_CONTENTS = ("s3", "s3a")
# Stores whose ETag is new with every write and is never given to another file.
_ETAG_OF_A_WRITE = ("gs", "gcs", "az", "abfs", "abfss", "adl")


def names_contents(location: Location, digest: str) -> bool:
    """Return whether files of the same digest hold the same bytes wherever they lie.

    Parameters
    ----------
    location : Location
        Where the file was listed.
    digest : str
        What `ModelListing.digest` returned there.
    """
    return digest.startswith(_OF_CONTENTS) or (digest.startswith("etag:") and _scheme(location) in _ETAG_OF_CONTENTS)


def names_a_write(location: Location, digest: str) -> bool:
    """Return whether no file of other bytes has this digest, though a copy of the same bytes may have another.

    Parameters
    ----------
    location : Location
        Where the file was listed.
    digest : str
        What `ModelListing.digest` returned there.
    """
    is_of_a_write = digest.startswith(_OF_A_WRITE) and _scheme(location) in _ETAG_OF_A_WRITE
    return is_of_a_write or names_contents(location, digest)


def place_of(location: Location) -> str:
    """Return what tells a location from all others; to be hashed and never shown, as it holds the URL's query."""
    queries = (urlsplit(link).query for link in location.url.split("::"))
    return "?".join([str(location).rstrip("/"), *filter(None, queries)])


def _scheme(location: Location) -> str:
    """Return the scheme of the store that a chained URL ends in."""
    return location.url.rpartition("::")[2].partition("://")[0]


__all__ = ["names_a_write", "names_contents", "place_of"]
