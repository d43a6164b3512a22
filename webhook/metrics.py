"""What the webhook counts."""

from __future__ import annotations

from prometheus_client import Counter

CALLBACKS = Counter("payouts_callbacks_total", "Callbacks received, by our answer", ["result"])
