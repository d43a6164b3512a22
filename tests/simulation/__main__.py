"""`make simulate SEEDS=100000`: many worlds on all cores; a failing one is shrunk and told."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.simulation.mutations import BREAKS, broken
from tests.simulation.runner import run, run_seeds, shrunk

_CHUNK = 100


def main() -> int:
    """Run the worlds; 0 when every law held in all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "seeds", type=int, nargs="?", default=int(os.environ.get("SEEDS") or 2000), help="how many"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--replay", type=int, help="this seed alone, with its whole story")
    parser.add_argument("--break", dest="law", choices=[*BREAKS, "all"], help="break a law")
    parser.add_argument("--no-shrink", action="store_true")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return _replay(arguments.replay, arguments.law, shrink=not arguments.no_shrink)
    if arguments.law == "all":
        return max(_until_caught(law, arguments.seeds) for law in BREAKS)
    if arguments.law:
        return _until_caught(arguments.law, arguments.seeds)
    return _many(arguments.first, arguments.seeds)


def first_failure(law: str | None, seeds: Iterable[int]) -> int | None:
    """The first seed in whose world something breaks."""
    with broken(law):
        return next((seed for seed in seeds if run(seed) is not None), None)


def _many(first: int, seeds: int) -> int:
    began = time.monotonic()
    done = 0
    played: Counter[str] = Counter()
    with multiprocessing.Pool(os.cpu_count()) as pool:
        chunks = _chunks(first, seeds)
        for size, failing, counted in pool.imap_unordered(run_seeds, chunks):
            done += size
            played += counted
            if failing is not None:
                pool.terminate()
                print(f"A law broke in the world of seed {failing}.")
                return _replay(failing, None, shrink=True)
            rate = done / (time.monotonic() - began)
            if sys.stderr.isatty():
                print(f"\r{done} worlds, {rate:.0f} a second", end="", file=sys.stderr)
    seconds = time.monotonic() - began
    for what, times in sorted(played.items()):
        print(f"  {what:<42} {times:>10}")
    print(f"  {'paid twice':<42} {played['paid twice']:>10}")
    print(f"{done} worlds in {seconds:.0f} s ({done / seconds:.0f} a second): every law held.")
    return 0


def _chunks(first: int, seeds: int) -> Iterator[range]:
    for start in range(first, first + seeds, _CHUNK):
        yield range(start, min(start + _CHUNK, first + seeds))


def _until_caught(law: str, seeds: int) -> int:
    seed = first_failure(law, range(seeds))
    caught = f"caught by seed {seed}" if seed is not None else f"NOT CAUGHT in {seeds} worlds"
    print(f"{law:<34} {caught}")
    return seed is None


def _replay(seed: int, law: str | None, *, shrink: bool) -> int:
    with broken(law):
        failure = run(seed)
        if failure is None:
            print(f"seed {seed}: every law held.")
            return 0
        found = shrunk(failure) if shrink else failure
    print(f"\n{found.law}\n")
    print("\n".join(found.story))
    breaking = f" --break {law}" if law else ""
    print(f"\nReplay: python -m tests.simulation --replay {seed}{breaking}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
