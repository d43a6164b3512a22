"""A requests Session as one would make it: a connection for every thread, nothing else changed."""

from __future__ import annotations

import requests
from requests.adapters import HTTPAdapter


def pooled_session(size: int) -> requests.Session:
    """A Session that keeps `size` connections."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=size))
    return session
