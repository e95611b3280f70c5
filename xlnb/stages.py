"""The stages in the order data flows. Each reads files, calls pure functions and writes files, once.

    prompts → (English: sample → prefer → train) → sample → score → pair → train → … → respond → judge → report

Iteration 0 makes π^0 from English preferences; iteration t ≥ 1 makes π^t from π^{t−1}'s own samples and rewards.
The translated reward needs `translate` between `sample` and `score`; `localise` makes parallel prompts of English ones.

Under `accelerate launch` or `torchrun` every process calls the same stages: those with a model share their work out,
batch by batch or step by step, the others are the main process' alone (`xlnb.parallel`). A base too large for one GPU
is dealt out over them (`xlnb.sharding`).
"""

import os
import shutil
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xlnb import parallel
from xlnb.errors import InputError
from xlnb.hub import ADAPTER_FILES
from xlnb.judging import ask_consent, get_judge, judge_records, read_comparisons
from xlnb.lab.truth import english_preferences, reward_accuracy
from xlnb.language_id import wrong_language
from xlnb.logprobs import Budget
from xlnb.model_card import model_card
from xlnb.models import (
    deal_out,
    load_model,
    load_tokenizer,
    new_adapter,
    read_base,
)
from xlnb.pairs import alpha_search, pair_language
from xlnb.parallel import main_alone
from xlnb.preferences import COLUMNS, preference_pairs
from xlnb.prompt_stages import (
    eval_prompts,
    iteration_prompts,
    lab_questions,
    localise,
    prompt_files,
    prompts,
    read_prompts,
)
from xlnb.prompts import split_langs
from xlnb.runs import (
    Journal,
    Run,
    Stage,
    read_json,
    read_jsonl,
    stage_seconds,
    write_json,
    write_jsonl,
    write_text,
)
from xlnb.sources import parse_source, read_rows, source_files, source_versions
from xlnb.translation import TEMPERATURE, find_translations, translation_tasks
from xlnb.winrates import summarise
from xlnb.work import (
    adapter_files,
    generate,
    in_chunks,
    load_sampler,
    model_fields,
    policy_and_reference,
    sampling_fields,
    score_chunk,
)


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
        texts = {"en": lab_questions("train", run.preset.lab.english, "en")}
    else:
        wanted = {lang: iteration_prompts(run, iteration, records) for lang, records in everything.items()}
        texts = {lang: records for lang, records in wanted.items() if records}  # some are for evaluation only
    config = run.preset.sampling
    stage = Stage(
        run,
        f"{out.parent.name}/samples",
        inputs=[*prompt_files(run), *adapter_files(run, source)],
        uses={
            "sampling": sampling_fields(config),
            **(
                {"prompts": {"fresh": run.preset.prompts.fresh}, "iterations": run.preset.iterations}
                if iteration
                else {"lab": {"english": run.preset.lab.english}}
            ),
            **model_fields(run),
        },
        out=out,
    )
    if stage.current():
        return out
    with stage.working():
        model, tokenizer = load_sampler(run, source)
        for lang, records in texts.items():
            generate(
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
    if run.preset.models.dpo or run.preset.models.dpo_adapter:
        raise InputError(
            "stage prefer: this run's π^0 is given (models.dpo or models.dpo_adapter); there is none to make"
        )
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
    if "translated" not in split_langs(run.preset.scoring.scorers):
        raise InputError("stage translate: no scorer needs it; add translated to scoring.scorers")
    folder = run.folder(iteration)
    samples = [path for path in _sample_files(folder, "translations") if path.stem != "en"]
    config = replace(run.preset.sampling, n=1, temperature=TEMPERATURE, top_p=1.0)
    stage = Stage(
        run,
        f"{folder.name}/translations",
        inputs=samples,
        uses={
            "sampling": sampling_fields(config),
            "scoring": {"scorers": run.preset.scoring.scorers},
            **model_fields(run),
        },
        out=folder / "translations",
    )
    if stage.current():
        return stage.out
    with stage.working():
        model, tokenizer = load_sampler(run, "sft")
        for path in samples:
            generate(
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
        inputs=[*samples, *translations.values(), *prompt_files(run), *adapter_files(run, policy)],
        uses={"scoring": {"beta": config.beta, "scorers": config.scorers} | kept, **model_fields(run)},
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
                make = partial(score_chunk, run, *models, policy, scorer, english, budget)
                in_chunks(records, Journal(out), make, f"{stage.name} {scorer} {path.stem}", models[:2])
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
        counts = ", ".join(f"{lang} {entry['pairs']}" for lang, entry in reports.items())
        print(f"{stage.name}: pairs by language: {counts}", flush=True)
    return stage.out


def train(run: Run, iteration: int) -> Path:
    """QLoRA DPO + NLL from π^{t−1} to π^t on the iteration's pairs: <model>/adapter (safetensors, training.json)."""
    # They import TRL, which takes seconds.
    from xlnb.training import add_mismatched, add_reference, check_training, hold_out, tokenize_pairs, train_adapter

    folder, source = run.folder(iteration), run.models[iteration]
    section = "training" if iteration else "english"
    config = getattr(run.preset, section)
    check_training(config, section)
    files = sorted((folder / "pairs").glob("*.jsonl"))
    if not files:
        raise InputError(
            f"stage {folder.name}/adapter: no language has a pair; {folder}/pairs/report.json counts why"
            if (folder / "pairs" / "report.json").exists()
            else f"stage {folder.name}/adapter needs {folder}/pairs/<lang>.jsonl; run the stages before it"
        )
    out = folder / "adapter"
    uses = asdict(config)
    del uses["report_to"]  # where figures of a training go is no part of what it makes
    stage = Stage(
        run,
        f"{folder.name}/adapter",
        inputs=[*files, *adapter_files(run, source)],
        uses={section: uses, **model_fields(run)},
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
            model: Any = deal_out(new_adapter(read_base(base), base.base, config), base)
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
        rows, held_out = hold_out(rows, config.eval_fraction, section)
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
            ours = model.peft_config["default"]
            ours.target_modules = sorted(ours.target_modules)  # a set, whose order PEFT would write as it comes
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
        inputs=[*prompt_files(run), *adapter_files(run, model_name)],
        uses={
            "evaluation": {k: getattr(config, k) for k in ("temperature", "top_p", "max_new_tokens")},
            "sampling": sampling_fields(run.preset.sampling, "batch_tokens", "backend"),
            **model_fields(run),
        },
        out=out / "responses",
        beside=[out / lang / "model_outputs.json" for lang in eval_prompts(run)],
    )
    if stage.current():
        return stage.out
    with stage.working():
        dataset = parse_source(run.preset.prompts.eval_path).name if run.preset.prompts.path else "lab"
        model, tokenizer = load_sampler(run, model_name)
        for lang, records in eval_prompts(run).items():
            journal = stage.out / f"{lang}.jsonl"
            label = f"eval {model_name} {lang}"
            samples = generate(run, model, model_name, tokenizer, records, journal, n=1, config=config, label=label)
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
    langs = list(eval_prompts(run))
    mine, theirs = ([_outputs_file(run, name, lang) for lang in langs] for name in (model_name, config.baseline))
    uses = {"judge": config.judge, "baseline": config.baseline}
    stage = Stage(
        run,
        f"eval/{model_name}/annotations",
        inputs=sorted({*mine, *theirs}),
        uses={"evaluation": uses if config.judge == "oracle" else uses | {"judge_order": config.judge_order}},
        out=out / "annotations",
        beside=[out / lang / "annotations.json" for lang in langs],
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
    langs = list(eval_prompts(run))
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
    if parallel.world() > 1 and "adapter" in " ".join(names[: names.index(last) + 1]):
        from xlnb.training import check_training  # for several processes there is more to check

        check_training(run.preset.training)
    for name, step in steps:
        step()
        if name == last:
            break
    return run


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


def _sample_files(folder: Path, stage: str) -> list[Path]:
    samples = sorted((folder / "samples").glob("*.jsonl"))
    if not samples:
        raise InputError(f"stage {folder.name}/{stage} needs {folder}/samples/<lang>.jsonl; run stage sample first")
    return samples


def _no_iteration_0(iteration: int, name: str) -> None:
    if iteration < 1:
        raise InputError(f"stage {name}: iterations begin at 1; iteration 0 is trained on English preferences")


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


def _rewards_against_truth(run: Run, folder: Path) -> dict[str, dict[str, dict]]:
    """`reward_accuracy` of an iteration's held-out `reward` prompts: {scorer: {lang: …}}."""
    tables: dict[str, dict[str, dict]] = {}
    for path in sorted(folder.glob("scores/**/*.jsonl")):
        scorer = split_langs(run.preset.scoring.scorers)[0] if path.parent.name == "scores" else path.parent.name
        samples = read_jsonl(folder / "samples" / path.name)
        table = reward_accuracy(samples, [r for r in read_jsonl(path) if r["split"] == "reward"])
        if table["n"]:
            tables.setdefault(scorer, {})[path.stem] = table
    return tables
