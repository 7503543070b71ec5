"""The connection to an Elasticsearch server: credentials, certificates, faults in one line, restarts waited out."""

import logging
import os
import re
import ssl
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

from elastic_transport import ConnectionError, ConnectionTimeout, TlsError, Transport, TransportError
from elasticsearch import (
    ApiError,
    AuthenticationException,
    AuthorizationException,
    Elasticsearch,
    UnsupportedProductError,
)
from elasticsearch.helpers import BulkIndexError
from tqdm import tqdm

from memorization.cli import UserError

BUSY = (429, 502, 503, 504)  # HTTP statuses that pass: too many requests, or a node that is starting
PATIENCE = 300  # seconds that a server which has answered before may be away

logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)  # what it warns of is told here, in one line


class PatientTransport(Transport):
    """Repeats a request while a server that has answered before is away or busy, up to PATIENCE; says that it waits."""

    answered = False

    def perform_request(self, method, target, **options):
        until, pause = time.monotonic() + PATIENCE, 1
        while True:
            try:
                response = super().perform_request(method, target, **options)
                if response.meta.status not in BUSY:
                    self.answered = True
                    return response
                trouble = f"is busy (status {response.meta.status})"
                give_up = response
            except (ConnectionError, ConnectionTimeout) as error:
                trouble, give_up = "does not answer", error
            if not self.answered or time.monotonic() > until:
                if isinstance(give_up, Exception):
                    raise give_up
                return give_up
            tqdm.write(f"the Elasticsearch server {trouble}; trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, 5)


def connect(urls, ca_certs=None, ssl_fingerprint=None, insecure=False):
    """A client of the server at these URLs (its nodes), once it has answered. Raises UserError if it does not.

    Credentials come from the environment: ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD.
    """
    for url in urls:
        _check_url(url)
    options = {}
    if any(url.startswith("https:") for url in urls):
        options = _trust(ca_certs, ssl_fingerprint, insecure, urls)
    client = Elasticsearch(
        urls,
        **_credentials(),
        **options,
        request_timeout=60,
        retry_on_timeout=True,
        http_compress=False,
        transport_class=PatientTransport,
    )
    with told(urls[0]):
        client.options(request_timeout=10, max_retries=0).info()
    return client


def _check_url(url):
    if "@" in url:  # not shown: it may hold a password
        raise UserError(
            "--elastic-url: holds a user name or password; give them as ELASTIC_USER and ELASTIC_PASSWORD instead"
        )
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"--elastic-url {url}: must name scheme, host and port, as http://localhost:9200 does")


def _credentials():
    key, user, password = (os.environ.get(f"ELASTIC_{name}") for name in ("API_KEY", "USER", "PASSWORD"))
    if key:
        return {"api_key": key}
    if bool(user) != bool(password):
        raise UserError("ELASTIC_USER and ELASTIC_PASSWORD: one is set without the other; set both, or neither")
    return {"basic_auth": (user, password)} if user else {}


def _trust(ca_certs, ssl_fingerprint, insecure, urls):
    if insecure:
        print(
            f"WARNING: --insecure: the certificate of {' '.join(urls)} is NOT checked; anyone on the way can read and "
            "change what is sent, credentials included",
            file=sys.stderr,
        )
        return {"verify_certs": False, "ssl_show_warn": False}
    if ssl_fingerprint:
        if not re.fullmatch("[0-9a-fA-F]{64}", ssl_fingerprint.replace(":", "")):
            raise UserError("--ssl-fingerprint: must be a SHA-256 fingerprint, 64 hexadecimal digits")
        return {"ssl_assert_fingerprint": ssl_fingerprint}
    if ca_certs:
        try:
            ssl.create_default_context(cafile=ca_certs)
        except (OSError, ssl.SSLError) as error:
            raise UserError(
                f"--ca-certs {ca_certs}: {error.strerror or 'no certificate in it'}; name the PEM file of the server's "
                "authority"
            ) from None
        return {"ca_certs": str(ca_certs)}
    return {}


@contextmanager
def told(where):
    """Turn what the server or the way to it refuses into a UserError that names `where` and the remedy."""
    try:
        yield
    except TlsError as error:
        raise UserError(
            f"{where}: its certificate is not trusted ({_reason(error)}); name its authority with --ca-certs, or its "
            "--ssl-fingerprint"
        ) from None
    except TransportError as error:
        raise UserError(f"{where}: no answer ({_reason(error)}); start the server or correct --elastic-url") from None
    except AuthenticationException:
        raise UserError(
            f"{where}: the server does not accept the credentials; set ELASTIC_API_KEY, or ELASTIC_USER and "
            "ELASTIC_PASSWORD"
        ) from None
    except AuthorizationException as error:
        raise UserError(f"{where}: not allowed ({_reason(error)}); use an account that may do this") from None
    except UnsupportedProductError:
        raise UserError(f"{where}: is no Elasticsearch server; correct --elastic-url") from None
    except ApiError as error:
        raise UserError(
            f"{where}: the server answered {error.meta.status} ({_reason(error)}); see the server's log"
        ) from None
    except BulkIndexError as error:
        item = next(iter(error.errors[0].values()))
        raise UserError(
            f"{where}: the server refused document {item['_id']!r} ({item['error']['reason']}); see the server's log"
        ) from None


def _reason(error):
    if isinstance(error, ApiError) and isinstance(error.body, dict) and isinstance(error.body.get("error"), dict):
        return error.body["error"].get("reason", error.message)
    return str(error.message)[:200]
