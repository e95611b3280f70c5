"""From a source of pairs or a file of responses to their scores."""

from functools import partial
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.records import Score, each_record
from xlnb.inputs.given_responses import GivenPair, by_prompt, read_pairs, read_responses
from xlnb.models.chat import load_tokenizer, response_ids
from xlnb.runs.layout import Run
from xlnb.stages.given import check_english, check_names, english_prompts, score_given


def score_pairs(
    run: Run, model: str, source: str, langs: str, english: str, names: str, out: Path
) -> tuple[list[GivenPair], dict[str, dict[str, Any]], list[Score]]:
    """The usable pairs of a source, the report of what was dropped, and the scores of their
    responses, which `out` holds too: to one prompt chosen, rejected, chosen, rejected …"""
    _check_out(out)
    wanted = check_names(names)
    tokenizer = load_tokenizer(run.base(model))
    pairs, report = read_pairs(source, langs, partial(response_ids, tokenizer))
    given = by_prompt(pairs)
    asked = english_prompts(given, english)
    check_english(given, asked, wanted)
    return pairs, report, score_given(run, model, given, asked, wanted, tokenizer, out)


def score_responses(
    run: Run, model: str, path: Path, english: str, names: str, out: Path
) -> list[Score]:
    """The scores of a file's responses, which `out` holds too."""
    _check_out(out)
    wanted = check_names(names)
    given = read_responses(path)
    asked = english_prompts(given, english)
    check_english(given, asked, wanted)
    tokenizer = load_tokenizer(run.base(model))
    return score_given(run, model, given, asked, wanted, tokenizer, out)


def _check_out(out: Path) -> None:
    """Raises InputError for a folder, and for a file that is there and holds something else than
    scores, as that with the responses does."""
    if out.is_dir():
        raise InputError(f"{out}: a folder; name a file for the scores")
    if not out.is_file():
        return
    try:
        next(each_record(out, Score), None)
    except InputError:
        raise InputError(
            f"{out}: there already, and it does not hold scores; name another file for them"
        ) from None
