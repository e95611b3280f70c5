""""""

from functools import partial
from pathlib import Path
from typing import Any

from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.journal import Journal
from xlnb.common.language_id import wrong_language
from xlnb.common.languages import split_langs
from xlnb.inputs.translation import find_translations
from xlnb.models.batches import Budget
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.prompts import scorer_prompt
from xlnb.rewards import implicit_reward, score_responses
from xlnb.runs.layout import Run
from xlnb.runs.stage import Stage
from xlnb.stages.keys import adapter_files, model_fields
from xlnb.stages.loading import policy_and_reference
from xlnb.stages.reading import no_iteration_0, prompt_files, read_prompts, sample_files
from xlnb.stages.sharing import in_chunks


def score_chunk(
    run: Run,
    model: Any,
    ref_model: Any,
    tokenizer: Any,
    policy: str,
    scorer: str,
    english: dict[str, str],
    budget: Budget,
    records: list[dict],
) -> list[dict]:
    config = run.preset.scoring
    prompt_rows: list[list[int]] = []
    response_rows: list[list[int]] = []
    rows: list[list[int | None]] = []  # of each record's responses, None for one that is not scored
    for record in records:
        if record["prompt_id"] not in english:
            raise InputError(
                f"id {record['prompt_id']} ({record['lang']}) has no English prompt; the cross-lingual reward needs one"
            )
        text = scorer_prompt(scorer, record["lang"], record["prompt"], english[record["prompt_id"]])
        ids = prompt_ids(tokenizer, text)
        scored: list[list[int] | None] = [response["token_ids"] for response in record["responses"]]
        if "translations" in record:
            scored = [
                None if t is None else response_ids(tokenizer, text, t)
                for t in record["translations"]
            ]
        rows.append([])
        for response in scored:
            rows[-1].append(None if response is None else len(response_rows))
            if response is not None:
                prompt_rows.append(ids)
                response_rows.append(response)
    try:
        sides = score_responses(
            model,
            policy,
            "sft",
            prompt_rows,
            response_rows,
            batch_tokens=budget,
            ref_model=ref_model,
        )
    except InputError as error:
        raise InputError(
            f"{records[0]['lang']}, scoring ids {records[0]['prompt_id']} and after: {error}"
        ) from None
    names = ("policy_logps", "ref_logps")
    columns: dict[str, list] = {
        name: [values.sum().item() for values in side]
        for name, side in zip(names, sides, strict=True)
    }
    columns["reward"] = implicit_reward(columns["policy_logps"], columns["ref_logps"], config.beta)
    columns["n_tokens"] = [len(response) for response in response_rows]
    if config.keep_tokens:
        for name, side in zip(names, sides, strict=True):
            columns[name.replace("_logps", "_token_logps")] = [values.tolist() for values in side]
    return [
        {name: record[name] for name in ("prompt_id", "lang", "split")}
        | {
            name: [None if row is None else values[row] for row in places]
            for name, values in columns.items()
        }
        | {"n_chars": [len(response["text"]) for response in record["responses"]]}
        | {name: record[name] for name in ("translation_failure",) if name in record}
        for record, places in zip(records, rows, strict=True)
    ]


def score(run: Run, iteration: int) -> Path:
    """Implicit rewards β (log π^{t−1} − log π_I) of the samples: icr<t>/scores/<lang>.jsonl.

    The first scorer of the preset scores everything and makes the pairs. Any other scores the held-out `reward`
    prompts only, into scores/<scorer>/<lang>.jsonl, to be compared with the truth. What R_t could not have translated
    has no reward (null) and its `translation_failure` says why. `scoring.keep_tokens` adds `policy_token_logps` and
    `ref_token_logps`, nats, a list a response.
    """
    no_iteration_0(iteration, "score")
    folder, policy = run.folder(iteration), run.models[iteration]
    samples = sample_files(folder, "scores")
    config = run.preset.scoring
    scorers = split_langs(config.scorers)
    translations = {
        path.stem: folder / "translations" / path.name
        for path in samples
        if "translated" in scorers and path.stem != "en"
    }
    kept = (
        {"keep_tokens": True} if config.keep_tokens else {}
    )  # without: as before there was such a field
    stage = Stage(
        run,
        f"{folder.name}/scores",
        inputs=[*samples, *translations.values(), *prompt_files(run), *adapter_files(run, policy)],
        uses={
            "scoring": {"beta": config.beta, "scorers": config.scorers} | kept,
            **model_fields(run),
        },
        out=folder / "scores",
    )
    if stage.current():
        return stage.out
    english = {record["prompt_id"]: record["instruction"] for record in read_prompts(run)["en"]}
    with stage.working():
        models = policy_and_reference(run, policy)
        budget = Budget(config.batch_tokens)
        for position, scorer in enumerate(scorers):
            for path in samples:
                records = scored_by(run, scorer, read_jsonl(path))
                if scorer == "translated" and path.stem in translations:
                    records = with_translations(records, translations[path.stem])
                out = (stage.out if position == 0 else stage.out / scorer) / path.name
                make = partial(score_chunk, run, *models, policy, scorer, english, budget)
                in_chunks(
                    records, Journal(out), make, f"{stage.name} {scorer} {path.stem}", models[:2]
                )
    return stage.out


def scored_by(run: Run, scorer: str, samples: list[dict]) -> list[dict]:
    """The first scorer reads every sample, the others those of the held-out `reward` prompts."""
    if scorer == split_langs(run.preset.scoring.scorers)[0]:
        return samples
    return [record for record in samples if record["split"] == "reward"]


def with_translations(samples: list[dict], path: Path) -> list[dict]:
    """Samples with the English text to be scored in place of each response's token ids, None where there is none."""
    found = {
        (r["prompt_id"].rpartition("#")[0], r["prompt"]): r["responses"][0]
        for r in read_jsonl(path)
    }
    not_english = wrong_language("en", ["en", path.stem])
    records = []
    for sample in samples:
        texts, failures = find_translations(sample, found, not_english)
        records.append(sample | {"translations": texts, "translation_failure": failures})
    return records
