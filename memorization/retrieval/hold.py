"""One loader at a time writes into an index of a server: the one whose alias the index has.

An index has one hidden alias, <name>.loader-<token>, from the moment it is made. A loader takes its place by putting an
alias of its own in the place of the one it found, which the server does in one step and for one of several loaders
only. It writes through that alias alone: once another has taken its place, the index was removed or made anew, its
writes fail, and never make an index by themselves. No search goes through the alias, and it stays when a load has
finished, for the next --recreate. So an account that loads needs its rights on <name>.loader-* as well as on <name>.

Until the load has finished the mark names the loader. A loader that stops for an error, or Ctrl-C, takes its name out.
Where another finds a name, that one's place may be taken if it has ended:

- on the same machine (the same boot, the same numbering of processes) when no process has its number and start;
- elsewhere when its beat, which a living loader changes every BEAT seconds or so, has been seen WATCH times, POLL
  seconds apart, without a change. Nobody's clock counts, nor does time in which the server is away.
"""

import datetime
import os
import socket
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import msgspec
from elasticsearch import ApiError, BadRequestError, NotFoundError
from elasticsearch.exceptions import TransportError
from tqdm import tqdm

from memorization.retrieval.documents import Loader
from memorization.retrieval.requests import HOLDER
from memorization.shell.cli import UserError

BEAT = 10
WATCH, POLL = 120, 1


class Hold:
    """A loader's place at the index `name`: taken with `make` or `take`, kept with `beat`, left with `leave`.

    alias: to write through. where: the index's name for messages. Every method raises NotFoundError when another has
    taken our place.
    """

    def __init__(self, client, name, where):
        self._client, self._name, self._where, self._mark = client, name, where, None
        self._loader = Loader(
            token=uuid.uuid4().hex[:16],
            host=socket.gethostname(),
            machine=_machine(),
            process=os.getpid(),
            started=_started(os.getpid()),
            since=datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
        )
        self.alias = _alias(name, self._loader)

    def make(self, mark, mappings, settings):
        """Make the index, with our alias and this Mark. False where it is there: another was quicker."""
        self._mark, self._shown = mark, time.monotonic()
        try:
            self._client.indices.create(
                index=self._name,
                aliases={self.alias: {"is_hidden": True}},
                mappings=mappings | {"_meta": self._signed()},
                settings=settings,
            )
        except BadRequestError as error:  # ours, even so, if the answer to a first request was lost
            if error.error != "resource_already_exists_exception":
                raise
        return self._is_ours()

    def take(self, mark, aliases):
        """Take the place of who had these aliases of the index, with this Mark. False where another was quicker."""
        self._mark = mark
        actions = [{"remove": {"index": self._name, "alias": alias, "must_exist": True}} for alias in aliases]
        actions.append({"add": {"index": self._name, "alias": self.alias, "is_hidden": True}})
        with suppress(NotFoundError):  # as it is for our own request, too, if the answer to a first one was lost
            self._client.indices.update_aliases(actions=actions)
        if not self._is_ours():
            return False
        self._sign()
        return True

    def beat(self):
        """Show, every BEAT seconds, that we live."""
        if time.monotonic() > self._shown + BEAT:
            self._loader.beat += 1
            self._sign()

    def leave(self):
        """Take our name out of the mark, if the place is ours and the server there."""
        self._loader, self._client.transport.patient = None, False
        self._client = self._client.options(request_timeout=5, max_retries=0)
        if self._mark:
            with suppress(ApiError, TransportError):
                self._sign()

    def finish(self, mark):
        """Write the Mark of the finished index."""
        self._mark, self._loader = mark, None
        self._sign()

    def lost(self, found):
        """The UserError for a loader whose place another has taken. found: what there is now, Found or None."""
        if not found:
            return UserError(f"{self._where}: was removed while it was loaded; run the same command again")
        loader = _loader(found.mark)
        by = f"by {_who(loader)}" if loader else "by a load that has ended"
        return UserError(f"{self._where}: was taken over {by}; this load has stopped and changes nothing in it")

    def check_ended(self, found, look):
        """Raise UserError if the loader that an index names is alive; if it is not, say so, and return.

        found: what the server says of the index, requests.Found. look: what asks for that anew.
        """
        loader = _loader(found.mark)
        if not loader:
            return
        alive = UserError(f"{self._where}: is being loaded by {_who(loader)}; wait until that ends")
        if loader.machine and loader.machine == self._loader.machine and _alias(self._name, loader) in found.holders:
            if _runs(loader):
                raise alive
            tqdm.write(f"{_who(loader)} has ended in its midst; going on", file=sys.stderr)
            return
        tqdm.write(f"{_who(loader)} is loading it; watching for {WATCH * POLL} s whether it lives", file=sys.stderr)
        for _ in range(WATCH):
            time.sleep(POLL)
            if look() != found:
                raise alive
        tqdm.write("it gave no sign of life; taking its place", file=sys.stderr)

    def _is_ours(self):
        answer = self._client.options(ignore_status=404).indices.get_alias(index=self._name)
        return self.alias in answer.get(self._name, {}).get("aliases", {})

    def _sign(self):
        self._client.indices.put_mapping(index=self.alias, meta=self._signed())
        self._shown = time.monotonic()

    def _signed(self):
        return msgspec.to_builtins(msgspec.structs.replace(self._mark, loader=self._loader, uuid=None))


def _alias(name, loader):
    return f"{name}{HOLDER}{loader.token}"


def _loader(mark):
    """The Loader that a raw mark names, or None."""
    try:
        return msgspec.convert(mark.get("loader"), Loader)
    except msgspec.ValidationError:
        return None


def _who(loader):
    return f"process {loader.process} of {loader.host} (since {loader.since})"


def _machine():
    """What tells this boot of this machine, and its numbering of processes, from all others; "" if nothing does."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(process):
    """When a process of this machine began, in clock ticks; None if that is not to be seen, as once it has ended."""
    with suppress(OSError, IndexError):
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    return None


def _runs(loader):
    """Whether a loader of this machine is running."""
    try:
        os.kill(loader.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another person's
        pass
    return loader.started == _started(loader.process)
