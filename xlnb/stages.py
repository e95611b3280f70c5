"""The stages in the order data flows. Each reads files, calls pure functions and writes files, once.

    prompts → (English: sample → prefer → train) → sample → score → pair → train → … → respond → judge → report

Iteration 0 makes π^0 from English preferences; iteration t ≥ 1 makes π^t from π^{t−1}'s own samples and rewards.
The translated reward needs `translate` between `sample` and `score`; `localise` makes parallel prompts of English ones.

Under `accelerate launch` or `torchrun` every process calls the same stages: those with a model share their work out,
batch by batch or step by step, the others are the main process' alone (`xlnb.parallel`).
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tqdm import tqdm

from xlnb import parallel
from xlnb.endpoint import ChatEndpoint
from xlnb.errors import InputError
from xlnb.hub import ADAPTER_FILES
from xlnb.judging import ask_consent, get_judge, judge_records, read_comparisons
from xlnb.lab.truth import english_preferences, reward_accuracy
from xlnb.lab.world import load_world
from xlnb.language_id import wrong_language
from xlnb.localisation import (
    check_drafts,
    draft_failure,
    endpoint_translations,
    keep_parallel,
    localisation_consent,
    translation_task,
)
from xlnb.logprobs import Budget
from xlnb.model_card import model_card
from xlnb.models import (
    active,
    base_path,
    check_same_tokens,
    load_base,
    load_model,
    load_tokenizer,
    new_adapter,
    prompt_ids,
    response_ids,
)
from xlnb.pairs import alpha_search, pair_language
from xlnb.preferences import COLUMNS, preference_pairs
from xlnb.presets import Models
from xlnb.prompts import language_name, prompt_sources, read_parallel, split_langs
from xlnb.rewards import implicit_reward, score_responses, scorer_prompt
from xlnb.runs import (
    Journal,
    Run,
    Stage,
    read_json,
    read_jsonl,
    sha256,
    stage_seconds,
    write_json,
    write_jsonl,
    write_text,
)
from xlnb.sampling import batch_seed, sample_responses
from xlnb.sampling_vllm import PROMPTS_AT_ONCE as PROMPTS_IN_VLLM
from xlnb.sampling_vllm import VLLM, use_vllm
from xlnb.sources import parse_source, read_rows, source_files, source_versions
from xlnb.translation import TEMPERATURE, find_translations, translation_tasks
from xlnb.winrates import summarise

Translator = Callable[[list[dict], Path, str], list[dict]]  # tasks, file, label -> records
PROMPTS_AT_ONCE = 32  # prompts whose scores are written together: what a kill can cost the score stage
P = ParamSpec("P")
T = TypeVar("T")


def main_alone(stage: Callable[P, T]) -> Callable[P, T]:
    """A stage that needs no model: of several processes the main one does it, the others wait for it."""

    @wraps(stage)
    def in_turn(*args: P.args, **kwargs: P.kwargs) -> T:
        return parallel.from_main(lambda: stage(*args, **kwargs))

    return in_turn


@main_alone
def localise(run: Run, *, yes: bool = False) -> Path:
    """English training prompts in other languages: localised/prompts/<lang>.jsonl, parallel, and report.json of counts.

    A draft that fails a check of `xlnb.localisation` goes to localised/failed/<lang>.jsonl with its reason, and its
    prompt is dropped in every language. drafts/<lang>/ holds all drafts and their translations back into English, which
    another `localise.min_chrf` does not make anew. Where calls cost money, an estimate a language is printed first;
    `yes` goes on without asking.
    """
    config, path = run.preset.localise, run.preset.prompts.path
    langs = [lang for lang in split_langs(config.langs) if lang != "en"]
    if not path or not langs:
        raise InputError(
            "stage localise: set prompts.path to English prompts and localise.langs to languages, as de,sw"
        )
    sources, limit = prompt_sources(path, "en"), run.preset.prompts.limit
    files = [file for source in sources for file in source_files(source)]
    uses = {"prompts": {"path": path, "limit": limit}, **source_versions(sources)}
    english = _limited(read_parallel(path, "en"), "train", limit)["en"]
    translator: Translator | None = None
    for lang in langs:
        by = {"localise": {"by": config.by}} | ({} if config.by.startswith("endpoint:") else _translator_uses(run))
        stage = Stage(run, f"drafts/{lang}", inputs=files, uses=uses | by, out=run.path / "drafts" / lang)
        language_name(lang)
        if stage.current():
            continue
        with stage.working():
            translator = translator or _translator(run)
            drafts_path, back_path = stage.out / "drafts.jsonl", stage.out / "back.jsonl"
            if config.by.startswith("endpoint:"):
                done = sum(len(read_jsonl(p) if p.exists() else Journal(p).done) for p in (drafts_path, back_path))
                localisation_consent(config.by, english, done, price=config.price, yes=yes)
            tasks = [translation_task(record, record["instruction"], lang) for record in english]
            drafts = translator(tasks, drafts_path, f"{stage.name} from English")
            back = [
                translation_task(record, draft["responses"][0]["text"].strip(), "en")
                for record, draft in zip(english, drafts, strict=True)
                if not draft_failure(record, draft)
            ]
            translator(back, back_path, f"{stage.name} back to English")
    folders = {lang: run.path / "drafts" / lang for lang in langs}
    stage = Stage(
        run,
        "localised",
        inputs=[*files, *(folder / name for folder in folders.values() for name in ("drafts.jsonl", "back.jsonl"))],
        uses={"localise": {"langs": config.langs, "min_chrf": config.min_chrf}} | uses,
        out=run.path / "localised",
    )
    if stage.current():
        return stage.out
    with stage.working():
        kept, failed = {}, {}
        for lang, folder in folders.items():
            kept[lang], failed[lang] = check_drafts(
                english,
                read_jsonl(folder / "drafts.jsonl"),
                read_jsonl(folder / "back.jsonl"),
                min_chrf=config.min_chrf,
            )
            write_jsonl(stage.out / "failed" / f"{lang}.jsonl", failed[lang])
        localised, report = keep_parallel(kept, failed, english)
        for lang, records in localised.items():
            write_jsonl(stage.out / "prompts" / f"{lang}.jsonl", records)
        write_json(stage.out / "report.json", report)
        for lang, counts in report["langs"].items():
            print(
                f"{stage.name} {lang}: failed {counts['failed'] or 'none'}, mean chrF {counts['mean_chrf']}", flush=True
            )
        print(f"{stage.name}: {report['kept']} of {report['prompts']} prompts kept in every language", flush=True)
        if not report["kept"]:
            raise InputError(f"{stage.out / 'failed'}: no prompt is left in every language; see the reasons there")
    return stage.out


@main_alone
def prompts(run: Run) -> Path:
    """Write the run's prompts: prompts/<lang>.jsonl {prompt_id, lang, instruction, split}, parallel by id."""
    config = run.preset.prompts
    path = config.path
    if run.preset.localise.langs:
        path = str(run.path / "localised" / "prompts")
        if not Path(path).exists():
            raise InputError(f"stage prompts needs {path}, which is not there; run stage localise first")
    texts = [text for text in (path, config.eval_path) if path and text]
    sources = [source for text in texts for source in prompt_sources(text, config.langs)]
    stage = Stage(
        run,
        "prompts",
        inputs=[path for source in sources for path in source_files(source)],
        uses={"prompts": asdict(config), "lab": asdict(run.preset.lab), **source_versions(sources)},
        out=run.path / "prompts",
    )
    if stage.current():
        return stage.out
    if path:
        records = _limited(read_parallel(path, config.langs), "train", config.limit)
        if config.eval_path:
            for lang, more in _limited(read_parallel(config.eval_path, config.langs), "eval", config.limit).items():
                ids = {record["prompt_id"] for record in records.get(lang, [])}
                for shared in [record["prompt_id"] for record in more if record["prompt_id"] in ids][:1]:
                    raise InputError(f"{config.eval_path}: id {shared} is a training prompt too; ids must differ")
                records[lang] = records.get(lang, []) + more
    else:
        records = _lab_prompts(run)
    with stage.working():
        for lang, lines in records.items():
            write_jsonl(stage.out / f"{lang}.jsonl", lines)
    return stage.out


def sample(run: Run, iteration: int) -> Path:
    """Sample N responses a prompt from π^{t−1}, each prompt in its own language: <model>/samples/<lang>.jsonl.

    Iteration 0 samples π_I on English training prompts, the raw material of the English preferences.
    """
    out = run.folder(iteration) / "samples"
    source = run.models[iteration]
    everything = read_prompts(run)
    if iteration == 0:
        if not run.preset.lab.english:
            raise InputError(
                f"preset {run.preset.name}: there is no π^0; name it (models.dpo or models.dpo_adapter) or give "
                "English preferences to train it on (preferences.path)"
            )
        texts = {"en": _lab_questions("train", run.preset.lab.english, "en")}
    else:
        wanted = {lang: _iteration_prompts(run, iteration, records) for lang, records in everything.items()}
        texts = {lang: records for lang, records in wanted.items() if records}  # some are for evaluation only
    config = run.preset.sampling
    stage = Stage(
        run,
        f"{out.parent.name}/samples",
        inputs=[*prompt_files(run), *_adapter_files(run, source)],
        uses={
            "sampling": _sampling_fields(config),
            **(
                {"prompts": {"fresh": run.preset.prompts.fresh}, "iterations": run.preset.iterations}
                if iteration
                else {"lab": {"english": run.preset.lab.english}}
            ),
            **_uses(run),
        },
        out=out,
    )
    if stage.current():
        return out
    with stage.working():
        model, tokenizer = _load_sampler(run, source)
        for lang, records in texts.items():
            _generate(
                run,
                model,
                source,
                tokenizer,
                records,
                out / f"{lang}.jsonl",
                n=config.n,
                config=config,
                label=f"{stage.name} {lang}",
            )
    return out


@main_alone
def prefer(run: Run) -> Path:
    """English preferences: dpo/pairs/en.jsonl, from `preferences.path` with counts in report.json.

    Without a path the lab's stand-in for them: π_I's samples in random pairs, ordered by the oracle (`xlnb.lab.truth`).
    """
    folder, config = run.folder(0), run.preset.preferences
    samples = folder / "samples" / "en.jsonl"
    inputs: list[Path] = [samples]
    uses: dict[str, Any] = {"seed": run.preset.seed}
    if config.path:
        source = parse_source(config.path)
        inputs, uses = source_files(source), {"preferences": asdict(config), **source_versions([source])}
    stage = Stage(run, "dpo/pairs", inputs=inputs, uses=uses, out=folder / "pairs")
    if stage.current():
        return stage.out
    with stage.working():
        if config.path:
            pairs, report = preference_pairs(tqdm(read_rows(source, COLUMNS), desc=stage.name), config.limit)
            print(
                f"{stage.name}: {report['pairs']} of {report['rows']} pairs; dropped: {report['dropped']}", flush=True
            )
            write_json(stage.out / "report.json", {"en": report})
        else:
            pairs = english_preferences(read_jsonl(samples), run.preset.seed)
        write_jsonl(stage.out / "en.jsonl", pairs)
    return stage.out


def translate(run: Run, iteration: int) -> Path:
    """Responses in other languages than English translated by π_I, for R_t: icr<t>/translations/<lang>.jsonl.

    Records are as those of samples, with the request for a translation as their prompt; each text once a prompt.
    """
    _no_iteration_0(iteration, "translate")
    folder = run.folder(iteration)
    samples = [path for path in _sample_files(folder, "translations") if path.stem != "en"]
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    stage = Stage(
        run,
        f"{folder.name}/translations",
        inputs=samples,
        uses={"sampling": _sampling_fields(config), "scoring": {"scorers": run.preset.scoring.scorers}, **_uses(run)},
        out=folder / "translations",
    )
    if stage.current():
        return stage.out
    with stage.working():
        model, tokenizer = _load_sampler(run, "sft")
        for path in samples:
            _generate(
                run,
                model,
                "sft",
                tokenizer,
                list(translation_tasks(_scored_by(run, "translated", read_jsonl(path)))),
                stage.out / path.name,
                n=1,
                config=config,
                label=f"{stage.name} {path.stem}",
            )
    return stage.out


def score(run: Run, iteration: int) -> Path:
    """Implicit rewards β (log π^{t−1} − log π_I) of the samples: icr<t>/scores/<lang>.jsonl.

    The first scorer of the preset scores everything and makes the pairs. Any other scores the held-out `reward`
    prompts only, into scores/<scorer>/<lang>.jsonl, to be compared with the truth. What R_t could not have translated
    has no reward (null) and its `translation_failure` says why. `scoring.keep_tokens` adds `policy_token_logps` and
    `ref_token_logps`, nats, a list a response.
    """
    _no_iteration_0(iteration, "score")
    folder, policy = run.folder(iteration), run.models[iteration]
    samples = _sample_files(folder, "scores")
    config = run.preset.scoring
    scorers = split_langs(config.scorers)
    translations = {
        path.stem: folder / "translations" / path.name
        for path in samples
        if "translated" in scorers and path.stem != "en"
    }
    kept = {"keep_tokens": True} if config.keep_tokens else {}  # without: as before there was such a field
    stage = Stage(
        run,
        f"{folder.name}/scores",
        inputs=[*samples, *translations.values(), *prompt_files(run), *_adapter_files(run, policy)],
        uses={"scoring": {"beta": config.beta, "scorers": config.scorers} | kept, **_uses(run)},
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
                records = _scored_by(run, scorer, read_jsonl(path))
                if scorer == "translated" and path.stem in translations:
                    records = _translated(records, translations[path.stem])
                out = (stage.out if position == 0 else stage.out / scorer) / path.name
                make = partial(_score_chunk, run, *models, policy, scorer, english, budget)
                _in_chunks(records, Journal(out), make, f"{stage.name} {scorer} {path.stem}")
    return stage.out


@main_alone
def pair(run: Run, iteration: int) -> Path:
    """Length-controlled preference pairs of the training prompts: icr<t>/pairs/<lang>.jsonl and report.json."""
    _no_iteration_0(iteration, "pair")
    folder = run.folder(iteration)
    samples = _sample_files(folder, "pairs")
    scores = [folder / "scores" / path.name for path in samples]
    config = run.preset.pairing
    find_alpha = alpha_search(config.alpha, run.preset.scoring.beta)
    stage = Stage(
        run, f"{folder.name}/pairs", inputs=[*samples, *scores], uses={"pairing": asdict(config)}, out=folder / "pairs"
    )
    if stage.current():
        return stage.out
    with stage.working():
        reports, langs = {}, [path.stem for path in samples]
        for sample_path, score_path in zip(samples, scores, strict=True):
            pairs, report = pair_language(
                [r for r in read_jsonl(sample_path) if r["split"] == "train"],
                [r for r in read_jsonl(score_path) if r["split"] == "train"],
                find_alpha=find_alpha,
                min_margin=config.min_margin,
                wrong_language=wrong_language(sample_path.stem, langs) if config.language_filter else None,
            )
            reports[sample_path.stem] = report
            if pairs:
                write_jsonl(stage.out / sample_path.name, pairs)
        write_json(stage.out / "report.json", reports)
    return stage.out


def train(run: Run, iteration: int) -> Path:
    """QLoRA DPO + NLL from π^{t−1} to π^t on the iteration's pairs: <model>/adapter (safetensors, training.json)."""
    # They import TRL, which takes seconds.
    from xlnb.training import add_mismatched, add_reference, check_training, hold_out, tokenize_pairs, train_adapter

    folder, source = run.folder(iteration), run.models[iteration]
    config = run.preset.training if iteration else run.preset.english
    check_training(config)
    files = sorted((folder / "pairs").glob("*.jsonl"))
    if not files:
        raise InputError(
            f"stage {folder.name}/adapter needs {folder}/pairs/<lang>.jsonl with pairs; run the stages before it"
        )
    out = folder / "adapter"
    uses = asdict(config)
    del uses["report_to"]  # where figures of a training go is no part of what it makes
    stage = Stage(
        run,
        f"{folder.name}/adapter",
        inputs=[*files, *_adapter_files(run, source)],
        uses={"training": uses, **_uses(run)},
        out=out,
    )
    if stage.current():
        return out
    with stage.working():
        base, adapter = run.base(source), run.adapter(source)
        tokenizer = load_tokenizer(base)
        if adapter is None:
            import torch

            torch.manual_seed(run.preset.seed)
            model: Any = new_adapter(load_base(base), base.base, config)
        else:
            model = load_model(base, {"default": adapter})
        records = [record for path in files for record in read_jsonl(path)]
        rows, dropped = tokenize_pairs(tokenizer, records, config.max_tokens)
        if dropped and parallel.is_main():
            print(
                f"{stage.name}: {dropped} of {len(records)} pairs dropped, longer than {config.max_tokens} tokens",
                flush=True,
            )
        if not rows:
            raise InputError(f"{folder}/pairs: no pair is left to train on")
        rows, held_out = hold_out(rows, config.eval_fraction)
        for some in filter(None, (rows, held_out)):
            if config.loss == "kto":
                add_mismatched(some, config.max_tokens)
            add_reference(model, some, "default", run.preset.scoring.batch_tokens)
        trained = train_adapter(
            model,
            tokenizer,
            rows,
            config,
            seed=run.preset.seed,
            checkpoints=out / "checkpoints",
            held_out=held_out,
            label=stage.name,
        )
        if parallel.is_main():
            saving = out / ".saving"
            model.save_pretrained(str(saving), selected_adapters=["default"])
            record = {
                "pairs": len(rows),
                "held_out_pairs": len(held_out),
                "dropped_too_long": dropped,
                **trained._asdict(),
            }
            write_json(out / "training.json", record)
            languages = dict(Counter(row["lang"] for row in rows))
            write_text(out / "README.md", model_card(run, iteration, languages, record))
            for name in ADAPTER_FILES:
                os.replace(saving / name, out / name)
            shutil.rmtree(saving)
            shutil.rmtree(out / "checkpoints")
    return out


def respond(run: Run, model_name: str) -> Path:
    """One response of a model to each evaluation prompt: eval/<model>/<lang>/model_outputs.json (AlpacaEval's form)."""
    out, config = run.path / "eval" / model_name, run.preset.evaluation
    stage = Stage(
        run,
        f"eval/{model_name}/responses",
        inputs=[*prompt_files(run), *_adapter_files(run, model_name)],
        uses={
            "evaluation": {k: getattr(config, k) for k in ("temperature", "top_p", "max_new_tokens")},
            "sampling": _sampling_fields(run.preset.sampling, "batch_tokens", "backend"),
            **_uses(run),
        },
        out=out / "responses",
    )
    if stage.current():
        return stage.out
    with stage.working():
        dataset = parse_source(run.preset.prompts.eval_path).name if run.preset.prompts.path else "lab"
        model, tokenizer = _load_sampler(run, model_name)
        for lang, records in _eval_prompts(run).items():
            journal = stage.out / f"{lang}.jsonl"
            label = f"eval {model_name} {lang}"
            samples = _generate(run, model, model_name, tokenizer, records, journal, n=1, config=config, label=label)
            if not parallel.is_main():
                continue
            outputs = [
                {
                    "generator": model_name,
                    "dataset": dataset,
                    "id": record["prompt_id"],
                    "instruction": record["prompt"],
                    "output": record["responses"][0]["text"],
                }
                for record in samples
            ]
            write_json(out / lang / "model_outputs.json", outputs)
    return stage.out


@main_alone
def judge(run: Run, model_name: str, *, yes: bool = False) -> Path:
    """Judge a model's responses against the baseline's: eval/<model>/<lang>/annotations.json (AlpacaEval's form).

    Where calls cost money, an estimate is printed first; `yes` goes on without asking.
    """
    out, config = run.path / "eval" / model_name, run.preset.evaluation
    langs = list(_eval_prompts(run))
    mine, theirs = ([_outputs_file(run, name, lang) for lang in langs] for name in (model_name, config.baseline))
    uses = {"judge": config.judge, "baseline": config.baseline}
    stage = Stage(
        run,
        f"eval/{model_name}/annotations",
        inputs=sorted({*mine, *theirs}),
        uses={"evaluation": uses if config.judge == "oracle" else uses | {"judge_order": config.judge_order}},
        out=out / "annotations",
    )
    if stage.current():
        return stage.out
    judge_ = get_judge(config.judge, config, run.preset.models)
    with stage.working():
        journals = {lang: Journal(stage.out / f"{lang}.jsonl") for lang in langs}
        records = {
            lang: read_comparisons(model_path, baseline_path, lang, annotator=judge_.name)
            for lang, model_path, baseline_path in zip(langs, mine, theirs, strict=True)
            if not journals[lang].path.exists()
        }
        todo = [r for lang, rs in records.items() for r in rs if r["id"] not in journals[lang].done]
        ask_consent(judge_, todo, price=config.judge_price, yes=yes)
        for lang, journal in journals.items():
            if lang in records:
                annotations = judge_records(judge_, records[lang], journal, label=f"judge {model_name} {lang}")
            else:
                annotations = read_jsonl(journal.path)
            write_json(
                out / lang / "annotations.json",
                [{key: value for key, value in record.items() if key != "prompt_id"} for record in annotations],
            )
    return stage.out


@main_alone
def report(run: Run) -> Path:
    """metrics.json: win rates a model and language, rewards against the truth, seconds a stage."""
    langs = list(_eval_prompts(run))
    files = {(m, lang): run.path / "eval" / m / lang / "annotations.json" for m in run.models for lang in langs}
    folders = {run.models[t]: run.folder(t) for t in range(1, run.preset.iterations + 1)}
    inputs = [
        *files.values(),
        *(path for folder in folders.values() for path in sorted(folder.glob("scores/**/*.jsonl"))),
    ]
    stage = Stage(
        run,
        "report",
        inputs=inputs,
        uses={"evaluation": {"resamples": run.preset.evaluation.resamples}},
        out=run.path / "metrics.json",
    )
    if stage.current():
        return stage.out
    with stage.working():
        win_rates: dict[str, dict] = {name: {} for name in run.models}
        for (name, lang), path in files.items():
            win_rates[name][lang] = summarise(read_json(path), resamples=run.preset.evaluation.resamples)
        metrics = {
            "preset": run.preset.name,
            "seed": run.preset.seed,
            "win_rates": win_rates,
            "rewards": {name: _rewards_against_truth(run, folder) for name, folder in folders.items()},
            "seconds": stage_seconds(run),
        }
        write_json(stage.out, metrics)
    return stage.out


def stages(run: Run, *, yes: bool = False) -> list[tuple[str, Any]]:
    """Every stage of a run in order, as (name, call). `yes`: see `judge`."""
    steps: list[tuple[str, Any]] = [("prompts", lambda: prompts(run))]
    if run.preset.localise.langs:
        steps.insert(0, ("localised", lambda: localise(run, yes=yes)))
    if not (run.preset.models.dpo or run.preset.models.dpo_adapter):
        if not run.preset.preferences.path:
            steps.append(("dpo/samples", lambda: sample(run, 0)))
        steps += [("dpo/pairs", lambda: prefer(run)), ("dpo/adapter", lambda: train(run, 0))]
    for t in range(1, run.preset.iterations + 1):
        todo = [("samples", sample), ("scores", score), ("pairs", pair), ("adapter", train)]
        if "translated" in split_langs(run.preset.scoring.scorers):
            todo.insert(1, ("translations", translate))
        for name, function in todo:
            steps.append((f"icr{t}/{name}", lambda function=function, t=t: function(run, t)))
    has_eval = not run.preset.prompts.path or bool(run.preset.prompts.eval_path)
    if has_eval:
        steps += [(f"eval/{m}/responses", lambda m=m: respond(run, m)) for m in run.models]
    if has_eval and (not run.preset.prompts.path or run.preset.evaluation.judge != "oracle"):  # it knows the lab only
        steps += [(f"eval/{m}/annotations", lambda m=m: judge(run, m, yes=yes)) for m in run.models]
        steps.append(("report", lambda: report(run)))
    return steps


def run_until(run: Run, last: str = "report", *, yes: bool = False) -> Run:
    """Run every stage up to and with `last`; finished and current ones are skipped. `yes`: see `judge`."""
    steps = stages(run, yes=yes)
    names = [name for name, _ in steps]
    if last not in names:
        raise InputError(f"unknown stage '{last}'; this run has {', '.join(names)}")
    for name, step in steps:
        step()
        if name == last:
            break
    return run


def _translator(run: Run) -> Translator:
    """What translates tasks into a file of sample records, by `localise.by`."""
    by, config = run.preset.localise.by, replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    if by.startswith("endpoint:"):
        endpoint = ChatEndpoint(by.removeprefix("endpoint:"), workers=run.preset.localise.workers, timeout=600.0)
        return partial(endpoint_translations, endpoint)
    models = _translator_models(run)
    tokenizer, model = load_tokenizer(models), load_base(models)
    return lambda tasks, path, label: _generate(
        run, model, "sft", tokenizer, tasks, path, n=1, config=config, label=label
    )


def _translator_models(run: Run) -> Models:
    by = run.preset.localise.by
    if by and not by.startswith("local:"):
        raise InputError(f"localise.by '{by}': expected endpoint:MODEL, local:FOLDER_OR_HUB_ID or nothing for π_I")
    models = replace(run.preset.models, dpo="", dpo_adapter="")
    return replace(models, base=by.removeprefix("local:")) if by else models


def _translator_uses(run: Run) -> dict[str, Any]:
    config = run.preset.sampling
    sampling = {"max_new_tokens": config.max_new_tokens, "batch_tokens": config.batch_tokens}
    return {"sampling": sampling} | _uses(replace(run, preset=replace(run.preset, models=_translator_models(run))))


def policy_and_reference(run: Run, policy: str, **changes: str) -> tuple[Any, Any, Any]:
    """A policy's model, π_I's own model where that is another checkpoint (None: the same base), and the tokenizer.

    `changes`: fields of `Models` other than the preset's, such as dtype="float32".
    """
    base, sft = (replace(run.base(name), **changes) for name in (policy, "sft"))
    model, tokenizer = load_model(base, {policy: run.adapter(policy)}), load_tokenizer(base)
    if base == sft:
        return model, None, tokenizer
    check_same_tokens(tokenizer, load_tokenizer(sft), run.preset.models)
    return model, load_base(sft), tokenizer


def prompt_files(run: Run) -> list[Path]:
    files = sorted((run.path / "prompts").glob("*.jsonl"))
    if not files:
        raise InputError(f"{run.path}: no prompts yet; run stage prompts first")
    return files


def read_prompts(run: Run) -> dict[str, list[dict]]:
    """The run's prompts by language, English first."""
    files = {path.stem: path for path in prompt_files(run)}
    return {lang: read_jsonl(files[lang]) for lang in ["en", *(lang for lang in files if lang != "en")]}


def _limited(prompts: dict[str, list[dict]], split: str, most: int) -> dict[str, list[dict]]:
    return {lang: [r | {"split": split} for r in (rs[:most] if most else rs)] for lang, rs in prompts.items()}


def _lab_prompts(run: Run) -> dict[str, list[dict]]:
    world, config, models = load_world(), run.preset.lab, run.preset.models
    if not config.train:
        raise InputError(
            f"preset {run.preset.name}: prompts.path is empty; name a folder of parallel prompts, one <lang>.jsonl a "
            "language with the same ids, English among them (-p prompts.path=FOLDER)"
        )
    if base_path(models.base) != base_path(Models().base):
        print(f"prompts: prompts.path is empty, so {models.base} is asked the lab's questions", flush=True)
    langs = split_langs(run.preset.prompts.langs) or list(world.langs)
    for lang in langs:
        if lang not in world.langs:
            raise InputError(f"prompts.langs: the lab does not speak '{lang}'; it speaks {', '.join(world.langs)}")
    sizes = {"train": config.train, "reward": config.reward, "eval": config.eval}
    return {
        lang: [record for split, size in sizes.items() for record in _lab_questions(split, size, lang)]
        for lang in ["en", *(lang for lang in langs if lang != "en")]
    }


def _lab_questions(split: str, size: int, lang: str) -> list[dict]:
    """So many of the lab's questions of a split, the same ones in every language, by a fixed shuffle."""
    records = [record for record in load_world().prompts(lang) if record["split"] == split]
    random.Random(split).shuffle(records)
    return records[:size]


def _iteration_prompts(run: Run, iteration: int, records: list[dict]) -> list[dict]:
    """What iteration t of T samples: the training prompts, or every T-th (`prompts.fresh`), and the `reward` ones."""
    train = [record for record in records if record["split"] == "train"]
    if run.preset.prompts.fresh:
        train = train[iteration - 1 :: run.preset.iterations]
    return train + [record for record in records if record["split"] == "reward"]


def _eval_prompts(run: Run) -> dict[str, list[dict]]:
    records = {lang: [p for p in ps if p["split"] == "eval"] for lang, ps in read_prompts(run).items()}
    return {lang: ps for lang, ps in records.items() if ps}


def _outputs_file(run: Run, name: str, lang: str) -> Path:
    """The responses of a model of the run, or of a baseline that is given as FOLDER/{lang}/NAME.json."""
    if name in run.models:
        return run.path / "eval" / name / lang / "model_outputs.json"
    if "{lang}" not in name:
        raise InputError(
            f"unknown model '{name}'; this run has {', '.join(run.models)}; "
            "evaluation.baseline may also name files as FOLDER/{lang}/NAME.json"
        )
    return Path(name.replace("{lang}", lang))


def _adapter_files(run: Run, model: str) -> list[Path]:
    folder = run.adapter(model)
    return [] if folder is None else [folder / "adapter_model.safetensors"]


def _uses(run: Run) -> dict[str, Any]:
    """The fields that every stage with a model depends on. A checkpoint that is a folder counts by its weights: by
    their content where that is quick to read, else by their size."""
    models = run.preset.models
    weights = {
        f"{base}/{path.name}": sha256(path) if path.stat().st_size < 64 * 2**20 else path.stat().st_size
        for base in (models.base, models.dpo)
        if base
        for path in sorted(Path(base_path(base)).glob("*.safetensors"))
    }
    fields = {name: value for name, value in asdict(models).items() if name != "attention"}  # rounding apart, the same
    return {"models": fields | {"weights": weights}, "seed": run.preset.seed}


def _sample_files(folder: Path, stage: str) -> list[Path]:
    samples = sorted((folder / "samples").glob("*.jsonl"))
    if not samples:
        raise InputError(f"stage {folder.name}/{stage} needs {folder}/samples/<lang>.jsonl; run stage sample first")
    return samples


def _no_iteration_0(iteration: int, name: str) -> None:
    if iteration < 1:
        raise InputError(f"stage {name}: iterations begin at 1; iteration 0 is trained on English preferences")


def _sampling_fields(config: Any, *names: str) -> dict[str, Any]:
    """What samples depend on of these fields (all): an engine that is asked for is such, what auto finds is not."""
    values = {name: getattr(config, name) for name in names} if names else asdict(config)
    return {name: value for name, value in values.items() if (name, value) != ("backend", "auto")}


def _load_sampler(run: Run, name: str) -> tuple[Any, Any]:
    """A model to sample from, in vLLM or in transformers (`sampling.backend`), and its tokenizer."""
    base, adapter = run.base(name), run.adapter(name)
    tokenizer = load_tokenizer(base)
    if use_vllm(run.preset.sampling.backend):
        return VLLM(base, adapter, tokenizer), tokenizer
    return load_model(base, {name: adapter}), tokenizer


def _generate(
    run: Run,
    model: Any,
    adapter: str,
    tokenizer: Any,
    records: list[dict],
    path: Path,
    *,
    n: int,
    config: Any,
    label: str,
) -> list[dict]:
    """Sample for prompts in length-sorted batches through a journal; the finished file's records (main process)."""
    journal = Journal(path)
    if path.exists():
        return read_jsonl(path)
    encoded = {record["prompt_id"]: prompt_ids(tokenizer, record["instruction"]) for record in records}
    ordered = sorted(records, key=lambda record: len(encoded[record["prompt_id"]]))

    def make(start: int, chunk: list[dict]) -> list[dict]:
        prompts = [encoded[record["prompt_id"]] for record in chunk]
        settings: dict[str, Any] = {
            "n": n,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "max_new_tokens": config.max_new_tokens,
            "seed": batch_seed(run.preset.seed, label, start),
        }
        if isinstance(model, VLLM):
            responses = model.sample(prompts, **settings)
        else:
            with active(model, adapter):
                responses = sample_responses(model, tokenizer, prompts, **settings)
        return [
            {
                "prompt_id": r["prompt_id"],
                "lang": r["lang"],
                "split": r["split"],
                "prompt": r["instruction"],
                "responses": rs,
            }
            for r, rs in zip(chunk, responses, strict=True)
        ]

    if isinstance(model, VLLM):
        batches = _chunks(ordered, PROMPTS_IN_VLLM)
    else:
        batches = list(_batches(ordered, encoded, n, config.max_new_tokens, run.preset.sampling.batch_tokens))
    return _share_out(batches, journal, make, [record["prompt_id"] for record in records], label)


def _batches(
    ordered: list[dict], encoded: dict[str, list[int]], n: int, max_new_tokens: int, batch_tokens: int
) -> Iterator[tuple[int, list[dict]]]:
    """(first position, prompts) of each batch that fits `batch_tokens`, or of one prompt. `ordered` by length."""
    start = 0
    while start < len(ordered):
        stop = start + 1
        while stop < len(ordered):
            width = len(encoded[ordered[stop]["prompt_id"]]) + max_new_tokens
            if width * n * (stop + 1 - start) > batch_tokens:
                break
            stop += 1
        yield start, ordered[start:stop]
        start = stop


def _scored_by(run: Run, scorer: str, samples: list[dict]) -> list[dict]:
    """The first scorer reads every sample, the others those of the held-out `reward` prompts."""
    if scorer == split_langs(run.preset.scoring.scorers)[0]:
        return samples
    return [record for record in samples if record["split"] == "reward"]


def _translated(samples: list[dict], path: Path) -> list[dict]:
    """Samples with the English text to be scored in place of each response's token ids, None where there is none."""
    found = {(r["prompt_id"].rpartition("#")[0], r["prompt"]): r["responses"][0] for r in read_jsonl(path)}
    not_english = wrong_language("en", ["en", path.stem])
    records = []
    for sample in samples:
        texts, failures = find_translations(sample, found, not_english)
        records.append(sample | {"translations": texts, "translation_failure": failures})
    return records


def _in_chunks(records: list[dict], journal: Journal, make: Callable[[list[dict]], list[dict]], label: str) -> None:
    """What `make` makes of `records`, `PROMPTS_AT_ONCE` at a time, through a journal."""
    if journal.path.exists() or not records:
        return
    order = [record["prompt_id"] for record in records]
    _share_out(_chunks(records, PROMPTS_AT_ONCE), journal, lambda _, chunk: make(chunk), order, label)


def _chunks(records: list[dict], size: int) -> list[tuple[int, list[dict]]]:
    return [(start, records[start : start + size]) for start in range(0, len(records), size)]


def _share_out(
    chunks: list[tuple[int, list[dict]]],
    journal: Journal,
    make: Callable[[int, list[dict]], list[dict]],
    order: list[str],
    label: str,
) -> list[dict]:
    """What `make` makes of each chunk (its position, its records), through a journal; the finished file's records.

    Each process makes its own of the chunks, then the main one writes the file; the others return nothing.
    """
    own, done = parallel.mine(chunks), journal.done
    todo = [(start, chunk) for start, chunk in own if not done.issuperset(record["prompt_id"] for record in chunk)]
    total, left = (sum(len(chunk) for _, chunk in part) for part in (own, todo))
    if parallel.world() > 1:
        label += f" (process 1 of {parallel.world()})"
    with tqdm(total=total, initial=total - left, desc=label, disable=not parallel.is_main()) as bar:
        for start, chunk in todo:
            journal.append(make(start, chunk))
            bar.update(len(chunk))
    parallel.barrier()
    return journal.finish(order) if parallel.is_main() else []


def _score_chunk(
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
            scored = [None if t is None else response_ids(tokenizer, text, t) for t in record["translations"]]
        rows.append([])
        for response in scored:
            rows[-1].append(None if response is None else len(response_rows))
            if response is not None:
                prompt_rows.append(ids)
                response_rows.append(response)
    try:
        sides = score_responses(
            model, policy, "sft", prompt_rows, response_rows, batch_tokens=budget, ref_model=ref_model
        )
    except InputError as error:
        raise InputError(f"{records[0]['lang']}, scoring ids {records[0]['prompt_id']} and after: {error}") from None
    names = ("policy_logps", "ref_logps")
    columns: dict[str, list] = {
        name: [values.sum().item() for values in side] for name, side in zip(names, sides, strict=True)
    }
    columns["reward"] = implicit_reward(columns["policy_logps"], columns["ref_logps"], config.beta)
    columns["n_tokens"] = [len(response) for response in response_rows]
    if config.keep_tokens:
        for name, side in zip(names, sides, strict=True):
            columns[name.replace("_logps", "_token_logps")] = [values.tolist() for values in side]
    return [
        {name: record[name] for name in ("prompt_id", "lang", "split")}
        | {name: [None if row is None else values[row] for row in places] for name, values in columns.items()}
        | {"n_chars": [len(response["text"]) for response in record["responses"]]}
        | {name: record[name] for name in ("translation_failure",) if name in record}
        for record, places in zip(records, rows, strict=True)
    ]


def _rewards_against_truth(run: Run, folder: Path) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` of an iteration's held-out `reward` prompts: {scorer: {lang: …}}."""
    tables: dict[str, dict[str, dict]] = {}
    for path in sorted(folder.glob("scores/**/*.jsonl")):
        scorer = split_langs(run.preset.scoring.scorers)[0] if path.parent.name == "scores" else path.parent.name
        samples, scores = {r["prompt_id"]: r for r in read_jsonl(folder / "samples" / path.name)}, []
        for score in read_jsonl(path):
            sample = samples[score["prompt_id"]]
            kept = [i for i, reward in enumerate(score["reward"]) if reward is not None]  # null: not translated
            if score["split"] == "reward" and kept:
                samples[score["prompt_id"]] = sample | {"responses": [sample["responses"][i] for i in kept]}
                scores.append(score | {"reward": [score["reward"][i] for i in kept]})
        if scores:
            tables.setdefault(scorer, {})[path.stem] = reward_accuracy(list(samples.values()), scores)
    return tables
