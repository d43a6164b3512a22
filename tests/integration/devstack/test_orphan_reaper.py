"""The helper process that ends processes after the death of their parent."""

from __future__ import annotations

import signal
import subprocess

from devstack.orphan_reaper import collect, end


def test_released_processes_and_folders_are_forgotten() -> None:
    """A released process or folder is not cleaned up."""
    lines = [
        "[10, 15]",
        "[11, 2]",
        '["/a", 15]',
        '["/b", 15]',
        "[10, null]",
        '["/b", null]',
        "[99, null]",
    ]

    assert collect(lines) == {11: 2, "/a": 15}


def test_end_uses_the_signal_asked_for() -> None:
    """Each process gets its own stop signal, even while it is stopped by SIGSTOP."""
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        process.send_signal(signal.SIGSTOP)

        end({process.pid: signal.SIGUSR1})

        assert process.wait(60) == -signal.SIGUSR1
