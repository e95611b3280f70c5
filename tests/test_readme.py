"""What the README shows of extending the kit works as it stands there."""

import re

import torch
import yaml

from xlnb.common.files import ROOT
from xlnb.common.records import Response, Sample
from xlnb.losses import LOSSES, PairLogps
from xlnb.presets import get_preset
from xlnb.rewards import SCORERS, score_sample

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


def test_a_loss(monkeypatch):
    monkeypatch.setattr("xlnb.losses.LOSSES", dict(LOSSES))
    space = {}
    exec(block("python", "ipo"), space)
    pairs = PairLogps(torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.5]))
    # The margin is 0.5 + 0.5, and 1/(2β) is 1.
    assert space["LOSSES"]["ipo"].of_pairs(pairs, 0.5).losses.tolist() == [0.0]


def test_a_preset_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(block("yaml", "base: lab"), encoding="utf-8")
    values = yaml.safe_load(path.read_text())
    assert values["base"] == "lab"
    preset = get_preset(str(path))
    assert (preset.name, preset.training.lr, preset.sampling.n) == ("mine", 2e-5, 4)
