"""The connection to an Elasticsearch server: faults in one line, and what passes is waited out."""

import logging
import sys
import time
import warnings
from contextlib import contextmanager

from elastic_transport import ConnectionError, ConnectionTimeout, TlsError, Transport, TransportError
from elasticsearch import ApiError, Elasticsearch, ElasticsearchWarning, UnsupportedProductError
from tqdm import tqdm

from memorization.retrieval.credentials import check_urls, credentials, trust
from memorization.shell.cli import UserError

BUSY = (429, 502, 503, 504)  # HTTP statuses that may pass: too many requests, or a node that is starting
FINAL = ("index_closed_exception", "index_not_found_exception", "security_exception")  # errors that do not
SERVER = "the Elasticsearch server"
TIMEOUT = 60  # seconds that an answer may take before it is asked for again
PATIENCE = 300  # seconds that a server which has answered before may be away or busy
PAUSE = 1  # seconds before the first repetition; doubled each time, to five times as much


class Patience:
    """Waits, longer each time, while something passes, and says what for."""

    def __init__(self):
        self._until, self._pause = time.monotonic() + PATIENCE, PAUSE

    def wait(self, trouble):
        """Say so and wait once; or return False, at once, where PATIENCE is over."""
        if time.monotonic() > self._until:
            return False
        tqdm.write(f"{trouble}; trying again in {self._pause} s", file=sys.stderr)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, 5 * PAUSE)
        return True


class PatientTransport(Transport):
    """Repeats a request while a server that has answered before is away or busy, up to PATIENCE."""

    patient = False  # until the server has answered

    def perform_request(self, method, target, **options):
        patience = Patience()
        while True:
            try:
                response = super().perform_request(method, target, **options)
            except (ConnectionError, ConnectionTimeout):
                if not self.patient or not patience.wait(f"{SERVER} does not answer"):
                    raise
                continue
            status = response.meta.status
            if not passes(status, _error(response.body)):
                self.patient = True
                return response
            if not self.patient or not patience.wait(f"{SERVER} is busy (status {status})"):
                return response


def connect(urls, ca_certs=None, ssl_fingerprint=None, insecure=False):
    """A client of the server at these URLs (its nodes), once it has answered. Raises UserError if it does not.

    Credentials come from the environment: ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD.
    """
    check_urls(urls)
    for name in ("elastic_transport", "elasticsearch", "urllib3"):  # what they warn of is told here, in one line
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore", ElasticsearchWarning)
    client = Elasticsearch(
        urls,
        **credentials(),
        **trust(urls, ca_certs, ssl_fingerprint, insecure),
        request_timeout=TIMEOUT,
        retry_on_timeout=True,
        http_compress=False,
        transport_class=PatientTransport,
    )
    with told(urls[0]):
        client.options(request_timeout=10, max_retries=0).info()
    return client


def passes(status, error):
    """Whether a refusal passes if one waits. error: what the server says of it, as a dict."""
    if error.get("type") == "cluster_block_exception":  # but not while a node is starting
        return "SERVICE_UNAVAILABLE" in error.get("reason", "")
    return status in BUSY and error.get("type") not in FINAL


def refusal(where, status, error):
    """The UserError for what the server refuses: names `where` and the remedy. error: as in passes."""
    kind, reason = error.get("type"), " ".join(str(error.get("reason", "no reason given")).split())[:300]
    if kind == "index_closed_exception":
        return UserError(f"{where}: is closed; open it on the server (POST _open) and run the same command again")
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
def told(where):
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
        raise refusal(where, error.meta.status, _error(error.body)) from None


def _error(body):
    """What the body of an answer says of an error, as a dict; {} where it says nothing of the kind."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"reason": error}
