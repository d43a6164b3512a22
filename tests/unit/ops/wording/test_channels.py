"""Channel codes that EPAY documents."""

from __future__ import annotations

import pytest

from ops.wording.channels import CHANNELS, undocumented


@pytest.mark.parametrize("codes", [[], ["11"], list(CHANNELS)])
def test_documented_codes_need_no_warning(codes: list[str]) -> None:
    assert undocumented(codes) is None


def test_other_codes_are_named_once() -> None:
    assert undocumented(["11", "2", "111", "2"]) == (
        "Check channel 111, 2: EPAY documents 11 Perfect Money, 12 Advcash, 16 Payeer, 18 FasaPay."
    )
