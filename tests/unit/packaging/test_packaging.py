"""Procfile, compose, Dockerfile and locks: what nothing checks until it is late."""

from __future__ import annotations

import itertools
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import dotenv
import pytest
import yaml
from honcho import environ

from shared.config.builders import build_epay_config
from shared.config.settings import Settings
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROCFILE = environ.parse_procfile((ROOT / "Procfile").read_text()).processes
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

OURS = ("migrate", "worker", "reconciler", "beat", "webhook", "sandbox")


def words(command: str | list[str]) -> list[str]:
    """A command as its words, without the shell's exec."""
    if isinstance(command, list):
        return command
    return shlex.split(command.removeprefix("exec "))


def without_address(command: list[str]) -> list[str]:
    """The command without where it listens, which is the container's own affair."""
    return [word for word in command if not re.search(r":8000|WEBHOOK_BIND", word)]


def test_procfile_and_compose_run_the_same_processes() -> None:
    """Whoever moves from one to the other finds the same processes under the same names."""
    assert set(PROCFILE) == {"worker", "reconciler", "beat", "webhook"}
    assert set(SERVICES) == {*OURS, "postgres", "redis"}
    for name, command in PROCFILE.items():
        assert without_address(words(command)) == without_address(words(SERVICES[name]["command"]))


def test_every_queue_is_consumed() -> None:
    """Money is sent by one worker; following and telling have another."""
    queues = {name: words(PROCFILE[name])[7] for name in ("worker", "reconciler")}

    assert queues == {
        "worker": "payouts,payouts.submit,payouts.bulk",
        "reconciler": "payouts.reconcile,payouts.notify",
    }


def test_node_names_differ() -> None:
    """Two nodes of one name on one machine would answer for each other."""
    names = [words(PROCFILE[name])[5] for name in ("worker", "reconciler")]

    assert names == ["worker@%h", "reconciler@%h"]


def test_nothing_is_published_beyond_this_machine() -> None:
    """Every published port is bound to 127.0.0.1."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_locked_down(name: str) -> None:
    """Read-only, without capabilities, and with time to finish what is on the wire."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["stop_grace_period"] == "60s"
    assert service["image"] == SERVICES["worker"]["image"]


def test_processes_wait_for_migration_and_servers() -> None:
    """Nothing of ours runs on a schema that is not there yet."""
    for name in PROCFILE:
        conditions = {k: v["condition"] for k, v in SERVICES[name]["depends_on"].items()}
        assert conditions == {
            "migrate": "service_completed_successfully",
            "postgres": "service_healthy",
            "redis": "service_healthy",
        }
    for name in ("postgres", "redis"):
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_redis_is_set_up_as_a_broker() -> None:
    """Nothing is evicted, and every write is in a file."""
    command = SERVICES["redis"]["command"]

    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"


def test_compose_works_against_the_sandbox_out_of_the_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without .env the settings are complete, valid, and pay nobody; only the profile is needed."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    given = Settings(_env_file=ROOT / "compose.sandbox.env")
    sandbox = SERVICES["sandbox"]

    assert build_epay_config(given).base_url == "http://sandbox:8080/capi/openapi"
    assert sandbox["command"][-2:] == ["--port", "8080"]
    assert sandbox["profiles"] == ["sandbox"]
    assert given.epay_notify_url == "http://webhook:8000/epay/callback"


def test_sandbox_settings_go_when_a_gateway_is_named() -> None:
    """The sandbox's codes and its plain http must never be mixed with a real account."""
    paths = [entry["path"] for entry in SERVICES["worker"]["env_file"]]

    assert paths == [".env", "compose.sandbox${EPAY_BASE_URL:+-is-off}.env"]
    assert all(entry["required"] is False for entry in SERVICES["worker"]["env_file"])
    assert not (ROOT / "compose.sandbox-is-off.env").exists()


def test_image_has_every_package() -> None:
    """What the wheel is made of is copied into the build, and let through by .dockerignore."""
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert set(packages) <= copied
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_every_package_is_typed_and_there_is_a_licence() -> None:
    """Type checkers of other programs use the annotations; the wheel carries its licence."""
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert all((ROOT / package / "py.typed").exists() for package in packages)
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")


def test_image_is_unprivileged_and_hashed() -> None:
    """No root, no compiler, no package without a hash."""
    stages = DOCKERFILE.split("\nFROM ")

    assert len(stages) == 3
    assert "\nUSER 10001\n" in stages[-1]
    assert "pip" not in stages[-1]
    assert "ENTRYPOINT" not in DOCKERFILE
    for install in re.findall(r"pip install (?:.|\\\n)+?(?=&&|\n[A-Z])", DOCKERFILE):
        assert "--require-hashes" in install or "--no-index" in install


def test_a_lock_is_installed_as_it_stands() -> None:
    """pip resolves nothing: it would look past a pin for an extra that the lock does not name."""
    installs = re.findall(
        r"install (?:[^\n]|\\\n)+?-r requirements/", (ROOT / "Makefile").read_text() + DOCKERFILE
    )

    assert len(installs) == 4
    assert all("--no-deps" in install and "--require-hashes" in install for install in installs)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_name_no_registry_and_hash_everything(lock: Path) -> None:
    """A lock says what, and how to recognise it, not where it comes from."""
    text = lock.read_text().replace("\\\n", "")

    assert "://" not in text
    assert "--index-url" not in text
    for line in filter(None, text.splitlines()):
        assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_locks_agree() -> None:
    """What is tested is what runs: every package of the image has the tested version."""
    versions = {
        lock.name: dict(
            re.findall(r"^([a-z0-9.-]+)(?:\[.+\])?==(\S+)", lock.read_text(), re.MULTILINE)
        )
        for lock in LOCKS
    }

    assert set(versions) == {"bench.txt", "build.txt", "dev.txt", "runtime.txt"}
    assert versions["runtime.txt"].items() <= versions["dev.txt"].items()
    assert versions["build.txt"].items() <= versions["dev.txt"].items()
    assert versions["runtime.txt"].items() <= versions["bench.txt"].items()


def test_example_explains_each_line() -> None:
    """Whoever copies .env.example reads a word about everything in it, once."""
    lines = EXAMPLE.splitlines()
    assigned = [line.partition("=")[0] for line in lines if re.match(r"(# )?[A-Z_]+=", line)]

    assert len(assigned) == len(set(assigned))
    for before, line in itertools.pairwise(lines):
        if re.match(r"(# )?[A-Z_]+=", line):
            assert re.match(r"# (?![A-Z_]+=)", before), f"{line} has no comment"


def test_example_names_what_the_procfile_and_compose_read() -> None:
    """No variable has to be found by reading YAML."""
    texts = "".join((ROOT / name).read_text() for name in ("Procfile", "docker-compose.yml"))

    for name in set(re.findall(r"\$\{([A-Z_]+)", texts)):
        assert re.search(rf"\b{name}\b", EXAMPLE), name


def test_example_is_valid_and_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy changes nothing but the addresses, and holds no secret."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    addresses = {"database_url", "redis_url"}

    example = Settings(_env_file=ROOT / ".env.example").model_dump(exclude=addresses)

    assert example == Settings(_env_file=None).model_dump(exclude=addresses)


def test_honcho_reads_the_example_as_the_settings_do() -> None:
    """honcho splits .env by its own rules: no value may come out otherwise."""
    ours = dotenv.dotenv_values(ROOT / ".env.example")

    assert {**dict.fromkeys(ours, ""), **environ.parse(EXAMPLE)} == ours
