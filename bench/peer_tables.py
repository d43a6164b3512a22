"""Makes the peers' tables in DATABASE_URL: `python -m bench.peer_tables`."""

from bench.peer_common import create_tables

if __name__ == "__main__":
    create_tables()
