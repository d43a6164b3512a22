"""Whether the Redis of another deployment is told from ours."""

from __future__ import annotations

import pytest

from shared.config.settings import Settings
from shared.messaging.owner import DeploymentMarks, other_owner, owner_of
from tests.support.factories import make_settings
from tests.support.fake_redis import FakeRedisServer

SANDBOX = "http://127.0.0.1:8701/capi/openapi"
OURS = owner_of(make_settings(epay_base_url=SANDBOX), "token")


def test_the_owner_is_account_gateway_and_database() -> None:
    assert OURS == {
        "account": "shop@example.com",
        "gateway": "127.0.0.1:8701",
        "database": "token",
    }
    default_port = make_settings(epay_base_url="https://API.example:443/capi/openapi")
    assert owner_of(default_port)["gateway"] == "api.example"
    nothing = Settings(_env_file=None, redis_url="redis://h")
    assert set(owner_of(nothing).values()) == {""}


def test_two_sandboxes_on_one_machine_are_told_apart() -> None:
    other = make_settings(epay_base_url=SANDBOX.replace("8701", "8801"))
    problem = other_owner(owner_of(other), OURS) or ""
    assert "at 127.0.0.1:8701; this process works for account shop@example.com at" in problem
    assert "127.0.0.1:8801" in problem
    same_database = owner_of(other, "token")
    assert other_owner(same_database, OURS) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_mark_without_ports_is_of_an_earlier_release(host: str) -> None:
    """It refuses no process of its own deployment, and any of another host."""
    mark = OURS | {"gateway": host}
    own = OURS | {"database": ""}
    assert (other_owner(own, mark) is None) == (host == "127.0.0.1")
    assert other_owner(OURS | {"database": "other"}, mark) is not None


def test_every_port_of_a_list_is_left_out() -> None:
    own = {"account": "a,b", "gateway": "a.example:8443,b.example:8444", "database": ""}
    assert other_owner(own, own | {"gateway": "a.example,b.example"}) is None
    assert other_owner(own, own | {"gateway": "a.example,b.example:8444"}) is not None


@pytest.mark.parametrize("name", ["account", "gateway", "database"])
def test_an_empty_field_of_the_mark_refuses_nobody(fake_redis: FakeRedisServer, name: str) -> None:
    """Nor does one that is not there: what one side does not know is not compared."""
    own = OURS | {"database": "other"} if name == "database" else OURS
    marks = DeploymentMarks(fake_redis.redis_client())
    marks.write(OURS | {"database": "", name: ""})
    assert other_owner(own, marks.read()) is None
    without = {field: value for field, value in OURS.items() if field not in {name, "database"}}
    assert other_owner(own, without) is None
    assert other_owner(OURS | {name: ""}, OURS) is None
