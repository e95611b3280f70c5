"""Calls over HTTP that come to an end, whatever a server sends: httpx' own limit is for the silence
between two bytes."""

import os
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from xlnb.common.errors import InputError

# An answer that has not come whole after so many times the seconds that a call may be silent, or
# that holds more bytes, has no end.
PATIENCE = 2
MOST_BYTES = 2**25

# Headers that are read.
READ = ("Content-Type", "Retry-After")

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class NoAnswer(Exception):
    """A model could not be asked one question. The message says why; `outage`: others would have
    failed too."""

    def __init__(self, why: str, *, outage: bool):
        super().__init__(why)
        self.outage = outage


class Caller:
    """Posts to an address, from any number of threads. A call may be silent for `timeout` seconds.
    Raises InputError where proxy settings cannot be used."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout: float):
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._longest = PATIENCE * timeout
        self._own = threading.local()
        self._own.client = self.client()

    def client(self) -> httpx.Client:
        try:
            return httpx.Client(headers=self._headers, timeout=self._timeout)
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise proxy_error(error) from None

    def post(self, body: Mapping[str, Any]) -> httpx.Response:
        """The whole response. Raises httpx.RequestError where the call fails, NoAnswer where the
        response does not end."""
        client = self._client_of_thread()
        # Closing it ends this call, also one that waits for the end of the headers.
        end = threading.Timer(self._longest, client.close)
        end.daemon = True
        end.start()
        try:
            return _whole(client, self._url, body)
        except (httpx.RequestError, _Endless) as error:
            if client.is_closed or isinstance(error, _Endless):
                raise NoAnswer(
                    f"the answer did not end within {self._longest:g} seconds and "
                    f"{MOST_BYTES // 2**20} MiB",
                    outage=True,
                ) from None
            raise
        finally:
            end.cancel()

    def _client_of_thread(self) -> httpx.Client:
        """This thread's own, so that what ends one call ends no other."""
        client: httpx.Client | None = getattr(self._own, "client", None)
        if client is None or client.is_closed:
            client = self._own.client = self.client()
        return client


class _Endless(Exception):
    """More came than an answer holds."""


def _whole(client: httpx.Client, url: str, wanted: Mapping[str, Any]) -> httpx.Response:
    body = bytearray()
    with client.stream("POST", url, json=wanted) as response:
        for data in response.iter_bytes():
            body += data
            if len(body) > MOST_BYTES:
                raise _Endless
    # Those that are read; the body is no longer compressed.
    kept = {name: response.headers[name] for name in READ if name in response.headers}
    return httpx.Response(response.status_code, headers=kept, content=bytes(body))


def proxy_error(error: Exception) -> InputError:
    """The error of proxy settings that cannot be used, which names the variable and not its value,
    since that may hold a password."""
    found = {name: os.environ.get(name) or os.environ.get(name.lower()) or "" for name in PROXIES}
    names = [name for name, value in found.items() if value and not _is_proxy(value)]
    return InputError(
        f"the proxy settings cannot be used ({type(error).__name__}): "
        f"{', '.join(names) or 'NO_PROXY'}; write http://HOST:PORT there (in NO_PROXY: names and "
        "addresses, no IPv6 ranges), or unset it"
    )


def _is_proxy(value: str) -> bool:
    try:
        address = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host)
