"""Settings of the service: where it listens, how much it takes, and who may use it."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass

from gavamoe.errors import InputError

API_KEY_VARIABLE = "GAVAMOE_API_KEY"


@dataclass(frozen=True)
class ServiceSettings:
    """How the service runs.

    Args:
        host: address to listen on.
        port: port to listen on; 0 is any free port.
        queue: pairs that may wait for the model; a request that does not fit is refused with 429.
        max_wait: longest expected wait for the model, in seconds; a request that would wait longer is refused with 429.
        batch: pairs generated together.
        store: URL of the store of explanations; None keeps nothing.
        page: whether `/` serves the page.
        api_key: key that every request must carry; None allows loopback only.
        max_body: largest request body, in bytes.
        max_pairs: most pairs in one request.
        default_deadline_ms: deadline of requests that state none, in milliseconds.
        verify: whether the checksums of a run's large files are checked when it is loaded.
        shutdown_seconds: how long a shutdown waits for the requests that were accepted.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    queue: int = 256
    max_wait: float = 10.0
    batch: int = 32
    store: str | None = None
    page: bool = True
    api_key: str | None = None
    max_body: int = 1 << 20
    max_pairs: int = 64
    default_deadline_ms: int = 60_000
    verify: bool = False
    shutdown_seconds: int = 60

    @property
    def pairs_per_request(self) -> int:
        """Most pairs in one request: a request must fit into the queue."""
        return min(self.max_pairs, self.queue)

    def check(self) -> None:
        """Refuse to listen beyond loopback without a key.

        Raises:
            InputError: The host is not loopback, and there is no key.
        """
        if self.api_key is None and not is_loopback(self.host):
            raise InputError(
                f"--host {self.host} is reachable from other machines: set the environment variable "
                f"{API_KEY_VARIABLE} to a secret of your choice, or use --host 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Return whether a host, without its port, names this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def key_from_environment() -> str | None:
    """Return the API key of the environment; None if it is unset.

    Raises:
        InputError: The key is set but blank, or has characters that a header cannot carry.
    """
    key = os.environ.get(API_KEY_VARIABLE)
    if key is None:
        return None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"{API_KEY_VARIABLE} must be printable ASCII without spaces; set another one, or unset it")
    return key
