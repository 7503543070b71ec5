"""What a connection to a server needs from the user: URLs, credentials, trust in its certificate.

No message shows a value that may hold a secret.
"""

import base64
import os
import re
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorization.shell.cli import UserError

URL = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\]):(\d{1,5})(/[\w.~/-]*)?", re.ASCII | re.IGNORECASE)


def check_urls(urls: Sequence[str]) -> None:
    """Raise UserError unless each URL names a scheme, host and port, at most a path more, and another node.

    All must have the same scheme.
    """
    nodes = set()
    for url in urls:
        match = URL.fullmatch(url)
        if not match and re.search("@|%40", url):
            raise UserError(
                "--elastic-url: holds a user name or password; give them as ELASTIC_USER and ELASTIC_PASSWORD instead"
            )
        if not match or not 0 < int(match[3]) < 1 << 16:
            raise UserError(
                "--elastic-url: each must name scheme, host and port and nothing else, as http://localhost:9200 does "
                "(this one is not shown, as it may hold a secret)"
            )
        nodes.add((match[1].lower(), match[2].lower(), int(match[3]), (match[4] or "").rstrip("/")))
    if len({scheme for scheme, *_ in nodes}) > 1:
        raise UserError("--elastic-url: some are http and some https; name nodes of one kind")
    if len(nodes) < len(urls):
        raise UserError("--elastic-url: a node is named twice; name each once")


def credentials() -> dict[str, Any]:
    """The options of a client that send ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD, of the environment."""
    key, user, password = (os.environ.get(f"ELASTIC_{name}") for name in ("API_KEY", "USER", "PASSWORD"))
    if key and not re.fullmatch("[!-~]+", key):
        raise UserError(
            "ELASTIC_API_KEY: holds a blank, a line end or a character that no key has; set it to the key alone, as "
            "the server gave it"
        )
    if key:
        return {"api_key": key}
    if bool(user) != bool(password):
        raise UserError("ELASTIC_USER and ELASTIC_PASSWORD: one is set without the other; set both, or neither")
    if not user:
        return {}
    if ":" in user:
        raise UserError("ELASTIC_USER: holds a colon, which no user name can have; correct it")
    for name in ("ELASTIC_USER", "ELASTIC_PASSWORD"):
        if re.search("[\0-\x1f\x7f]", os.environ[name]):
            raise UserError(f"{name}: holds a line end or another control character; set it without")
    # as the bytes that the environment has: UTF-8, if that is how they were typed
    return {"basic_auth": base64.b64encode(os.fsencode(f"{user}:{password}")).decode()}


def trust(urls: Sequence[str], ca_certs: Path | None, ssl_fingerprint: str | None, insecure: bool) -> dict[str, Any]:
    """The options of a client that say which certificate it accepts."""
    if not urls[0].lower().startswith("https:"):
        return {}
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
