"""When a server is asked again, and what is said when it is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from xphys._storage import _retry
from xphys._storage._retry import Policy, again
from xphys.errors import RemoteError, SchemaError

URL = "s3://bucket/key"


class Answer(Exception):
    """As aiohttp keeps them."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"answer {status}")
        self.status, self.headers = status, headers or {}


class ClientError(Exception):
    """As botocore keeps them."""

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__("boto")
        meta = {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}}
        self.response = {"Error": {"Code": code}, "ResponseMetadata": meta}


class ClientPayloadError(Exception):
    """As aiohttp says that a body ended early; what it is made from has a code of 400."""


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds slept, without sleeping."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(_retry.asyncio, "sleep", sleep)
    return slept


def ask(errors: list[BaseException], policy: Policy | None = None) -> Any:
    left = list(errors)

    async def one() -> str:
        if left:
            raise left.pop(0)
        return "data"

    return asyncio.run(again(one, URL, policy or Policy()))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(status: int, waits: list[float]) -> None:
    assert ask([Answer(status)] * 9) == "data"
    assert len(waits) == 9
    assert all(0 <= wait <= 0.1 * 2**n for n, wait in enumerate(waits))


def test_broken_connections_are_asked_again(waits: list[float]) -> None:
    early = ClientPayloadError("early")
    early.__cause__ = Answer(400)
    hidden = FileNotFoundError("as fsspec says")
    hidden.__cause__ = Answer(503)
    slow = TimeoutError("RequestTimeout")
    slow.__cause__ = ClientError(400, "RequestTimeout")
    broken = [ConnectionResetError(), asyncio.IncompleteReadError(b"", 4), early, hidden, slow]
    assert ask(broken) == "data"
    assert len(waits) == len(broken)


@pytest.mark.parametrize("kind", ["seconds", "date", "botocore"])
def test_retry_after_is_honoured(kind: str, waits: list[float]) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=8), usegmt=True)
    answer = {
        "seconds": Answer(429, {"Retry-After": "7"}),
        "date": Answer(503, {"retry-after": later}),
        "botocore": ClientError(503, "SlowDown"),
    }[kind]
    assert ask([answer]) == "data"
    assert 6 < waits[0] < 9


def test_a_longer_wait_than_the_time_left_is_not_begun(waits: list[float]) -> None:
    with pytest.raises(RemoteError, match=r"s3://bucket/key: 1 attempts .* asks to wait 500 s"):
        ask([Answer(429, {"Retry-After": "500"})])
    assert waits == []


def test_attempts_are_bounded_and_the_last_answer_is_told(waits: list[float]) -> None:
    with pytest.raises(RemoteError, match=r"s3://bucket/key: 3 attempts .* status 503") as caught:
        ask([Answer(503)] * 5, Policy(attempts=3))
    assert caught.value.status == 503
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_refusals_are_told_at_once(status: int, waits: list[float]) -> None:
    with pytest.raises(RemoteError, match=f"s3://bucket/key: the server refuses .*{status}"):
        ask([Answer(status)])
    assert waits == []


def test_absence_is_an_answer(waits: list[float]) -> None:
    for error in (Answer(404), Answer(410), FileNotFoundError("there")):
        with pytest.raises(FileNotFoundError, match="s3://bucket/key"):
            ask([error])
    with pytest.raises(FileExistsError, match="s3://bucket/key"):
        ask([ClientError(412, "PreconditionFailed")])
    assert waits == []


def test_mistakes_are_not_taken_for_answers(waits: list[float]) -> None:
    with pytest.raises(TypeError, match="ours"):
        ask([TypeError("ours")])
    unknown = type("gaierror", (ConnectionError,), {})
    with pytest.raises(RemoteError, match="refuses with gaierror"):
        ask([unknown("no such host")])
    assert waits == []


def test_policy_is_read_from_options() -> None:
    assert Policy.of({"attempts": 2, "seconds": 5}) == Policy(attempts=2, seconds=5)
    assert Policy.of(None) == Policy()
    with pytest.raises(SchemaError, match="may hold"):
        Policy.of({"tries": 2})
    with pytest.raises(SchemaError, match="at least 1"):
        Policy.of({"attempts": 0})
