"""When a server is asked again: which answers may pass, how long to wait, when to give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from xphys.errors import RemoteError, SchemaError

__all__ = ["Policy", "again"]

Result = TypeVar("Result")

# Of HTTP: too slow, too often, and what servers say of themselves.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
# What S3 says with status 400 and means by it 408.
_PASSING_CODES = frozenset({"RequestTimeout", "SlowDown", "InternalError"})
_ABSENT = frozenset({404, 410})
# Of aiohttp, botocore, azure-core and fsspec: connections that broke, bodies that ended early.
# By name: none of them is imported for a local file.
_BROKEN = frozenset(
    {
        "ClientConnectionError",
        "ClientPayloadError",
        "ConnectionError",
        "FSTimeoutError",
        "HTTPClientError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseParserError",
        "ResponseStreamingError",
        "ServiceRequestError",
        "ServiceResponseError",
        "TimeoutError",
    }
)
# Nobody has that name: asking again does not help.
_UNKNOWN_HOST = frozenset({"ClientConnectorDNSError", "gaierror"})
_CREDENTIALS = frozenset(
    {"CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError"}
)


@dataclass(frozen=True)
class Policy:
    """How often a server is asked and how long that may take.

    Attributes
    ----------
    attempts : int
        Requests in all, at least 1.
    seconds : float
        After this time none is begun any more.
    first : float
        Longest first wait in seconds; it doubles from wait to wait. Each wait is drawn evenly
        between 0 and its longest, so that many readers do not come back at once.
    longest : float
        Limit of that doubling. A server that names a time (Retry-After) is given it.
    """

    attempts: int = 10
    seconds: float = 120.0
    first: float = 0.1
    longest: float = 20.0

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> Policy:
        """Made of the mapping that users give as ``storage_options["retry"]``.

        Raises
        ------
        SchemaError
            If it names something else.
        """
        known = [field.name for field in fields(cls)]
        options = dict(options or {})
        if not set(options) <= set(known):
            raise SchemaError(f"storage_options['retry'] may hold {known}, got {sorted(options)}")
        policy = cls(**options)
        if policy.attempts < 1:
            raise SchemaError(f"retry: attempts must be at least 1, got {policy.attempts}")
        return policy

    def wait(self, attempt: int) -> float:
        """Seconds to wait after an attempt, counted from 1."""
        return random.uniform(0.0, min(self.longest, self.first * 2.0 ** (attempt - 1)))


@dataclass(frozen=True)
class _Answer:
    """What an exception says of the server.

    Attributes
    ----------
    status : int or None
        Of HTTP.
    passing : bool
        May be another one the next time.
    after : float or None
        Seconds that the server asks to wait.
    credentials : bool
        There were none to ask with.
    """

    status: int | None
    passing: bool
    after: float | None = None
    credentials: bool = False


async def again(ask: Callable[[], Awaitable[Result]], url: str, policy: Policy) -> Result:
    """Ask a server, and ask again where the trouble may pass.

    Parameters
    ----------
    ask : callable
        Makes one request; may be called several times.
    url : str
        What is asked for, for errors.
    policy : Policy
        How often.

    Returns
    -------
    object
        What the request returned.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If the server says so.
    RemoteError
        If the server refuses, or all attempts failed.
    """
    began = time.monotonic()
    attempt = 0
    while True:
        attempt += 1
        try:
            return await ask()
        except RemoteError:
            raise
        except Exception as error:
            answer = _answer(error)
            wait = policy.wait(attempt)
            if answer.passing:
                wait += answer.after or 0.0
                passed = time.monotonic() - began
                if attempt >= policy.attempts or passed + wait > policy.seconds:
                    raise _given_up(url, attempt, passed, answer, error) from error
            elif _says_absent(error, answer):
                raise FileNotFoundError(f"{url}: no such object") from error
            elif isinstance(error, FileExistsError) or answer.status == 412:
                raise FileExistsError(f"{url}: there is one already") from error
            elif answer.status is not None or answer.credentials or isinstance(error, OSError):
                raise _refused(url, answer, error) from error
            else:
                raise  # a mistake of the caller or of ours
        await asyncio.sleep(wait)


def _says_absent(error: Exception, answer: _Answer) -> bool:
    if answer.status is not None:
        return answer.status in _ABSENT
    return isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError)


def _given_up(
    url: str, attempts: int, passed: float, answer: _Answer, error: Exception
) -> RemoteError:
    asked = "" if not answer.after else f", and it asks to wait {answer.after:.0f} s"
    made = RemoteError(
        f"{url}: {attempts} attempts in {passed:.1f} s failed, the last with "
        f"{_brief(answer, error)}{asked}: try again later, or allow more with "
        "storage_options={'retry': {'attempts': ..., 'seconds': ...}}"
    )
    made.status = answer.status
    return made


def _refused(url: str, answer: _Answer, error: Exception) -> RemoteError:
    advice = ""
    if answer.credentials or answer.status in (401, 403):
        advice = ": check the credentials in storage_options, or give {'anon': True}"
    elif answer.status == 416:
        advice = ": the range is not satisfiable"
    made = RemoteError(f"{url}: the server refuses with {_brief(answer, error)}{advice}")
    made.status = answer.status
    return made


def _brief(answer: _Answer, error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    if answer.status is None:
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"status {answer.status} ({text})" if text not in ("", "None") else str(answer.status)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it was made from, the nearest first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _answer(error: BaseException) -> _Answer:
    every = {cls.__name__ for one in _chain(error) for cls in type(one).__mro__}
    for one in _chain(error):
        if {cls.__name__ for cls in type(one).__mro__} & _BROKEN:
            return _Answer(None, not every & _UNKNOWN_HOST)
        status, headers, code = _response(one)
        if status is not None:
            passing = status in _PASSING or code in _PASSING_CODES
            return _Answer(status, passing, _seconds(headers) if passing else None)
    return _Answer(None, False, credentials=bool(every & _CREDENTIALS))


def _response(error: BaseException) -> tuple[int | None, Mapping[str, Any], str]:
    """Status, headers and code of an answer as the libraries keep them."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        meta = response.get("ResponseMetadata") or {}
        code = str((response.get("Error") or {}).get("Code", ""))
        return _status(meta.get("HTTPStatusCode")), meta.get("HTTPHeaders") or {}, code
    headers = getattr(error, "headers", None) or getattr(response, "headers", None)
    for name in ("status", "status_code", "code"):  # aiohttp, azure-core, gcsfs
        status = _status(getattr(error, name, None))
        if status is not None:
            return status, headers if isinstance(headers, Mapping) else {}, ""
    return None, {}, ""


def _status(value: Any) -> int | None:
    try:
        status = int(value)
    except (TypeError, ValueError):
        return None
    return status if 100 <= status < 600 else None


def _seconds(headers: Mapping[str, Any]) -> float | None:
    """What Retry-After says: seconds or a date."""
    value = next((v for k, v in headers.items() if str(k).lower() == "retry-after"), None)
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(str(value))
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)
