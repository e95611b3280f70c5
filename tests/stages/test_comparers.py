"""The comparer through the whole path: trained on English pairs, it makes pairs in Spanish."""

import math
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.common.records import Sample, read_records
from xlnb.comparing import LABELS, label_ids, question, win_probabilities
from xlnb.engine.trainer import PreferenceTrainer
from xlnb.logprobs import sequence_logprobs
from xlnb.models.adapters import load_model
from xlnb.models.batches import Budget
from xlnb.models.chat import load_tokenizer, prompt_ids
from xlnb.prompts import cross_lingual
from xlnb.runs.run import open_run
from xlnb.stages import comparers, comparisons
from xlnb.stages.given import check_names
from xlnb.stages.pipeline import steps
from xlnb.stages.sharing import Batch

ASKED = {
    **SMALL,
    "scoring.scorers": "comparer,cross_lingual,likelihood",
    "comparer.steps": "4",
    "comparer.batch": "4",
    "comparer.micro_batch": "4",
    "comparer.save_steps": "2",
}
UNLABELLED = {"comparer.unlabelled_steps": "3", "comparer.opponents": "2"}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("run") / "compared", "lab-quick", ASKED)
    return stages.run_until(run, "icr1/pairs")


def key_of(run, stage):
    return read_json(run.stamp(stage))["key"]


def test_it_learns_from_english_pairs_alone(scored):
    key = key_of(scored, "comparer/adapter")
    assert list(key["inputs"]) == ["dpo/pairs/en.jsonl"]
    assert key["uses"]["comparer"]["label_smoothing"] == 0.05
    assert not {"opponents", "unlabelled_steps"} & key["uses"]["comparer"].keys()
    record = read_json(scored.path / "comparer/adapter/training.json")
    assert record["rows"] == 2 * len(read_jsonl(scored.iteration(0).pairs("en")))
    assert len(record["log"]) == 4
    assert not (scored.path / "comparer/adapter/checkpoints").exists()
    assert not (scored.path / "comparer/unlabelled").exists()


def test_what_is_compared_is_what_a_forward_pass_of_the_question_says(scored):
    here = scored.iteration(1)
    (sample, *_) = read_records(here.samples("es"), Sample)
    (record, *_) = read_jsonl(here.logps("comparer", "es"))
    english = {each["prompt_id"]: each for each in read_jsonl(scored.prompts / "en.jsonl")}
    base = scored.base("sft")
    model = load_model(base, {"comparer": scored.path / "comparer/adapter"})
    tokenizer = load_tokenizer(base)
    asked = cross_lingual(english[sample.prompt_id]["instruction"], "es")
    for first, second in ((0, 1), (1, 0), (2, 1)):
        texts = [sample.responses[place].text for place in (first, second)]
        ids = prompt_ids(tokenizer, question(asked, *texts))
        labels = tokenizer.convert_tokens_to_ids([*LABELS])
        logps = sequence_logprobs(model, [ids] * 2, [[label] for label in labels])
        expected = torch.sigmoid(logps[0] - logps[1]).item()
        assert record["p_first"][first][second] == pytest.approx(expected, abs=1e-4)
    assert [row[i] for i, row in enumerate(record["p_first"])] == [None] * 4


def test_the_score_is_the_mean_over_opponents_and_makes_the_pairs(scored):
    for here in scored.iteration(1).scored:
        compared = read_jsonl(here.logps("comparer", "es"))
        scores = {each["prompt_id"]: each["scores"] for each in read_jsonl(here.scores("es"))}
        for record in compared:
            found = scores[record["prompt_id"]]["comparer"]
            assert found == win_probabilities(record["p_first"])
            assert sum(found) / 4 == pytest.approx(0.5)
    here = scored.iteration(1)
    scores = {record["prompt_id"]: record["scores"] for record in read_jsonl(here.scores("es"))}
    for pair in read_jsonl(here.pairs("es")):
        assert pair["margin"] <= 1
        assert pair["prompt_id"] in scores
    # R_c is compared with the truth on shared responses, and reads no others.
    splits = key_of(scored, "icr1/logps/cross_lingual")["uses"]["splits"]
    assert splits == ["reward"]


def test_an_interrupted_training_goes_on_from_its_checkpoint(scored, tmp_path, monkeypatch):
    shutil.copytree(scored.path, tmp_path / "run")
    run = open_run(tmp_path / "run")
    shutil.rmtree(run.path / "comparer")
    run.stamp("comparer/adapter").unlink()
    compute_loss = PreferenceTrainer.compute_loss

    def interrupted(self, *args, **kwargs):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return compute_loss(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(PreferenceTrainer, "compute_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stages.run_until(run, "comparer")
    checkpoints = {path.name for path in run.path.glob("comparer/adapter/checkpoints/checkpoint-*")}
    assert checkpoints == {"checkpoint-2"}
    stages.run_until(run, "comparer")
    found = [
        folder / "comparer/adapter/adapter_model.safetensors" for folder in (run.path, scored.path)
    ]
    mine, whole = map(load_file, found)
    assert all(torch.equal(mine[name], whole[name]) for name in whole)


def test_one_comparer_serves_all_iterations(scored):
    run = open_run(scored.path, overrides={"iterations": "2"})
    names = [step.name for step in steps(run)]
    assert names.count("comparer") == 1
    assert names.index("icr1/samples") < names.index("comparer")
    assert names.index("comparer") < names.index("icr1/shared/logps")


def test_the_first_part_reads_unlabelled_responses_of_all_languages(scored, tmp_path, capsys):
    shutil.copytree(scored.path, tmp_path / "run")
    run = open_run(tmp_path / "run", overrides=UNLABELLED)
    capsys.readouterr()
    stages.run_until(run, "icr1/scores")
    said = capsys.readouterr().out
    # Neither samples nor rewards are made again.
    redone = {line.split(":")[0] for line in said.splitlines() if "redone" in line}
    compared = {"icr1/logps/comparer", "icr1/shared/logps/comparer"}
    assert redone == {"comparer/adapter", *compared, "icr1/scores", "icr1/shared/scores"}
    key = key_of(run, "comparer/unlabelled")
    files = ["icr1/samples/en.jsonl", "icr1/samples/es.jsonl", "prompts/en.jsonl"]
    assert sorted(key["inputs"]) == files
    record = read_json(run.path / "comparer/unlabelled/training.json")
    train = [each for each in read_jsonl(run.prompts / "en.jsonl") if each["split"] == "train"]
    # half of the prompts, as the iteration's, in two languages
    assert record["rows"] + record["not_read_back"] <= len(train) and len(record["log"]) == 3
    assert record["log"][-1]["loss"] < record["log"][0]["loss"]
    adapters = {}
    for part in ("unlabelled", "adapter"):
        adapters[part] = load_file(run.path / "comparer" / part / "adapter_model.safetensors")
    assert any(
        (adapters["adapter"][name] != old).any() for name, old in adapters["unlabelled"].items()
    )
    (record, *_) = read_jsonl(run.iteration(1).logps("comparer", "es"))
    assert [sum(p is not None for p in row) for row in record["p_first"]] == [2] * 4
    # and with the unlabelled part left out it is what it was
    again = stages.run_until(
        open_run(run.path, overrides={"comparer.unlabelled_steps": "0"}), "comparer"
    )
    was = load_file(scored.path / "comparer/adapter/adapter_model.safetensors")
    now = load_file(again.path / "comparer/adapter/adapter_model.safetensors")
    assert all(torch.equal(was[name], now[name]) for name in was)


def test_questions_that_a_context_does_not_hold_are_not_asked(scored, tmp_path, monkeypatch):
    run = open_run(shutil.copytree(scored.path, tmp_path / "run"))
    tokenizer = load_tokenizer(run.base("sft"))
    english = {each["prompt_id"]: each for each in read_jsonl(run.prompts / "en.jsonl")}
    here = run.iteration(1)

    def length(sample, first, second):
        asked = cross_lingual(english[sample.prompt_id]["instruction"], sample.lang)
        texts = [sample.responses[place].text for place in (first, second)]
        return len(prompt_ids(tokenizer, question(asked, *texts)))

    samples = list(read_records(here.samples("es"), Sample))
    lengths = sorted(length(sample, 0, 1) for sample in samples)
    # the question and the label
    context = lengths[len(lengths) // 2] + 1
    monkeypatch.setattr(comparisons, "context_of", lambda config: context)
    shutil.rmtree(run.path / "icr1/logps/comparer")
    run.stamp("icr1/logps/comparer").unlink()
    stages.logps(run, 1)
    records = read_jsonl(here.logps("comparer", "es"))
    alone = 0
    for sample, record in zip(samples, records, strict=True):
        for i, row in enumerate(record["p_first"]):
            for j, p in enumerate(row):
                ways = ((i, j), (j, i))
                fits = i != j and all(length(sample, *way) < context for way in ways)
                assert (p is not None) == fits
            compared = any(p is not None for p in row)
            failed = (record.get("failures") or [None] * len(row))[i]
            assert failed == (None if compared else "too_long")
            alone += not compared
    assert 0 < alone < 4 * len(records)
    # Those have no score, and make no pair.
    stages.score(run, 1)
    stages.pair(run, 1)
    counted = read_json(here.pair_report)["es"]["dropped_responses"]["not_read"]
    assert counted > 0


def test_a_comparer_is_not_trained_on_more_than_its_context(scored, tmp_path, monkeypatch):
    run = open_run(shutil.copytree(scored.path, tmp_path / "run"))
    shutil.rmtree(run.path / "comparer")
    run.stamp("comparer/adapter").unlink()
    monkeypatch.setattr(comparers, "context_of", lambda config: 10)
    with pytest.raises(InputError, match="all comparisons are longer than 10 tokens"):
        comparers.learn(run)


def test_responses_that_cannot_be_read_back_are_compared_with_none(scored, tmp_path):
    """A sampled text may hold what no text can be given to a model with."""
    run = open_run(shutil.copytree(scored.path, tmp_path / "run"))
    sample = next(iter(read_records(run.iteration(1).samples("es"), Sample)))
    broken = replace(sample.responses[1], text="No \ufdd0.")
    sample = replace(sample, responses=[sample.responses[0], broken, *sample.responses[2:]])
    tokenizer = load_tokenizer(run.base("sft"))
    english = comparers.english(run)
    loaded = comparisons.Loaded(
        load_model(run.base("sft"), {"comparer": comparers.adapter(run)}),
        tokenizer,
        label_ids(tokenizer),
        english,
        0,
        math.inf,
        Budget(1024),
    )
    (record,) = comparisons._compared(loaded, Batch(0, [sample]))
    assert record.failures == [None, "not_read_back", None, None]
    assert record.p_first[1] == [None] * 4 and record.p_first[0][1] is None
    assert record.p_first[0][2] is not None
    small = loaded._replace(context=10)
    (record,) = comparisons._compared(small, Batch(0, [sample]))
    assert record.p_first == [[None] * 4] * 4
    thought = [replace(one, thinking="Hm.") for one in sample.responses[1:]]
    alone = replace(sample, responses=[sample.responses[0], *thought])
    (record,) = comparisons._compared(loaded, Batch(0, [alone]))
    assert record.failures == ["alone"] + ["thinking"] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models.dpo": "ORG/NAME"}, r"comparer is fitted to the English .* given; leave it out$"),
        (
            {"scoring.scorers": "gate,comparer,likelihood"},
            r"gate would weigh the comparer by pairs",
        ),
        ({"comparer.opponents": "3"}, r"^comparer\.opponents=3: expected an even number"),
        ({"comparer.batch": "6"}, r"^comparer\.batch 6 must be a multiple of micro_batch 4$"),
    ],
)
def test_what_it_does_not_go_with_is_refused_before_anything_is_made(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "run", "lab-quick", {**ASKED, **changes})
    assert not (tmp_path / "run").exists()


def test_responses_from_a_file_are_not_compared():
    with pytest.raises(InputError, match=r"^score 'comparer' compares responses of a run's own"):
        check_names("comparer")
