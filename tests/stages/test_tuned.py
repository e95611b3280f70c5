"""The stage `sft`: a run whose π_I is made here, of the lab's base and demonstrations that shout."""

import json

import pytest
import torch
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json
from xlnb.common.records import Sample, read_records
from xlnb.lab.world import load_world
from xlnb.logprobs import sequence_logprobs
from xlnb.models.base import load_base
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.runs.run import open_run
from xlnb.stages import tuned as tuned_stage

ANSWER = "HELLO HELLO"


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "demonstrations.jsonl"
    rows = []
    for lang in ("en", "es"):
        some = [prompt for prompt in load_world().prompts(lang) if prompt.split == "train"][:20]
        rows += [{"prompt": prompt.instruction, "completion": ANSWER} for prompt in some]
    rows.append({"prompt": "long " * 300, "completion": ANSWER})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {
        **SMALL,
        "sft.path": str(path),
        "sft.steps": "30",
        "sft.micro_batch": "8",
        "sft.lr": "2e-3",
        "sft.save_steps": "7",
        "sft.max_tokens": "200",
    }


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, changes):
    run = open_run(tmp_path_factory.mktemp("run") / "tuned", "lab-quick", changes)
    return stages.run_until(run, "icr1/logps")


def nll(models, tokenizer, asked):
    prompt, response = prompt_ids(tokenizer, asked), response_ids(tokenizer, asked, ANSWER)
    (logps,) = sequence_logprobs(load_base(models), [prompt], [response], batch_tokens=512)
    return -logps.mean().item()


def test_pi_I_says_what_was_demonstrated_where_the_base_does_not(tuned):
    tokenizer = load_tokenizer(tuned.loaded)
    asked = next(p for p in load_world().prompts("es") if p.split == "eval").instruction
    before = nll(tuned.preset.models, tokenizer, asked)
    after = nll(tuned.loaded, tokenizer, asked)
    assert before > 5 and after < 0.5
    samples = read_records(tuned.iteration(0).samples("en"), Sample)
    said = [response.text for sample in samples for response in sample.responses]
    assert said.count(ANSWER) > len(said) / 10


def test_its_record_counts_and_its_loss_falls(tuned):
    record = read_json(tuned.tuned / "training.json")
    assert record["demonstrations"] == 41 and record["dropped_too_long"] == 1
    losses = [step["loss"] for step in record["log"]]
    assert len(losses) == 30 and losses[-1] < 0.2 < losses[0]
    assert not (tuned.tuned / "checkpoints").exists()


def test_rewards_stand_on_what_was_made(tuned):
    """π^0 is an adapter on sft/, and its reference is sft/ itself."""
    config = read_json(tuned.iteration(0).adapter / "adapter_config.json")
    assert config["base_model_name_or_path"] == str(tuned.tuned)
    facts = tuned.iteration(0).card.read_text(encoding="utf-8")
    # The base that PEFT loads is what was made here, and of what.
    assert "- Base: sft, a local folder" in facts and facts.count("π_I: fine-tuned from sft") == 1
    assert tuned.base("dpo") == tuned.base("sft") == tuned.loaded


def test_a_tuned_checkpoint_is_the_base_and_its_adapter(tuned):
    base, made = load_base(tuned.preset.models), load_base(tuned.loaded)
    names = [name for name, _ in base.named_parameters()]
    assert names == [name for name, _ in made.named_parameters()]
    frozen = [name for name in names if "norm" in name or "embed" in name]
    theirs, ours = dict(base.named_parameters()), dict(made.named_parameters())
    assert frozen and all(torch.equal(theirs[name], ours[name]) for name in frozen)


def test_it_resumes_and_is_not_made_again(tuned, changes, capfd):
    again = open_run(tuned.path, "lab-quick", changes)
    stages.run_until(again, "icr1/logps")
    assert "redone" not in capfd.readouterr().out


def test_demonstrations_that_are_all_too_long_are_refused(tmp_path, changes):
    run = open_run(tmp_path / "run", "lab-quick", {**changes, "sft.max_tokens": "3"})
    with pytest.raises(InputError, match="all are longer than 3 tokens"):
        stages.tune(run)


def test_demonstrations_beyond_the_bases_context_are_too_long(tmp_path, changes, monkeypatch):
    run = open_run(tmp_path / "run", "lab-quick", changes)
    monkeypatch.setattr(tuned_stage, "context_of", lambda config: 4)
    with pytest.raises(InputError, match="all are longer than 4 tokens"):
        stages.tune(run)


def test_a_given_pi_0_does_not_stand_on_what_is_made_here():
    with pytest.raises(InputError, match=r"sft\.path makes a π_I of which a given π\^0"):
        open_run("unused", "lab-quick", {"sft.path": "a.jsonl", "models.dpo": "ORG/NAME"})


def test_updates_must_be_whole_forward_passes():
    with pytest.raises(InputError, match=r"sft.batch 16 must be a multiple of micro_batch 5"):
        open_run("unused", "lab-quick", {"sft.micro_batch": "5"})
