"""An OpenAI-compatible chat endpoint: what many calls will cost, each made again where that helps,
and no question asked twice.

Its address and key come from the environment and stay there: no text and no file holds the key.
"""

import os
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

import httpx
from tqdm import tqdm

from xlnb.common.errors import InputError
from xlnb.common.journal import Journal

# calls for one answer, the first included
TRIES = 8

# seconds between two of them
LONGEST_WAIT = 60.0

# statuses that another try can mend, beside 5xx
PASSING = {408, 409, 425, 429}

# characters of an endpoint's text that are kept or shown
SHOWN = 200

# questions without an answer, one after the other, at which one that had an answer is asked again
IN_A_ROW = 10

Answer = TypeVar("Answer")

Record = dict[str, Any]


class NoAnswer(Exception):
    """A model could not be asked one question. The message says why; `outage`: others would have
    failed too."""

    def __init__(self, why: str, *, outage: bool):
        super().__init__(why)
        self.outage = outage


class _Passing(Exception):
    """A call failed in a way that may pass. `wait`: seconds that the endpoint asks for."""

    def __init__(self, why: str, wait: float = 0.0):
        super().__init__(why)
        self.wait = wait


class ChatEndpoint:
    """Model `model` at OPENAI_BASE_URL, with OPENAI_API_KEY where it is set, for at most `workers`
    calls at once.

    Retries what can pass (429, 5xx, timeouts, dropped connections, bodies that cannot be read) with
    exponential waits from `wait` seconds, or as long as Retry-After says. Raises InputError where
    the variables are missing or the endpoint turns the key, the model or the address away.
    """

    def __init__(self, model: str, *, workers: int, wait: float = 1.0, timeout: float = 60.0):
        base = os.environ.get("OPENAI_BASE_URL", "").strip()
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not re.match(r"https?://[^/]", base):
            raise InputError(
                "set OPENAI_BASE_URL to the endpoint's address, such as https://api.openai.com/v1"
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise InputError("OPENAI_API_KEY holds characters that no key has; set it again")
        if workers < 1:
            raise InputError(
                f"endpoint:{model}: {workers} calls at once (workers), expected at least 1"
            )
        self.name = f"endpoint:{model}"
        self.model = model
        self.workers = workers
        self._wait = wait
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._url = f"{base.rstrip('/')}/chat/completions"
        self._client = httpx.Client(
            headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=workers)
        )

    def post(self, prompt: str, **options: Any) -> httpx.Response:
        """One call, at temperature 0; httpx.RequestError where it fails. A lone surrogate is sent
        as ?."""
        messages = [{"role": "user", "content": prompt.encode("utf-8", "replace").decode()}]
        return self._client.post(
            self._url, json={"model": self.model, "messages": messages, "temperature": 0} | options
        )

    def ask(self, call: Callable[[], httpx.Response], read: Callable[[Any], Answer]) -> Answer:
        """What `read` makes of the JSON body of `call`, which is made again where that can help.

        `read` raises KeyError, IndexError, TypeError or ValueError for a body that is no chat
        completion. Raises NoAnswer where this question has none.
        """
        for attempt in range(TRIES):
            try:
                return self._once(call, read)
            except _Passing as passing:
                reason = str(passing)
                if attempt < TRIES - 1:
                    longer = self._wait * 2**attempt * random.uniform(0.5, 1)
                    time.sleep(min(LONGEST_WAIT, max(passing.wait, longer)))
        raise NoAnswer(f"{reason}, {TRIES} times", outage=True)

    def _once(self, call: Callable[[], httpx.Response], read: Callable[[Any], Answer]) -> Answer:
        """As `ask`, with one call. Raises _Passing where another may go better."""
        try:
            response = call()
        except httpx.RequestError as error:
            raise _Passing(type(error).__name__) from None
        status = response.status_code
        if status in PASSING or status >= 500:
            raise _Passing(f"HTTP {status}", _seconds(response.headers.get("Retry-After", "")))
        if status in (401, 403, 404):
            raise InputError(
                f"{self.name}: HTTP {status}, {self.hidden(response.text)}; check "
                "OPENAI_BASE_URL, OPENAI_API_KEY and the model's name"
            )
        if status != 200:
            raise NoAnswer(f"HTTP {status}, {self.hidden(response.text)}", outage=False)
        try:
            return read(response.json())
        except (ValueError, KeyError, IndexError, TypeError):
            raise _Passing("the body is no chat completion") from None

    def hidden(self, text: str) -> str:
        """The beginning of a text of the endpoint's on one line, without the key, should it hold
        it."""
        text = text.replace(self._key, "[key]") if self._key else text
        return " ".join(text.split())[:SHOWN]


def consent(name: str, calls: int, tokens: float, *, price: float, paid: bool, yes: bool) -> None:
    """Print what these calls will take; where they cost money, go on only with consent.

    `price`: US dollars a million of these tokens, 0 where not known. Raises InputError where
    consent is refused, or cannot be asked for and `yes` is not given.
    """
    if not calls:
        return
    cost = f", about ${tokens / 1e6 * price:.2f}" if price else ""
    print(f"{name}: {calls} calls, about {tokens:,.0f} tokens{cost}", flush=True)
    if yes or not paid:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"nothing was asked of {name} yet; --yes (yes=True in Python) begins without a question"
        )
    if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("stopped before the first call; nothing was spent")


def ask_all(
    ask: Callable[[Record], Record],
    records: Sequence[Record],
    journal: Journal,
    *,
    name: str,
    workers: int,
    label: str,
) -> None:
    """`ask` about every record that the journal does not hold yet; each comes back merged with what
    `ask` returned.

    A record has a prompt_id, takes a call, and is in the journal as soon as it is answered. One
    that `ask` raises NoAnswer for is put there as it was, with the reason in "error", after all
    others, so that a run that is killed or stopped asks about it again. What met an outage is asked
    about once more at the end, and if in vain is put there only where the outage is that question's
    own: after `IN_A_ROW` outages one after the other, and before and after the second round, a
    question that `name` has answered is asked again. Raises InputError where that meets an outage
    too, or where none was answered yet; finished work is kept.
    """
    asking = _Asking(ask, records, journal, name)
    todo = asking.unasked()
    with (
        ThreadPool(workers) as pool,
        tqdm(total=len(records), initial=len(records) - len(todo), desc=label) as bar,
    ):
        asking.round(pool, todo, bar, last=False)
        asking.round(pool, asking.outages(), bar, last=True)
    journal.append(asking.failures())


class _Asking:
    """Where `ask_all` stands."""

    def __init__(
        self,
        ask: Callable[[Record], Record],
        records: Sequence[Record],
        journal: Journal,
        name: str,
    ):
        self._ask = ask
        self._records = records
        self._journal = journal
        self._name = name
        # Questions that have an answer, of this run or of one before: one of them is asked again to
        # find out whether the endpoint is there.
        ids = {record["prompt_id"] for record in records}
        self._answered = [
            record
            for record in journal.records
            if record["prompt_id"] in ids and "error" not in record
        ]
        # By prompt_id; the last to fail comes last.
        self._failed: dict[str, NoAnswer] = {}
        # Questions without an answer since the last answer.
        self._in_a_row = 0

    def unasked(self) -> list[Record]:
        """What the journal does not hold yet."""
        done = self._journal.done
        return [record for record in self._records if record["prompt_id"] not in done]

    def outages(self) -> list[Record]:
        """What met an outage."""
        return [
            record for record in self._without_answer() if self._failed[record["prompt_id"]].outage
        ]

    def failures(self) -> list[Record]:
        """What has no answer, each with the reason."""
        return [
            record | {"error": str(self._failed[record["prompt_id"]])}
            for record in self._without_answer()
        ]

    def round(self, pool: ThreadPool, todo: list[Record], bar: tqdm, *, last: bool) -> None:
        """Ask about these records. `last`: what meets an outage now is not asked about again."""
        self._in_a_row = 0
        for record, answer in pool.imap_unordered(self._attempt, todo):
            self._failed.pop(record["prompt_id"], None)
            if isinstance(answer, NoAnswer):
                self._note_failure(record, answer)
            else:
                self._journal.append([record | answer])
                self._answered.append(record)
                self._in_a_row = 0
            again = isinstance(answer, NoAnswer) and answer.outage and not last
            bar.update(not again)
        if self.outages() or (self._failed and not self._answered):
            self._stop_if_out_of_reach()

    def _attempt(self, record: Record) -> tuple[Record, Record | NoAnswer]:
        try:
            return record, self._ask(record)
        except NoAnswer as error:
            return record, error

    def _without_answer(self) -> list[Record]:
        return [record for record in self._records if record["prompt_id"] in self._failed]

    def _note_failure(self, record: Record, error: NoAnswer) -> None:
        self._failed[record["prompt_id"]] = error
        # Before any answer, whatever fails may fail for all.
        counts = error.outage or not self._answered
        self._in_a_row = self._in_a_row + 1 if counts else 0
        if self._in_a_row == IN_A_ROW:
            self._stop_if_out_of_reach()
            self._in_a_row = 0

    def _stop_if_out_of_reach(self) -> None:
        """Raises InputError where a question that had an answer has none now, for an outage."""
        if self._answered:
            _, answer = self._attempt(self._answered[-1])
            if not (isinstance(answer, NoAnswer) and answer.outage):
                return
        last = list(self._failed.values())[-1]
        raise InputError(
            f"{self._name}: {len(self._failed)} questions without an answer, the last: {last}; "
            "what was answered is kept, the same command goes on"
        )


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 for its other form, a date, and for nonsense."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()) else 0.0
