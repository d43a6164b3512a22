"""The helper that ends what its owner left behind."""

from __future__ import annotations

import signal
import subprocess

from devstack.orphan_reaper_main import collect, end


def test_only_what_is_still_held_is_kept() -> None:
    """What was released is no longer ours to end."""
    lines = [
        '["hold", 10, 15]',
        '["hold", 11, 2]',
        '["hold_folder", "/a"]',
        '["hold_folder", "/b"]',
        '["release", 10]',
        '["release_folder", "/b"]',
        '["release", 99]',
    ]

    assert collect(lines) == ({11: 2}, {"/a"})


def test_end_uses_the_signal_asked_for() -> None:
    """Each process gets its own polite signal, stopped or not."""
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        process.send_signal(signal.SIGSTOP)

        end({process.pid: signal.SIGINT})

        assert process.wait(60) == -signal.SIGINT
