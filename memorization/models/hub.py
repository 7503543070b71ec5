"""Loading models, tokenizers and data sets by path or hub name, with one plain line when that fails."""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from memorization.models.adapter_config import base_of, has_tokenizer, holds_adapter
from memorization.models.diagnosis import diagnosis, gguf
from memorization.shell.cli import UserError, is_out_of_memory

PATIENCE = 2  # seconds in which a hub must answer
AWAY = "it is not in the local cache, and no hub answers; name a directory, or try when one does"
SYSTEM_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE,
}  # fmt: skip
OF_CLIENT = {  # class of what the hub's client raised -> what it means
    "GatedRepoError": "the hub gives it only to whom its owners admit: ask on its page, then set HF_TOKEN",
    "RepositoryNotFoundError": "the hub has none of that name that can be seen; check it, or set HF_TOKEN to see more",
    "DatasetNotFoundError": "the hub has no data set of that name that can be seen; check it, or set HF_TOKEN",
    "LocalEntryNotFoundError": AWAY,
    "OfflineModeIsEnabled": AWAY,
    "HfHubHTTPError": "the hub refuses or fails; try again later, or check HF_TOKEN",
}
OF_TRANSFORMERS = {  # part of what transformers says of a repository of the hub -> what it means
    "Should have a `model_type` key": "it has no config.json that says what model it is; if it holds an adapter "
    "(LoRA), name it by --adapter, or if GGUF files, the model that these are of",
    "Couldn't instantiate the backend tokenizer": "it has no tokenizer; name one that has",
    "does not appear to have a file named": "it has no weights that transformers reads; name a version in safetensors",
    "provide an `offload_folder`": "GPUs and memory do not hold it, and only weights in safetensors can be read from "
    "disk as they are needed; take more of either, or save it in that format",
    "trust_remote_code": "it needs code of its own, which is not run here; name a model that transformers knows",
}


def load(
    loader: Callable[..., Any],
    name: str | Path,
    what: str,
    part: str | None = None,
    option: str | None = None,
    **options: Any,
) -> Any:
    """loader(name, **options), from disk or the hub. Raises UserError naming `what` (as "a tokenizer") and `name`.

    part, option: of `diagnosis`, which says what is wrong with a directory. A path asks no hub; where no hub answers,
    the local cache is read. The libraries' progress bars and warnings stay off.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    name = str(name)
    local = is_path(name)
    if local and not Path(name).is_dir():
        if not Path(name).exists():
            raise UserError(f"{name}: no such directory; check the path")
        is_file = "a file; name the directory that holds it"
        raise UserError(f"{name}: {gguf(Path(name).parent, [Path(name).name]) or is_file}")
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # else a thread asks the hub to convert what is loaded
    offline = local or not _hub_answers()
    try:
        with _offline() if offline else nullcontext():
            return loader(name, **options | ({"local_files_only": True} if offline else {}))
    except Exception as error:  # the libraries raise any, from KeyError to their own
        if isinstance(error, UserError) or is_out_of_memory(error) or getattr(error, "errno", None) in SYSTEM_ERRORS:
            raise
        logging.getLogger(__name__).debug("loading %s", name, exc_info=error)
        cause = diagnosis(name, part, option) if part and local else None
        raise UserError(f"{name}: {cause or f'{what} could not be loaded: {_reason(error, what)}'}") from None


def is_path(name: str | Path) -> bool:
    """Whether a name means a place on this machine: it exists, or is spelled as no hub name is."""
    name = str(name)
    return Path(name).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1


def _reason(error: BaseException, what: str) -> str:
    chain = [error]
    while following := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(following)
    classes = {base.__name__ for each in chain for base in type(each).__mro__}
    for name, meaning in OF_CLIENT.items():
        if name in classes or f"({name})" in str(error):  # datasets passes it on as text
            return meaning
    for text, meaning in OF_TRANSFORMERS.items():
        if text in str(error):
            return meaning
    message = " ".join(str(error).split())[:200] or type(error).__name__
    if "Unrecognized configuration class" in message:
        return f"it is of another kind; name {what}"
    if "UnicodeEncodeError" in classes:
        return "HF_TOKEN holds characters that no token has; set it again"
    if isinstance(error, ImportError):
        return f"a library is missing ({message}); install it, or name another"
    return f"it is damaged or not one ({message}); name a directory that holds one whole"


def load_tokenizer(name: str | Path, option: str | None = None) -> Any:
    """The fast tokenizer at a path or hub name. Raises UserError if it cannot be loaded or has no end-of-text token.

    option: the flag by which another one can be named.
    """
    tokenizer = load_any_tokenizer(name, "a tokenizer", option)
    if not tokenizer.is_fast:
        raise UserError(f"{name}: not a fast tokenizer, which the character positions need; name one that is")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{name}: the tokenizer has no end-of-text token; name one that has")
    return tokenizer


def load_any_tokenizer(name: str | Path, what: str, option: str | None = None) -> Any:
    """The tokenizer at a path or hub name, called `what`; of an adapter without one, that of its base model.

    Raises UserError if there is none that has a vocabulary.
    """
    from transformers import AutoTokenizer

    if holds_adapter(name) and not has_tokenizer(Path(name)):
        name = base_of(Path(name)) or name
    tokenizer = load(AutoTokenizer.from_pretrained, name, what, "tokenizer", option, trust_remote_code=False)
    if len(tokenizer.get_vocab()) - len(tokenizer.get_added_vocab()) < 2:  # transformers made it of a configuration
        cause = diagnosis(name, "tokenizer", option) if Path(name).is_dir() else None
        raise UserError(f"{name}: {cause or f'{what} without its vocabulary; add its files, or name another'}")
    return tokenizer


def directory(name: str | Path) -> Path:
    """The local directory of a model that was loaded from a path or hub name (then its snapshot in the cache).

    Raises UserError if it is neither a directory nor in the cache.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(load(snapshot_download, name, "a model", local_files_only=True, allow_patterns="config.json"))


@contextmanager
def _offline() -> Iterator[None]:
    """Nothing asks the hub during the block, whatever the libraries forget to pass on."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@cache
def _hub_answers() -> bool:
    """Whether the hub answers one request. Where none does, the libraries would retry for half a minute a file."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # of the HTTP client, which differs among versions of the hub's library
        return False
    return True
