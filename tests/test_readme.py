"""What the README shows of extending the kit works as it stands there."""

import re

import torch
import yaml

from xlnb import stages
from xlnb.common.files import ROOT
from xlnb.common.journal import Journal
from xlnb.common.records import Prompt, Response, Sample, read_records
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.inputs.sources import READERS
from xlnb.judges.asking import ask_consent, judge_records
from xlnb.judges.registry import JUDGES, get_judge
from xlnb.losses import LOSSES, PairLogps
from xlnb.presets import get_preset
from xlnb.rewards import SCORERS, score_sample
from xlnb.runs.run import open_run
from xlnb.sampling import SAMPLERS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language, holds):
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (text,) = [text for text in found if holds in text]
    assert len(text.splitlines()) < 20
    return text


def test_a_score(monkeypatch):
    monkeypatch.setattr("xlnb.rewards.SCORERS", dict(SCORERS))
    exec(block("python", "fewest_words"), {})
    responses = [Response("one two", [1], "stop"), Response("one", [1], "stop")]
    sample = Sample("p", "es", "train", "?", responses)
    score = score_sample(sample, {}, ["fewest_words"], beta=0.1, seed=0)
    assert score.scores == {"fewest_words": [-2.0, -1.0]}


def test_a_loss(monkeypatch, tmp_path):
    monkeypatch.setattr("xlnb.losses.LOSSES", dict(LOSSES))
    space = {}
    exec(block("python", "ipo"), space)
    pairs = PairLogps(torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.5]))
    # The margin is 0.5 + 0.5, and 1/(2β) is 1.
    assert space["LOSSES"]["ipo"].of_pairs(pairs, 0.5).losses.tolist() == [0.0]
    assert open_run(tmp_path / "run", "lab-quick", {"training.loss": "ipo"})


def test_a_judge(monkeypatch, tmp_path):
    monkeypatch.setattr("xlnb.judges.registry.JUDGES", dict(JUDGES))
    exec(block("python", "Shorter"), {})
    run = open_run(tmp_path / "run", "lab-quick", {"evaluation.judge": "shorter"})
    judge = get_judge(run.preset.evaluation.judge, run.preset)
    asked = [
        Annotation(prompt_id=first, output_1=first, output_2=second, preference=None)
        for first, second in (("long", "s"), ("s", "long"), ("same", "same"))
    ]
    ask_consent(judge, asked, price=1.0, yes=False)
    judged = judge_records(judge, asked, Journal(tmp_path / "en.jsonl"), label="judge")
    assert [one.preference for one in judged] == [2, 1, 1.5]
    assert [one.said for one in judged] == [{"chars_more": n} for n in (-3, 3, 0)]


def test_a_source_of_prompts(monkeypatch, tmp_path):
    monkeypatch.setattr("xlnb.inputs.sources.READERS", list(READERS))
    exec(block("python", "Lines"), {})
    questions = tmp_path / "questions.txt"
    questions.write_text("One?\nTwo?\n", encoding="utf-8")
    overrides = {"prompts.path": f"{questions},en=line"}
    run = open_run(tmp_path / "run", "lab-quick", overrides | {"prompts.langs": ""})
    stages.collect_prompts(run)
    prompts = read_records(run.prompts / "en.jsonl", Prompt)
    assert [prompt.instruction for prompt in prompts] == ["One?", "Two?"]
    questions.write_text("Three?\n", encoding="utf-8")
    stages.collect_prompts(run)
    (prompt,) = read_records(run.prompts / "en.jsonl", Prompt)
    assert prompt.instruction == "Three?"


def test_a_back_end(monkeypatch, tmp_path):
    monkeypatch.setitem(SAMPLERS, "parrot", None)
    exec(block("python", "Parrot"), {})
    run = open_run(tmp_path / "run", "lab-quick", {"sampling.backend": "parrot"})
    stages.collect_prompts(run)
    stages.sample(run, 0)
    samples = read_records(run.iteration(0).samples("en"), Sample)
    assert len(samples) == run.preset.lab.english
    for each in samples:
        assert len(each.responses) == run.preset.sampling.n
        assert each.instruction in each.responses[0].text


def test_a_preset_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml", "base: lab"), encoding="utf-8")
    values = yaml.safe_load(path.read_text())
    assert values["base"] == "lab"
    preset = get_preset(str(path))
    assert (preset.name, preset.training.lr, preset.sampling.n) == ("mine", 2e-5, 4)
