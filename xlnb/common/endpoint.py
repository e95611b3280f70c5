"""An OpenAI-compatible chat endpoint: what many calls will cost, each tried again where that helps,
none asked twice.

Base URL and key come from the environment, and stay there.
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

# questions without any answer, one after the other, at which it is found out whether others have
# one
IN_A_ROW = 10

Answer = TypeVar("Answer")

Record = dict[str, Any]


class NoAnswer(Exception):
    """A model could not be asked one question. The message says why; `outage`: others would have
    failed too."""

    def __init__(self, why: str, *, outage: bool):
        super().__init__(why)
        self.outage = outage


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
        self.name, self.model, self.workers, self._wait = f"endpoint:{model}", model, workers, wait
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
        reason = ""
        for attempt in range(TRIES):
            # seconds that the endpoint asks to wait
            least = 0.0
            try:
                response = call()
            except httpx.RequestError as error:
                reason = type(error).__name__
            else:
                if response.status_code == 200:
                    try:
                        return read(response.json())
                    except (ValueError, KeyError, IndexError, TypeError):
                        reason = "the body is no chat completion"
                elif response.status_code in PASSING or response.status_code >= 500:
                    reason = f"HTTP {response.status_code}"
                    least = _seconds(response.headers.get("Retry-After", ""))
                elif response.status_code in (401, 403, 404):
                    raise InputError(
                        f"{self.name}: HTTP {response.status_code}, {self.hidden(response.text)};"
                        " check OPENAI_BASE_URL, OPENAI_API_KEY and the model's name"
                    )
                else:
                    raise NoAnswer(
                        f"HTTP {response.status_code}, {self.hidden(response.text)}", outage=False
                    )
            if attempt < TRIES - 1:
                time.sleep(
                    min(LONGEST_WAIT, max(least, self._wait * 2**attempt * random.uniform(0.5, 1)))
                )
        raise NoAnswer(f"{reason}, {TRIES} times", outage=True)

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
    ids, done = {record["prompt_id"] for record in records}, journal.done
    answered = [
        record for record in journal.records if record["prompt_id"] in ids and "error" not in record
    ]
    todo = [record for record in records if record["prompt_id"] not in done]
    failed: dict[str, NoAnswer] = {}

    def asked(record: Record) -> tuple[Record, Record | NoAnswer]:
        try:
            return record, ask(record)
        except NoAnswer as error:
            return record, error

    def stop_if_out_of_reach() -> None:
        again = asked(answered[-1])[1] if answered else None
        if again is None or (isinstance(again, NoAnswer) and again.outage):
            last = list(failed.values())[-1]
            raise InputError(
                f"{name}: {len(failed)} questions without an answer, the last: {last}; what was"
                " answered is kept, the same command goes on"
            )

    with (
        ThreadPool(workers) as pool,
        tqdm(total=len(records), initial=len(records) - len(todo), desc=label) as bar,
    ):
        for turn in range(2):
            in_a_row = 0
            for record, answer in pool.imap_unordered(asked, todo):
                failed.pop(record["prompt_id"], None)
                outage = isinstance(answer, NoAnswer) and answer.outage
                if isinstance(answer, NoAnswer):
                    failed[record["prompt_id"]] = answer
                    in_a_row = (
                        in_a_row + 1 if outage or not answered else 0
                    )  # before any answer, all may be wrong
                    if in_a_row == IN_A_ROW:
                        stop_if_out_of_reach()
                        in_a_row = 0
                else:
                    journal.append([record | answer])
                    answered.append(record)
                    in_a_row = 0
                bar.update(turn or not outage)
            todo = [
                record
                for record in todo
                if (error := failed.get(record["prompt_id"])) and error.outage
            ]
            if todo or (failed and not answered):
                stop_if_out_of_reach()
    journal.append(
        [r | {"error": str(failed[r["prompt_id"]])} for r in records if r["prompt_id"] in failed]
    )


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 for its other form, a date, and for nonsense."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d+)?", retry_after.strip()) else 0.0
