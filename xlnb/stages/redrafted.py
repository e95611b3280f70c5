"""Prompts whose translation failed its check, asked for again: redrafts/<try>/<lang>/, with
`localise.drafts` above 1."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from xlnb.common.files import read_jsonl
from xlnb.common.questions import ask_again, unanswered
from xlnb.common.records import Prompt
from xlnb.inputs.redrafting import (
    CALLS,
    ByLang,
    Failure,
    Record,
    check_tries,
    distinct,
    draft_request,
    failures,
    redraft,
    words_fields,
)
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.translators import Translator, ask_consent, translator_uses

# of a try, in the order in which they are made
FILES = ("drafts.jsonl", "refined.jsonl", "back.jsonl")


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
    uses = {**uses, "min_chrf": run.preset.localise.min_chrf, **words_fields()}
    for number in range(2, run.preset.localise.drafts + 1):
        kept, failed = checked(run, langs, english, number - 1)[-1]
        before = list(made)
        for lang in langs:
            lost = failures(lang, english, kept, failed)
            if not lost:
                continue
            stage = Stage(
                run,
                f"redrafts/{number}/{lang}",
                inputs=[*inputs, *before],
                uses={**uses, **translator_uses(run, lang)},
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
        way = (lang, "en") if what == "back" else ("en", lang)
        return translate(tasks, stage.out / f"{what}.jsonl", f"{stage.name} {what}", *way)

    redraft(lost, lang, asked)


def checked(
    run: Run, langs: Sequence[str], english: Sequence[Prompt], tries: int
) -> list[tuple[ByLang, ByLang]]:
    """`check_tries` of the run's files."""

    def first(lang: str) -> tuple[list[Record], list[Record]]:
        folder = run.drafts(lang)
        return read_jsonl(folder / "drafts.jsonl"), read_jsonl(folder / "back.jsonl")

    def later(number: int, lang: str, lost: Sequence[Failure]) -> tuple[list[Record], list[Record]]:
        folder = run.drafts(lang, number)
        drafts, refined, back = (read_jsonl(folder / name) for name in FILES)
        return distinct(lost, [*refined, *drafts]), back

    min_chrf = run.preset.localise.min_chrf
    return check_tries(langs, english, first, later, tries=tries, min_chrf=min_chrf)
