"""Published prompts through the lab's model: the text that comes out is worthless, the plumbing is
not."""

import json
import os
from pathlib import Path

import pytest

from xlnb import stages
from xlnb.common.files import ROOT, read_json, read_jsonl
from xlnb.inputs.parallel_prompts import read_parallel
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.presets import PRESETS
from xlnb.runs.run import open_run

PUBLISHED = Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not (PUBLISHED / "parallel_prompts").is_dir(),
    reason="published prompts not there: set XLNB_PUBLISHED_DATA",
)
FOLDERS = [("parallel_prompts", 9, 1000), ("x_alpacaeval/prompts", 13, 805)]


@pytest.mark.parametrize(("folder", "langs", "n"), FOLDERS)
def test_every_prompt_is_templated_unharmed(folder, langs, n):
    """Loading, the id join and the chat template over all prompts: what the model reads is
    what was written."""
    parallel = read_parallel(PUBLISHED / folder)
    assert len(parallel) == langs
    ids = [record["prompt_id"] for record in parallel["en"]]
    assert len(set(ids)) == n
    tokenizer, longest = load_tokenizer(PRESETS["lab"].models), 0
    for records in parallel.values():
        assert [record["prompt_id"] for record in records] == ids
        for record in records:
            tokens = prompt_ids(tokenizer, record["instruction"])
            longest = max(longest, len(tokens))
            assert tokens.count(tokenizer.bos_token_id) == 1
            expected = f"<|begin|><|user|>{record['instruction']}<|end|><|assistant|>"
            assert tokenizer.decode(tokens, skip_special_tokens=False) == expected
    assert longest > 2000


def test_sampling_and_scoring(tmp_path):
    """The shortest path through every stage up to rewards, on all languages; a prompt of 3,000
    tokens is among them."""
    overrides = {
        "prompts.path": str(_long_and_short(tmp_path / "train")),
        "prompts.eval_path": str(PUBLISHED / "x_alpacaeval/prompts"),
        "prompts.limit": "3",
        "prompts.parts": "0",
        "prompts.langs": "",
        "lab.english": "8",
        "sampling.n": "2",
        "sampling.max_new_tokens": "32",
        "evaluation.max_new_tokens": "8",
        "iterations": "1",
    }
    run = open_run(tmp_path / "run", "lab-quick", overrides)
    names = [step.name for step in stages.steps(run)]
    assert names[-1] == "eval/icr1/responses"  # no judge knows these prompts
    stages.run_until(run, "icr1/scores")
    for lang in ("en", "bn", "th", "zh", "sw"):
        samples = read_jsonl(run.path / f"icr1/samples/{lang}.jsonl")
        scores = read_jsonl(run.path / f"icr1/scores/{lang}.jsonl")
        assert [r["prompt_id"] for r in samples] == [r["prompt_id"] for r in scores]
        assert len(samples) == 3
        assert all(len(r["scores"]["cross_lingual"]) == 2 for r in scores)
    stages.respond(run, "sft")
    outputs = [read_json(path) for path in sorted(run.path.glob("eval/sft/*/model_outputs.json"))]
    assert len(outputs) == 13
    assert all(
        [record["id"] for record in output] == [r["id"] for r in outputs[0]] for output in outputs
    )


def _long_and_short(folder: Path) -> Path:
    """Three of the published prompts in each language; the first has 3,000 tokens in
    Bengali, or the next fewer."""
    parallel, tokenizer = (
        read_parallel(PUBLISHED / "parallel_prompts"),
        load_tokenizer(PRESETS["lab"].models),
    )
    lengths = {r["prompt_id"]: len(prompt_ids(tokenizer, r["instruction"])) for r in parallel["bn"]}
    long = max(
        (prompt_id for prompt_id in lengths if lengths[prompt_id] <= 3000), key=lambda p: lengths[p]
    )
    assert lengths[long] > 2000
    folder.mkdir()
    for lang, records in parallel.items():
        kept = [r for r in records if r["prompt_id"] == long] + [
            r for r in records if r["prompt_id"] != long
        ][:2]
        lines = [
            json.dumps({"instruction": r["instruction"], "instruction_id": r["prompt_id"]})
            for r in kept
        ]
        (folder / f"{lang}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder
