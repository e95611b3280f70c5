"""Which rows are computed together: by length, within a budget of tokens, and each prompt run once
for all its responses where that saves work."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

# A row's token ids.
Rows = Sequence[Sequence[int]]

# Prompts are shared where at most this part of the tokens is left to run. Sharing needs a mask and
# copies of keys and values, which cost something too: on two CPU cores a share of 0.82 took 0.86 to
# 1.02 of the time.
SAVING = 0.8


class Budget:
    """How many tokens a batch may hold, padding included. It shrinks, saying so, where memory runs
    out, and stays small for the next call that is given it."""

    def __init__(self, tokens: int):
        self.tokens = tokens

    def shrink(self, failed: int) -> None:
        """To half of `failed`, the tokens of a batch for which memory did not suffice."""
        self.tokens = min(self.tokens, failed) // 2
        print(
            f"out of memory with {failed} tokens in a batch; going on with at most {self.tokens}",
            flush=True,
        )


class Pack(NamedTuple):
    """Rows that are computed together."""

    # a row of each prompt that is run once for all its responses; empty: none is shared
    prefixes: list[int]
    batches: list[list[int]]
    # tokens to run, padding included
    run: int
    # tokens of the largest batch, padding and shared prefixes included
    largest: int


def packs(
    rows: Sequence[int],
    prompts: Rows,
    responses: Rows,
    batch_tokens: int,
    share_prefix: bool | None,
) -> list[Pack]:
    """All `rows` in packs whose batches fit `batch_tokens`.

    `share_prefix`: whether prompts are shared; None shares them if that leaves `SAVING` of the
    work.
    """
    alone = _alone(rows, prompts, responses, batch_tokens)
    if share_prefix is False:
        return alone
    shared = _shared(rows, prompts, responses, batch_tokens)
    left = sum(pack.run for pack in shared)
    if share_prefix or left <= SAVING * sum(pack.run for pack in alone):
        return shared
    return alone


def _alone(rows: Sequence[int], prompts: Rows, responses: Rows, batch_tokens: int) -> list[Pack]:
    """A pack a batch, in which each row has its own prompt."""
    made = []
    lengths = [len(prompts[i]) + len(responses[i]) for i in rows]
    for batch in batches(lengths, batch_tokens):
        members = [rows[i] for i in batch]
        size = len(batch) * lengths[batch[0]]
        # The last token of a row predicts nothing.
        made.append(Pack([], [members], size - len(batch), size))
    return made


def _shared(rows: Sequence[int], prompts: Rows, responses: Rows, batch_tokens: int) -> list[Pack]:
    """Packs of prompts with all their responses.

    A pack's keys and values are kept while its batches run, so prompts get a part of the budget
    only. Several prompts in a pack let its batches be of one length each.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        by_prompt.setdefault(tuple(prompts[i]), []).append(i)
    groups = list(by_prompt.values())
    made = []
    for together in batches([len(prompts[group[0]]) for group in groups], batch_tokens // 4):
        prefixes = [groups[g][0] for g in together]
        members = [i for g in together for i in groups[g]]
        width = len(prompts[prefixes[0]])
        pack = []
        run = len(prefixes) * width
        largest = 0
        for batch in batches([width + len(responses[i]) for i in members], batch_tokens):
            longest = len(responses[members[batch[0]]])
            pack.append([members[i] for i in batch])
            run += len(batch) * (longest - 1)
            largest = max(largest, len(batch) * (width + longest))
        made.append(Pack(prefixes, pack, run, largest))
    return made


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches whose padded size, rows × the longest, fits `batch_tokens`.

    Rows are taken longest first, so that a batch that is too large shows at once; a single row may
    exceed the budget.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
