"""The connection to an Elasticsearch server: trouble that passes is waited out, any other becomes an error in one line.

Trouble that passes: a server that has answered before is away, busy or not ready, as after a restart.
"""

import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elastic_transport import (
    ConnectionError,
    ConnectionTimeout,
    TlsError,
    Transport,
    TransportApiResponse,
    TransportError,
)
from elasticsearch import ApiError, Elasticsearch, ElasticsearchWarning, UnsupportedProductError
from tqdm import tqdm

from memorization.retrieval.credentials import check_urls, credentials, trust
from memorization.shell.cli import UserError

BUSY = (429, 502, 503, 504)  # HTTP statuses that may pass: too many requests, or a node that is starting
FINAL = ("index_closed_exception", "index_not_found_exception", "security_exception")  # errors that do not
TIMEOUT = 60  # seconds that an answer may take before it is asked for again
PATIENCE = 300  # seconds for which trouble is waited out
PAUSE, LONGEST_PAUSE = 1, 5  # seconds before the first repetition; doubled each time, up to the latter


class PatientTransport(Transport):
    """Repeats a request while the trouble passes, up to PATIENCE."""

    patient = False  # until the server has answered

    def perform_request(self, method: str, target: str, **options: Any) -> TransportApiResponse:
        until, pause = time.monotonic() + PATIENCE, PAUSE
        while True:
            try:
                response = super().perform_request(method, target, **options)
                answers = [(response.meta.status, error_of(response.body)), *failures(response.body)]
                status = next((status for status, error in answers if _passes(status, error)), None)
                self.patient = self.patient or not status
                if not status or not self.patient or time.monotonic() > until:
                    return response
                trouble = f"is busy or not ready (status {status})"
            except (ConnectionError, ConnectionTimeout):
                if not self.patient or time.monotonic() > until:
                    raise
                trouble = "does not answer"
            tqdm.write(f"the Elasticsearch server {trouble}; trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE * PAUSE)


def connect(
    urls: Sequence[str], ca_certs: Path | None = None, ssl_fingerprint: str | None = None, insecure: bool = False
) -> Elasticsearch:
    """A client of the server at these URLs (its nodes), once it has answered. Raises UserError if it does not.

    Credentials come from the environment: ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD.
    """
    check_urls(urls)
    for name in ("elastic_transport", "elasticsearch", "urllib3"):  # what they warn of is an error here, in one line
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore", ElasticsearchWarning)
    client = Elasticsearch(
        list(urls),
        **credentials(),
        **trust(urls, ca_certs, ssl_fingerprint, insecure),
        request_timeout=TIMEOUT,
        retry_on_timeout=True,
        http_compress=False,
        transport_class=PatientTransport,
    )
    with errors_in_one_line(urls[0]):
        client.options(request_timeout=10, max_retries=0).info()
    return client


def failures(body: Any) -> list[tuple[int, dict]]:
    """Of the answer to several requests in one, the status and the error of each that failed."""
    items = [item for key in ("responses", "docs") for item in body.get(key, ())] if isinstance(body, dict) else []
    items += [answer for item in body.get("items", ()) for answer in item.values()] if isinstance(body, dict) else []
    return [(item.get("status", 503), item["error"]) for item in items if "error" in item]


def _passes(status: int, error: dict) -> bool:
    """Whether a refusal passes if one waits. error: as of error_of."""
    if error.get("type") == "cluster_block_exception":  # passes only while a node is starting
        return "SERVICE_UNAVAILABLE" in error.get("reason", "")
    return status in BUSY and error.get("type") not in FINAL


def error_of(body: Any) -> dict:
    """The error that the body of an answer describes; {} if it describes none."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"reason": error}


def refusal(where: str, status: int, error: dict) -> UserError:
    """The UserError for what the server refuses: names `where` and the remedy. error: as of error_of."""
    kind, reason = error.get("type"), " ".join(str(error.get("reason", "no reason given")).split())[:300]
    if kind == "index_closed_exception":
        return UserError(f"{where}: is closed; open it on the server (POST _open) and run the same command again")
    if kind == "index_not_found_exception":
        return UserError(f"{where}: was removed or replaced while in use; run the same command again")
    if kind == "cluster_block_exception":
        return UserError(
            f"{where}: is blocked ({reason}); free disk space on the server, or take the block from the index's "
            "settings, and run the same command again"
        )
    if status == 401:
        return UserError(
            f"{where}: the server does not accept the credentials; set ELASTIC_API_KEY, or ELASTIC_USER and "
            "ELASTIC_PASSWORD"
        )
    if status == 403:
        return UserError(f"{where}: not allowed ({reason}); use an account that may do this")
    if status in BUSY:
        return UserError(f"{where}: the server is busy (status {status}: {reason}); run the same command again later")
    return UserError(f"{where}: the server answered {status} ({reason}); see the server's log")


@contextmanager
def errors_in_one_line(where: str) -> Iterator[None]:
    """Turn what the server or the way to it refuses into a UserError that names `where` and the remedy."""
    try:
        yield
    except TlsError as error:
        raise UserError(
            f"{where}: its certificate is not trusted ({error.message[:200]}); name its authority with --ca-certs, or "
            "its --ssl-fingerprint"
        ) from None
    except TransportError as error:
        raise UserError(
            f"{where}: no answer ({str(error.message)[:200]}); start the server or correct --elastic-url"
        ) from None
    except UnsupportedProductError:
        raise UserError(f"{where}: is no Elasticsearch server; correct --elastic-url") from None
    except ApiError as error:
        raise refusal(where, error.meta.status, error_of(error.body)) from None
