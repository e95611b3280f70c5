"""The gate that fuses scores (`xlnb.fusion`), fitted to π^0's English preferences, and to no label
elsewhere: icr<t>/gate/gate.json."""

from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from xlnb.common import processes
from xlnb.common.files import read_json, write_json
from xlnb.common.records import Logps, Pair, Response, Sample, each_record, read_records
from xlnb.fusion import Gate, Labelled, fit_gate
from xlnb.models.batches import Budget
from xlnb.models.chat import prompt_ids, response_ids
from xlnb.prompts import cross_lingual
from xlnb.rewards import SCORERS, score_sample, split_scorers, views_of
from xlnb.runs.layout import Iteration, Run
from xlnb.runs.stage import Stage, fields
from xlnb.stages.keys import adapter_files, model_fields
from xlnb.stages.loading import policy_and_reference
from xlnb.stages.logprobs import Loaded, Reading, logps_file
from xlnb.stages.reading import no_iteration_0
from xlnb.stages.sharing import share_out

# Few weights need few labels: of so many prompts, the first.
PROMPTS = 200

# Places of the better and of the worse response among a prompt's.
Places = list[tuple[int, int]]


def fit(run: Run, iteration: int) -> Path:
    """A gate over the scores that are named beside it, by English preferences as π^{t−1} and π_I
    read them."""
    no_iteration_0(iteration, "gate")
    here = run.iteration(iteration)
    config = run.preset.scoring
    pairs = run.iteration(0).pairs("en")
    options = ("beta", "gamma", "keep_tokens", "layers", "scorers")
    stage = Stage(
        run,
        f"{here.target}/gate",
        inputs=[pairs, *adapter_files(run, here.source)],
        uses={
            **fields(run.preset, "seed", *(f"scoring.{name}" for name in options)),
            **model_fields(run.loaded),
        },
        out=folder(here),
    )

    def make() -> None:
        models = policy_and_reference(run, here.source)
        loaded = Loaded(run.adapter_name(here.source), *models, config.layers)
        samples, places = _labelled(pairs, loaded.tokenizer)

        def read(sample: Sample) -> Reading:
            # All rewards read English responses under this prompt.
            asked = prompt_ids(loaded.tokenizer, cross_lingual(sample.instruction, "en"))
            return Reading(asked, [each.token_ids for each in sample.responses], None)

        path = stage.out / "en.jsonl"
        budget, keep, label = Budget(config.batch_tokens), config.keep_tokens, stage.name
        work = logps_file(loaded, samples, read, path, budget, keep_tokens=keep, label=label)
        share_out([work], models=[loaded.model, loaded.ref_model])
        if processes.is_main():
            labelled = _scored(run, samples, places, path)
            gate = fit_gate(labelled, seed=run.preset.seed)
            write_json(_file(here), asdict(gate))
            views = views_of(split_scorers(config.scorers))
            weights = [f"{name} {a:+.2f}" for name, a in zip(views, gate.a, strict=True)]
            said = f"{stage.name}: {', '.join(weights)}; of conflict {gate.b:+.2f}"
            out = len(samples) - len(labelled)
            said += f"; {out} prompts left out, longer than the context" if out else ""
            print(said, flush=True)

    return stage.make(make)


def inputs(here: Iteration) -> list[Path]:
    """The gate of an iteration's scores; none where no score needs one."""
    return [_file(here)] if "gate" in split_scorers(here.run.preset.scoring.scorers) else []


def read_gate(here: Iteration) -> Gate | None:
    for path in inputs(here):
        values = read_json(path)
        return Gate(tuple(values["a"]), values["b"])
    return None


def folder(here: Iteration) -> Path:
    """Of an iteration's own scores and of the shared ones alike."""
    return here.run.iteration(here.number).folder / "gate"


def _file(here: Iteration) -> Path:
    return folder(here) / "gate.json"


def _labelled(
    path: Path, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Sample], dict[str, Places]]:
    """The first prompts' preferences: each text once as a response, and which is better."""
    by_prompt: dict[str, list[Pair]] = {}
    for pair in each_record(path, Pair):
        by_prompt.setdefault(pair.prompt_id, []).append(pair)
    samples = []
    places: dict[str, Places] = {}
    for prompt_id, pairs in islice(by_prompt.items(), PROMPTS):
        asked = pairs[0].instruction
        ids: dict[str, list[int] | None] = {}
        for pair in pairs:
            ids.setdefault(pair.chosen, pair.chosen_ids)
            ids.setdefault(pair.rejected, pair.rejected_ids)
        responses = [
            Response(text, known or response_ids(tokenizer, asked, text), "stop")
            for text, known in ids.items()
        ]
        order = list(ids)
        places[prompt_id] = [
            (order.index(pair.chosen), order.index(pair.rejected)) for pair in pairs
        ]
        samples.append(Sample(prompt_id, "en", "train", asked, responses))
    return samples, places


def _scored(
    run: Run, samples: list[Sample], places: dict[str, Places], path: Path
) -> list[Labelled]:
    """What the gate is fitted to; without prompts of which a response could not be read."""
    config = run.preset.scoring
    views = views_of(split_scorers(config.scorers))
    reads = {SCORERS[name].reads for name in views}
    logps = {record.prompt_id: record for record in read_records(path, Logps)}
    prompts = []
    for sample in samples:
        read = dict.fromkeys(reads, logps[sample.prompt_id])
        seed, gamma = run.preset.seed, config.gamma
        score = score_sample(sample, read, views, beta=config.beta, seed=seed, gamma=gamma)
        if not score.failures:
            columns = np.array([score.scores[name] for name in views], float)
            prompts.append(Labelled(columns, places[sample.prompt_id]))
    return prompts
