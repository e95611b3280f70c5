"""Prompts whose translation failed its check, asked for again: redrafts/<try>/<lang>/, with
`localise.drafts` above 1."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xlnb.common.files import read_jsonl
from xlnb.common.questions import ask_again, unanswered
from xlnb.common.records import Prompt
from xlnb.inputs.localisation import check_drafts
from xlnb.inputs.redrafting import (
    CALLS,
    Failure,
    Record,
    choose,
    distinct,
    draft_request,
    failures,
    redraft,
)
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.translators import Translator, ask_consent, translator_uses

# of a try, in the order in which they are made
FILES = ("drafts.jsonl", "refined.jsonl", "back.jsonl")

ByLang = dict[str, list[Record]]


def redraft_failures(
    run: Run,
    langs: Sequence[str],
    english: Sequence[Prompt],
    translator: Callable[[], Translator],
    *,
    inputs: Sequence[Path],
    uses: Mapping[str, object],
    yes: bool,
    again: bool,
) -> list[Path]:
    """The files of the tries 2 to `localise.drafts`, each a stage a language, made where something
    has failed.

    `inputs`: what the first drafts were made of, and they. Every try reads the ones before it in
    all languages. See `localise` for the rest.
    """
    made: list[Path] = []
    for number in range(2, run.preset.localise.drafts + 1):
        kept, failed = checked(run, langs, english, number - 1)
        before = list(made)
        for lang in langs:
            lost = failures(lang, english, kept, failed)
            if not lost:
                continue
            stage = Stage(
                run,
                f"redrafts/{number}/{lang}",
                inputs=[*inputs, *before],
                uses={**uses, **translator_uses(run), **fields(run.preset, "localise.min_chrf")},
                out=run.drafts(lang, number),
            )
            paths = [stage.out / name for name in FILES]
            made += paths
            if stage.current() and not (again and unanswered(paths)):
                continue
            with stage.working():
                if again:
                    ask_again(paths)
                _make(run, stage, lang, lost, translator(), yes)
    return made


def tell_tries(run: Run) -> None:
    """Say what may come after the first drafts, where calls cost money."""
    config = run.preset.localise
    if config.drafts > 1 and config.by.startswith("endpoint:"):
        print(
            f"{config.by}: after these, at most {CALLS} calls a try, up to {config.drafts - 1} "
            "tries, for each prompt that fails its check",
            flush=True,
        )


def _make(
    run: Run, stage: Stage, lang: str, lost: Sequence[Failure], translate: Translator, yes: bool
) -> None:
    requests = [draft_request(one, lang, "literal") for one in lost]
    ask_consent(run, requests, CALLS, [stage.out / name for name in FILES], yes=yes)

    def asked(tasks: list[Prompt], what: str) -> list[Record]:
        source = lang if what == "back" else "en"
        return translate(tasks, stage.out / f"{what}.jsonl", f"{stage.name} {what}", source)

    redraft(lost, lang, asked)


def checked(
    run: Run, langs: Sequence[str], english: Sequence[Prompt], tries: int
) -> tuple[ByLang, ByLang]:
    """By language what passed the check within so many tries, in the order of the prompts, and
    what did not."""
    min_chrf = run.preset.localise.min_chrf
    kept: ByLang = {}
    failed: ByLang = {}
    for lang in langs:
        drafts = read_jsonl(run.drafts(lang) / "drafts.jsonl")
        back = read_jsonl(run.drafts(lang) / "back.jsonl")
        kept[lang], failed[lang] = check_drafts(english, drafts, back, min_chrf=min_chrf)
    for number in range(2, tries + 1):
        lost = {lang: failures(lang, english, kept, failed) for lang in langs if failed[lang]}
        for lang, some in lost.items():
            folder = run.drafts(lang, number)
            drafts, refined, back = (read_jsonl(folder / name) for name in FILES)
            candidates = distinct(some, [*refined, *drafts])
            found, failed[lang] = choose(some, candidates, back, min_chrf=min_chrf)
            kept[lang] = _in_order([*kept[lang], *found], english)
    return kept, failed


def _in_order(records: Sequence[Record], english: Sequence[Prompt]) -> list[Record]:
    by_id = {record["instruction_id"]: record for record in records}
    return [by_id[prompt.prompt_id] for prompt in english if prompt.prompt_id in by_id]
