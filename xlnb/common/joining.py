"""Samples and what they were scored, which lie in files of their own: joined as they are read."""

from collections.abc import Iterable, Iterator

from xlnb.common.errors import InputError
from xlnb.common.records import Sample, Score

# prompt_id and language
Key = tuple[str, str]


def join_scores(
    samples: Iterable[Sample], scores: Iterable[Score]
) -> Iterator[tuple[Sample, Score]]:
    """Samples with their scores, by prompt_id and language, in the order of the samples. Of both no
    more are held than their orders differ.

    Raises InputError naming a prompt_id and language without exactly one record of each kind.
    """
    ahead = iter(scores)
    waiting: dict[Key, Score] = {}
    joined: set[Key] = set()

    def read_on() -> bool:
        score = next(ahead, None)
        if score is None:
            return False
        key = (score.prompt_id, score.lang)
        if key in waiting or key in joined:
            raise _not_joined(key, 1, 2)
        waiting[key] = score
        return True

    for sample in samples:
        key = (sample.prompt_id, sample.lang)
        if key in joined:
            raise _not_joined(key, 2, 1)
        while key not in waiting:
            if not read_on():
                raise _not_joined(key, 1, 0)
        joined.add(key)
        yield sample, waiting.pop(key)
    while read_on():
        continue
    for key in waiting:
        raise _not_joined(key, 0, 1)


def _not_joined(key: Key, samples: int, scores: int) -> InputError:
    prompt_id, lang = key
    return InputError(
        f"prompt {prompt_id} ({lang}) has {samples} sample and {scores} score records, expected "
        "one of each; score again"
    )
