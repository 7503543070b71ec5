"""An OpenAI-compatible server of completions: requests, repeated where they failed, within a budget."""

import os
import random
import re
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec

from memorization.shell.cli import UserError

KEY = "OPENAI_API_KEY"  # of the environment
TRIES = 6  # times that a request is sent before the run stops
PAUSE, LONGEST_PAUSE = 1.0, 120.0  # seconds: the first between two tries, which doubles, and the longest
TIMEOUT = 600.0  # seconds without a byte of an answer
AGAIN = (408, 409, 425, 429)  # statuses that a later try may not have, beside those from 500 on
SHOWN = 300  # characters of a server's message
GOES_ON = "the same command goes on where this one stopped"


class BadAnswer(Exception):
    """An answer that is none to the question; another try may give one. The message says what is wrong with it."""


class Refused(Exception):
    """The server does not take a request, and would not take it again. status: of HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}{f' ({reason})' if reason else ''}")
        self.status = status


class PromptToken(msgspec.Struct):
    """What vLLM says of a token in its place in a prompt."""

    logprob: float


class ScoredTokens(msgspec.Struct):
    """The log probabilities of what is said, with OpenAI's `echo` behind those of the prompt's tokens, the first
    without. tokens: their texts, where they are given."""

    token_logprobs: list[float | None]
    tokens: list[str] | None = None


class Choice(msgspec.Struct):
    """token_ids, prompt_token_ids, prompt_logprobs: of vLLM."""

    text: str = ""
    finish_reason: str | None = None
    logprobs: ScoredTokens | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[int, PromptToken] | None] | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Answer(msgspec.Struct):
    """What a server answers to one prompt. id: of the answer."""

    choices: list[Choice]
    id: str | None = None
    usage: Usage | None = None


class Question(NamedTuple):
    """A request. tokens: the most that it takes, those of the prompt included. read: what of the answer is kept,
    JSON-ready; raises BadAnswer."""

    body: dict[str, Any]
    tokens: int
    read: Callable[[Answer], Any]


class Budget:
    """The most requests and tokens of a run; None: no limit. All that is sent counts, also what is sent again."""

    def __init__(self, requests: int | None = None, tokens: int | None = None) -> None:
        self._limits = {"--max-requests": requests, "--max-tokens": tokens}
        self._spent = dict.fromkeys(self._limits, 0)
        self._lock = threading.Lock()

    def take(self, tokens: int) -> None:
        """Count a request that takes so many tokens at most. Raises UserError where that is too much."""
        with self._lock:
            for flag, more in (("--max-requests", 1), ("--max-tokens", tokens)):
                limit = self._limits[flag]
                if limit is not None and self._spent[flag] + more > limit:
                    raise UserError(f"{flag} {limit}: is reached; with a larger one, {GOES_ON}")
            self._spent["--max-requests"] += 1
            self._spent["--max-tokens"] += tokens

    def give_back(self, tokens: int) -> None:
        """Count so many tokens less: they were not needed."""
        with self._lock:
            self._spent["--max-tokens"] -= tokens


class Journal:
    """Answers on disk, by the key of what was asked, until their rows are written. The file is there while there are
    any; a kill loses those alone that had not come."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self.answers: dict[str, Any] = {}
        if path.exists():
            whole = 0
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    key, self.answers[key] = msgspec.json.decode(line)
                    if self.answers[key] is None:
                        del self.answers[key]
                    whole += len(line)
            os.truncate(path, whole)

    def add(self, key: str, answer: Any) -> None:
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode([key, answer]) + b"\n")
            self.answers[key] = answer

    def drop(self, key: str) -> None:
        """Forget an answer."""
        self.add(key, None)
        del self.answers[key]

    def clear(self) -> None:
        """Forget all answers."""
        self.answers.clear()
        self._path.unlink(missing_ok=True)


class Endpoint:
    """A server at an address, as http://localhost:8000/v1, asked so many questions at a time.

    own_ids: whether an answer with the id of another is none to its question: it came by mistake.

    The key of the server is that of OPENAI_API_KEY in the environment, if there is one. Raises UserError for an address
    that is none, or that holds a secret, which would be written down with it.
    """

    def __init__(self, url: str, at_a_time: int, budget: Budget | None = None) -> None:
        self.url, self._at_a_time, self._budget = _base(url), at_a_time, budget or Budget()
        key = os.environ.get(KEY)
        if key and not re.fullmatch("[!-~]+", key):
            raise UserError(f"{KEY}: holds a blank, a line end or a character that no key has; set it to the key alone")
        self._key = key
        self._seen, self._lock = set[str](), threading.Lock()  # ids of answers
        self._repeated = set[str]()  # those of answers that came to a second request too
        self.own_ids = False
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=httpx.Timeout(TIMEOUT, connect=min(TIMEOUT, 30)),
            limits=httpx.Limits(max_connections=at_a_time),
        )

    def models(self) -> list[dict[str, Any]] | None:
        """What the server says of each of its models; None if it says nothing. Raises UserError if it can't be
        reached."""
        try:
            response = self._client.get(f"{self.url}/models")
        except httpx.RequestError as error:
            raise UserError(f"{self.url}: {_cause(error)}; check the address, or start the server") from None
        if response.status_code in (401, 403):
            raise self._no_access(response.status_code)
        if response.status_code in (404, 405, 501):
            return None
        if not response.is_success:
            raise UserError(
                f"{self.url}/models: answers with status {response.status_code}; check the address, or wait until the "
                "server is ready"
            )
        try:
            return msgspec.convert(response.json()["data"], list[dict[str, Any]])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.url}/models: the answer is no list of models, as OpenAI-compatible servers give; check the "
                "address, which often ends with /v1"
            ) from None

    def ask(self, question: Question, stop: threading.Event | None = None) -> Any:
        """What is kept of the answer. Raises Refused, and UserError when no try succeeds or the budget is reached.

        stop: ends the pause between two tries.
        """
        problem, pause = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                doubled = PAUSE * 2 ** (attempt - 1) * random.uniform(0.7, 1.3)  # so that not all come at once
                if (stop or threading.Event()).wait(min(max(doubled, pause), LONGEST_PAUSE)):
                    break
            pause = 0.0
            self._budget.take(question.tokens)
            try:
                response = self._client.post(f"{self.url}/completions", json=question.body)
            except httpx.RequestError as error:
                problem = _cause(error)
                if "CERTIFICATE" in problem:
                    raise UserError(
                        f"{self.url}: {problem}; name the authority of its certificate by SSL_CERT_FILE"
                    ) from None
                continue
            status = response.status_code
            if not response.is_success:
                self._budget.give_back(question.tokens)
            if status in AGAIN or status >= 500:
                problem, pause = f"answers with status {status}", _retry_after(response)
                continue
            if status in (401, 403):
                raise self._no_access(status)
            if not response.is_success:
                raise Refused(status, self._message(response))
            try:
                answer = msgspec.json.decode(response.content, type=Answer)
                usage = answer.usage or Usage()
                used = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
                self._budget.give_back(question.tokens - used if used else 0)
                self._check(answer)
                return question.read(answer)
            except (msgspec.DecodeError, UnicodeDecodeError):
                problem = "its answer is no JSON of completions"
            except BadAnswer as error:
                problem = f"its answer {error}"
        raise UserError(f"{self.url}: {problem}, {TRIES} times; once the server answers, {GOES_ON}")

    def _check(self, answer: Answer) -> None:
        if len(answer.choices) != 1:
            raise BadAnswer(f"has {len(answer.choices)} choices, where one was asked for")
        with self._lock:
            if self.own_ids and answer.id in self._seen:
                self._repeated.add(answer.id)
                raise BadAnswer(f"is one that it gave before ({answer.id})")
            if answer.id:
                self._seen.add(answer.id)

    def forget_ids(self) -> None:
        """Take no answer for one that was given before."""
        self._seen.clear()

    def ask_all(self, questions: Mapping[str, Question], journal: Journal) -> None:
        """Ask the questions, by key, whose answers are not in the journal, and write the answers there as they come.

        Of an answer that comes twice nobody knows to which of two questions it is: both are asked again. Raises as
        `ask` does, when the requests that had been sent are answered.
        """
        while open_questions := {key: one for key, one in questions.items() if key not in journal.answers}:
            ids, errors = self._ask_open(open_questions, journal)
            for key in [key for key, id in ids.items() if id in self._repeated]:
                journal.drop(key)
            if errors:
                raise errors[0]

    def _ask_open(
        self, questions: Mapping[str, Question], journal: Journal
    ) -> tuple[dict[str, str | None], list[Exception]]:
        """(ids of the answers by key, errors)."""
        todo: SimpleQueue[tuple[str, Question]] = SimpleQueue()
        for pair in questions.items():
            todo.put(pair)
        ids, errors, stop = dict[str, str | None](), list[Exception](), threading.Event()

        def work() -> None:
            try:
                while not stop.is_set():
                    key, question = todo.get_nowait()
                    value = self.ask(question._replace(read=partial(_with_id, question.read)), stop)
                    ids[key] = value[0]
                    journal.add(key, value[1])
            except Empty:
                pass
            except Exception as error:
                errors.append(error)
                stop.set()

        # daemons: a signal does not wait for answers
        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self._at_a_time, todo.qsize()))]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            stop.set()
        return ids, errors

    def _no_access(self, status: int) -> UserError:
        what = f"does not take the key of {KEY}" if self._key else f"wants a key; set {KEY}"
        return UserError(f"{self.url}: {what} (status {status})")

    def _message(self, response: httpx.Response) -> str:
        """What a server says of a request that it refuses, without the key."""
        try:
            content = response.json()
            error = content.get("error", content)
            text = error.get("message", "") if isinstance(error, dict) else error
        except (ValueError, AttributeError):
            text = ""
        text = " ".join(str(text).split())
        return (text.replace(self._key, "***") if self._key else text)[:SHOWN]


def _with_id(read: Callable[[Answer], Any], answer: Answer) -> tuple[str | None, Any]:
    return answer.id, read(answer)


def _base(url: str) -> str:
    """The address below which `completions` lies. Raises UserError for one with a secret or of another kind."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None:
        raise UserError("--engine: is no address of a server; name one such as http://localhost:8000/v1")
    if "@" in parts.netloc or "%40" in parts.netloc:
        raise UserError(f"--engine: its address holds a user name or password; give a key by {KEY} instead")
    if parts.query or parts.fragment:
        raise UserError(f"--engine: its address has a part behind ? or #; leave it out, and give a key by {KEY}")
    path = parts.path.rstrip("/")
    if path.endswith("/chat/completions"):
        raise UserError(f"{url}: is for chats, which cannot be continued; name an endpoint with /completions")
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix('/completions') or '/v1'}"


def _cause(error: httpx.RequestError) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"cannot be reached ({text[:SHOWN]})"


def _retry_after(response: httpx.Response) -> float:
    """The seconds that a server asks to wait, 0 if it does not."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
        return max(0.0, (then - parsedate_to_datetime(response.headers["date"])).total_seconds())
    except (ValueError, KeyError, TypeError):
        return 0.0
