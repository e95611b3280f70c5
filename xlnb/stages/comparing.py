"""One question to every model of a run: their answers side by side, with R_c of each."""

from functools import partial
from typing import NamedTuple

from xlnb.common.errors import InputError
from xlnb.common.records import Response, Sample
from xlnb.lab.world import load_world
from xlnb.models.batches import Budget
from xlnb.models.chat import prompt_ids
from xlnb.rewards import score_sample
from xlnb.runs.layout import Run
from xlnb.sampling import batch_seed
from xlnb.stages.loading import load_sampler, policy_and_reference
from xlnb.stages.logprobs import Loaded, read_sample, sample_logps

# Whose implicit reward is shown: one yardstick for the answers of all models.
YARDSTICK = "dpo"


class Answer(NamedTuple):
    """A model's answer; `reward`: R_c by π^0 in β nats, None where no English question is known."""

    model: str
    text: str
    reward: float | None


def english_question(run: Run, question: str, lang: str) -> str:
    """The question itself in English; of one of the lab's its parallel; else nothing."""
    if lang == "en":
        return question
    if not run.is_lab or lang not in load_world().langs:
        return ""
    ids = {prompt.instruction: prompt.prompt_id for prompt in load_world().prompts(lang)}
    english = {prompt.prompt_id: prompt.instruction for prompt in load_world().prompts("en")}
    return english.get(ids.get(question, ""), "")


def compare(run: Run, question: str, lang: str, english: str, n: int) -> list[Answer]:
    """n samples of each model that the run has made, in the order of its models.

    The sampling settings are the preset's. Raises InputError where π^0 is not there yet.
    """
    config = run.preset.sampling
    answers: list[tuple[str, Response]] = []
    for model in _made(run):
        sampler, tokenizer = load_sampler(run, model)
        (sampled,) = sampler.sample(
            [prompt_ids(tokenizer, question)],
            n=n,
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=config.max_new_tokens,
            seed=batch_seed(run.preset.seed, f"compare {model} {lang}", 0),
        )
        answers += [(model, response) for response in sampled]
    rewards: list[float | None] = [None] * len(answers)
    if english:
        sample = Sample("asked", lang, "eval", question, [response for _, response in answers])
        rewards = _rewards(run, sample, english)
    return [
        Answer(model, response.text, reward)
        for (model, response), reward in zip(answers, rewards, strict=True)
    ]


def _made(run: Run) -> list[str]:
    """The models that are there. Raises InputError where that is π_I alone."""
    found = []
    for model in run.models:
        folder = run.adapter(model)
        if folder is None or (folder / "adapter_config.json").exists():
            found.append(model)
    if found == ["sft"]:
        raise InputError(f"{run.path}: no π^0 yet; run stage train --iteration 0 first")
    return found


def _rewards(run: Run, sample: Sample, english: str) -> list[float | None]:
    loaded = Loaded(run.adapter_name(YARDSTICK), *policy_and_reference(run, YARDSTICK))

    read = partial(read_sample, loaded.tokenizer, "cross_lingual", {sample.prompt_id: english})
    (logps,) = sample_logps(loaded, [sample], read, Budget(run.preset.scoring.batch_tokens))
    score = score_sample(
        sample,
        {"cross_lingual": logps},
        ["cross_lingual"],
        beta=run.preset.scoring.beta,
        seed=run.preset.seed,
    )
    return score.scores["cross_lingual"]
