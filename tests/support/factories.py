"""The values that tests are made of: settings, payouts, reports, requests."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from shared.config.settings import Settings

API_KEY = "sk-7Kq2-very-secret"


def make_settings(**changes: Any) -> Settings:
    """Settings with which a worker could start."""
    fields: dict[str, Any] = {
        "database_url": "postgresql://u@h/d",
        "redis_url": "redis://h",
        "epay_base_url": "https://gateway.example/capi/openapi/",
        "epay_account": "shop@example.com",
        "epay_api_key": SecretStr(API_KEY),
    }
    return Settings(**(fields | changes))
