"""Loading models, tokenizers and data sets by path or hub name, with one plain line when that fails."""

import errno
import logging
import os
import socket
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from memorization.models.diagnosis import diagnosis, gguf
from memorization.shell.cli import UserError, is_out_of_memory

PATIENCE = 2  # seconds in which a hub must take a connection
AWAY = "it is not in the local cache, and no hub answers; name a directory, or try when one does"
SYSTEMS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE}
NO_ENTRY = {  # class of what the hub's client raised -> what it means
    "GatedRepoError": "the hub gives it only to whom its owners admit: ask on its page, then set HF_TOKEN",
    "RepositoryNotFoundError": "the hub has none of that name that can be seen; check it, or set HF_TOKEN to see more",
    "DatasetNotFoundError": "the hub has no data set of that name that can be seen; check it, or set HF_TOKEN",
    "LocalEntryNotFoundError": AWAY,
    "OfflineModeIsEnabled": AWAY,
    "HfHubHTTPError": "the hub refuses or fails; try again later, or check HF_TOKEN",
}


ABSENT = {  # what transformers says of a repository of the hub -> what it means
    "Should have a `model_type` key": "it has no config.json that says what model it is; if it holds an adapter (LoRA) "
    "or GGUF files, name the model that these are of",
    "Couldn't instantiate the backend tokenizer": "it has no tokenizer; name one that has",
    "does not appear to have a file named": "it has no weights that transformers reads; name a version in safetensors",
}


def load(loader, name, what, part=None, option=None, **options):
    """loader(name, **options), from disk or the hub. Raises UserError naming `what` (as "a tokenizer") and `name`.

    part, option: of `diagnosis`, which says what is wrong with a directory. Neither a path nor a hub that takes no
    connection is waited for. The libraries' own bars and notes stay off.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    name = str(name)
    local = is_path(name)
    if local and not Path(name).is_dir():
        if not Path(name).exists():
            raise UserError(f"{name}: no such directory; check the path")
        cause = gguf(Path(name).parent, [Path(name).name]) or "a file; name the directory that holds it"
        raise UserError(f"{name}: {cause}")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # else a thread asks the hub to convert what is loaded
    offline = local or not _hub_answers()
    try:
        with _offline() if offline else nullcontext():
            return loader(name, **options | ({"local_files_only": True} if offline else {}))
    except Exception as error:  # the libraries raise any, from KeyError to their own
        if isinstance(error, UserError) or is_out_of_memory(error) or getattr(error, "errno", None) in SYSTEMS:
            raise
        logging.getLogger(__name__).debug("loading %s", name, exc_info=error)
        cause = diagnosis(name, part, option) if part and local else None
        raise UserError(f"{name}: {cause or f'{what} could not be loaded: {_why(error, what)}'}") from None


def is_path(name):
    """Whether a name means a place on this machine: it is there, or is spelled as no hub name is."""
    name = str(name)
    return Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1


def _why(error, what):
    chain = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    for kind, meaning in NO_ENTRY.items():
        names = (base.__name__ for each in chain for base in type(each).__mro__)
        if kind in names or f"({kind})" in str(error):  # datasets passes it on as text
            return meaning
    first = " ".join(str(error).split())[:200] or type(error).__name__
    for text, meaning in ABSENT.items():
        if text in str(error):
            return meaning
    if "trust_remote_code" in str(error):
        return "it needs code of its own, which is not run here; name a model that transformers knows by itself"
    if "Unrecognized configuration class" in first:
        return f"it is of another kind; name {what}"
    if any(isinstance(each, UnicodeEncodeError) for each in chain):
        return "HF_TOKEN holds characters that no token has; set it again"
    if isinstance(error, ImportError):
        return f"a library is missing ({first}); install it, or name another"
    return f"it is damaged or not one ({first}); name a directory that holds one whole"


def load_tokenizer(name, option=None):
    """The fast tokenizer at a path or hub name. Raises UserError if it cannot be loaded or has no end-of-text token.

    option: the flag by which another one can be named.
    """
    tokenizer = load_any_tokenizer(name, "a tokenizer", option)
    if not tokenizer.is_fast:
        raise UserError(f"{name}: not a fast tokenizer, which the character positions need; name one that is")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{name}: the tokenizer has no end-of-text token; name one that has")
    return tokenizer


@contextmanager
def _offline():
    """Nothing asks the hub in the time of the block, whatever the libraries forget to pass on."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def load_any_tokenizer(name, what, option=None):
    """The tokenizer at a path or hub name, called `what`. Raises UserError if there is none that has a vocabulary."""
    from transformers import AutoTokenizer

    tokenizer = load(AutoTokenizer.from_pretrained, name, what, "tokenizer", option, trust_remote_code=False)
    if len(tokenizer.get_vocab()) - len(tokenizer.get_added_vocab()) < 2:  # made up, from a configuration alone
        cause = diagnosis(name, "tokenizer", option) if Path(name).is_dir() else None
        raise UserError(f"{name}: {cause or f'{what} without its vocabulary; add its files, or name another'}")
    return tokenizer


def directory(name):
    """The local directory of a model that was loaded from a path or hub name (then its snapshot in the cache), a Path.

    Raises UserError if it is neither a directory nor in the cache.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(load(snapshot_download, name, "a model", local_files_only=True, allow_patterns="config.json"))


@lru_cache
def _hub_answers():
    """Whether the hub, or the proxy on the way to it, takes a connection within PATIENCE."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    if not proxy_bypass(hub.hostname) and (proxy := getproxies().get(hub.scheme) or getproxies().get("all")):
        hub = urlsplit(proxy)
    taken = []

    def connect():  # a name server can keep us waiting much longer than a timeout says
        with suppress(OSError):
            port = hub.port or {"http": 80}.get(hub.scheme, 443)
            socket.create_connection((hub.hostname, port), PATIENCE).close()
            taken.append(True)

    thread = Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(taken)
