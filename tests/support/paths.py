"""Where things are, for tests that read the project's own files."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""
PROGRAMS = Path(sys.executable).parent
"""The scripts of the environment: celery, gunicorn, payouts."""
