"""`python -m sandbox`: run the stand-in gateway until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence

from pydantic import ValidationError

from sandbox.server import Gateway
from sandbox.settings import read_config


def main(arguments: Sequence[str]) -> int:
    """Run until a signal says stop; 2 for a wrong setting."""
    try:
        config = read_config(arguments)
    except ValidationError as error:
        print(f"python -m sandbox: {error}", file=sys.stderr)  # noqa: T201
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Gateway(config) as gateway:
        print(f"sandbox gateway at {gateway.base_url}", flush=True)  # noqa: T201
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
