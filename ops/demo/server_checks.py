"""Servers that were given to the demo: taken only if nobody uses them.

The demo asks for payouts on whatever broker it is given. On a broker in use, somebody's real
workers would pay them.
"""

from __future__ import annotations

import redis
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from ops.errors import UserError, unreadable
from shared.storage.engine import make_engine


def unused_database(url: str) -> str:
    """The URL, if its database holds no payout.

    Raises:
        UserError: it does, or cannot be read.
    """
    engine = make_engine(url, pool_size=1)
    try:
        if inspect(engine).has_table("payout"):
            with engine.connect() as connection:
                if connection.execute(text("SELECT EXISTS (SELECT FROM payout)")).scalar_one():
                    raise UserError(
                        "the database at DATABASE_URL holds payouts: give an empty one, or unset"
                        " DATABASE_URL and one is started for you"
                    )
    except SQLAlchemyError as error:
        raise unreadable(error) from error
    finally:
        engine.dispose()
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
            "the Redis at REDIS_URL is in use: real workers could take the demo's payouts. Give an"
            " empty one, or unset REDIS_URL and one is started for you"
        )
    return url
