""""""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

Rows = Sequence[Sequence[int]]

# Prompts are shared where at most this part of the tokens is left to run. Sharing needs a mask and copies of keys and
# values, which cost something too: on two CPU cores a share of 0.82 took 0.86 to 1.02 of the time.
SAVING = 0.8


class Budget:
    """How many tokens a batch may hold, padding included. It shrinks, saying so, where memory runs out, and stays small
    for the next call that is given it."""

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

    prefixes: list[
        int
    ]  # a row of each prompt that is run once for all its responses; empty: none is shared
    batches: list[list[int]]
    run: int  # tokens to run, padding included
    largest: int  # tokens of the largest batch, padding and shared prefixes included


def packs(
    rows: Sequence[int],
    prompts: Rows,
    responses: Rows,
    batch_tokens: int,
    share_prefix: bool | None,
) -> list[Pack]:
    """All `rows` in packs whose batches fit `batch_tokens`; None shares prompts if that leaves `SAVING` of the work."""
    alone = []
    for batch in batches([len(prompts[i]) + len(responses[i]) for i in rows], batch_tokens):
        members = [rows[i] for i in batch]
        size = len(members) * (len(prompts[members[0]]) + len(responses[members[0]]))
        alone.append(
            Pack([], [members], size - len(members), size)
        )  # the last token predicts nothing
    if share_prefix is False:
        return alone
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for i in rows:
        by_prompt.setdefault(tuple(prompts[i]), []).append(i)
    groups, shared = list(by_prompt.values()), []
    # A pack's keys and values are kept while its batches run, so prompts get a part of the budget only. Several prompts
    # in a pack let its batches be of one length each.
    for together in batches([len(prompts[group[0]]) for group in groups], batch_tokens // 4):
        prefixes = [groups[g][0] for g in together]
        members = [i for g in together for i in groups[g]]
        width = len(prompts[prefixes[0]])
        made = [
            [members[i] for i in b]
            for b in batches([width + len(responses[i]) for i in members], batch_tokens)
        ]
        run = [len(batch) * (len(responses[batch[0]]) - 1) for batch in made]
        sizes = [len(batch) * (width + len(responses[batch[0]])) for batch in made]
        shared.append(Pack(prefixes, made, len(prefixes) * width + sum(run), max(sizes)))
    if share_prefix or sum(pack.run for pack in shared) <= SAVING * sum(pack.run for pack in alone):
        return shared
    return alone


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in batches whose padded size, rows × the longest, fits `batch_tokens`.

    Rows are taken longest first, so that a batch that is too large shows at once; a single row may exceed the budget.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch
