"""Loading models, tokenizers and data sets by path or hub name, with one plain line when that fails."""

import logging
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from safetensors import SafetensorError

from memorization.cli import UserError


def load(loader, name, what, **options):
    """loader(name, **options), from disk or the hub. Raises UserError naming `what` (as "a tokenizer") and `name`.

    A hub that does not even resolve is not waited for. The libraries' own progress bars stay off.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if not _hub_resolves():
        options["local_files_only"] = True
    try:
        return loader(str(name), **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # the last two: a damaged or unfit file
        logging.getLogger(__name__).debug("loading %s", name, exc_info=error)
        raise UserError(
            f"{name}: {what} could not be loaded; name a directory that holds one, "
            "or a hub name that can be reached from here or is in the local cache"
        ) from None


def load_tokenizer(name):
    """The fast tokenizer at a path or hub name. Raises UserError if it cannot be loaded or has no end-of-text token."""
    from transformers import AutoTokenizer

    tokenizer = load(AutoTokenizer.from_pretrained, name, "a tokenizer")
    if not tokenizer.is_fast:
        raise UserError(f"{name}: not a fast tokenizer, which the character positions need; name one that is")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{name}: the tokenizer has no end-of-text token; name one that has")
    return tokenizer


def directory(name):
    """The local directory of a model that was loaded from a path or hub name (then its snapshot in the cache), a Path.

    Raises UserError if it is neither a directory nor in the cache.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(load(snapshot_download, name, "a model", local_files_only=True, allow_patterns="config.json"))


def _hub_resolves():
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # the proxy resolves names for us
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True
