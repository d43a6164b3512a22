"""Checks of servers from the environment: the demo uses only empty ones.

On a broker in use, real workers would take the demo's payouts and pay them.
"""

from __future__ import annotations

import redis
from sqlalchemy import inspect, text

from ops.connections import open_database
from ops.errors import UserError


def unused_database(url: str) -> str:
    """The URL, if its database holds no payout.

    Raises:
        UserError: it does, or cannot be read.
    """
    with open_database(url) as engine:
        if inspect(engine).has_table("payout"):
            with engine.connect() as connection:
                if connection.execute(text("SELECT EXISTS (SELECT FROM payout)")).scalar_one():
                    raise UserError(
                        "the database at DATABASE_URL holds payouts: name an empty one, or unset"
                        " DATABASE_URL to have one started"
                    )
    return url


def unused_broker(url: str) -> str:
    """The URL, if its Redis database is empty.

    Raises:
        UserError: it is not, or does not answer.
    """
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            used = client.dbsize()
    except redis.RedisError as error:
        raise UserError(
            f"the Redis at REDIS_URL does not answer ({type(error).__name__})"
        ) from error
    if used:
        raise UserError(
            "the Redis at REDIS_URL is in use: real workers could take the demo's payouts. Name"
            " an empty one, or unset REDIS_URL to have one started"
        )
    return url
