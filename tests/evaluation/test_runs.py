"""Several responses a prompt: the mean of prompts' means, and its error in two parts."""

import json
import math

import numpy as np
import pytest

from xlnb.common.errors import InputError
from xlnb.common.journal import Journal
from xlnb.evaluation.alpaca_eval import Output, write_records
from xlnb.evaluation.annotations import read_judged
from xlnb.evaluation.comparisons import read_comparisons
from xlnb.evaluation.runs import split_error
from xlnb.evaluation.summaries import summarise
from xlnb.evaluation.tables import to_json
from xlnb.judges.asking import judge_records
from xlnb.winrates import win_rate


def annotation(prompt_id, run, preference, output="text", **more):
    given = {"id": prompt_id, "run": run, "lang": "en", "output_1": "base", "output_2": output}
    texts = {name: value for name, value in given.items() if value}
    return texts | {"preference": preference} | more


def judged(path, annotations):
    path.write_text(json.dumps(annotations))
    return read_judged(path, "mine", "en")


def test_by_hand():
    # Means 2, 1 and 1.5, whose variance is 1/4; within them 0, 0 and 1/2, pooled 1/6.
    prompts, sampling = split_error([[2, 2], [1, 1], [1, 2]])
    assert sampling == pytest.approx(100 * math.sqrt(1 / 6 * 3 / 2) / 3)
    assert prompts == pytest.approx(100 * math.sqrt(1 / 12 - 1 / 6 * 3 / 2 / 9))
    assert np.isnan(split_error([[2], [1]])).all() and np.isnan(split_error([[1, 2]])).all()
    # What was not judged is not there.
    assert split_error([[2, 2, math.nan], [1, 1], [math.nan]])[1] == 0


def test_the_parts_are_those_of_the_draws():
    # Prompts of which the model wins a share, evenly from 0 to 1: of variance 1/12, and 1/6 within.
    stream = np.random.default_rng(0)
    found = []
    for _ in range(200):
        shares = stream.uniform(0, 1, 100)
        wins = stream.random((100, 4)) < shares[:, None]
        preference = 1.0 + wins
        prompts, sampling = split_error(preference)
        _, total = win_rate(preference.mean(1))
        assert total**2 == pytest.approx(prompts**2 + sampling**2)
        found.append((prompts, sampling))
    of_prompts, of_sampling = np.mean(found, 0)
    assert of_prompts == pytest.approx(100 * math.sqrt(1 / 12 / 100), rel=0.03)
    assert of_sampling == pytest.approx(100 * math.sqrt(1 / 6 / 400), rel=0.03)


def test_a_win_rate_is_the_mean_of_prompts_means(tmp_path):
    rows = [
        annotation("a", 1, 2, "four", score_2=1.0),
        annotation("a", 2, 1, "twelve chars", score_2=0.0),
        annotation("b", 1, 2, "four", score_2=1.0),
        annotation("b", 2, None, "four", score_2=0.5),
    ]
    found = judged(tmp_path / "annotations.json", rows)
    assert (found.prompt, found.preference) == (["a", "b"], [1.5, 2.0])
    assert (found.len_output, found.score) == ([8.0, 4.0], [0.5, 0.75])
    entry = summarise(found, resamples=50)
    assert (entry["wr"], entry["n"], entry["runs"]) == (75.0, 2, 2)
    shown = json.loads(to_json({"mine": {"en": entry}}))["mine"]["en"]
    assert shown["wr_se_sampling"] == entry["wr_se_sampling"] > 0


def test_one_response_a_prompt_is_as_ever(tmp_path):
    rows = [annotation("a", None, 2), annotation("b", None, 1)]
    found = judged(tmp_path / "annotations.json", rows)
    assert found.runs is None and "runs" not in summarise(found, resamples=50)
    with pytest.raises(InputError, match="id a is there twice"):
        judged(tmp_path / "annotations.json", [rows[0], rows[0]])
    with pytest.raises(InputError, match="id a#2 is there twice"):
        judged(tmp_path / "annotations.json", [annotation("a", 2, 1)] * 2)


def outputs(path, *texts, run=True):
    records = []
    for number, text in enumerate(texts, 1):
        numbered = number if run else None
        records.append(Output(prompt_id="a", run=numbered, instruction="?", output=text))
    write_records(path, records)
    return path


def test_responses_are_compared_run_by_run_and_all_with_a_baselines_only_one(tmp_path):
    mine = outputs(tmp_path / "mine.json", "one", "three")
    theirs = outputs(tmp_path / "theirs.json", "five", "six")
    both = read_comparisons(mine, theirs, "en", annotator="oracle")
    assert [(one.output_1, one.output_2) for one in both] == [("five", "one"), ("six", "three")]
    assert [one.question for one in both] == ["a#1", "a#2"]
    single = outputs(tmp_path / "single.json", "five", run=False)
    asked = read_comparisons(mine, single, "en", annotator="oracle")
    assert [one.output_1 for one in asked] == ["five", "five"]
    with pytest.raises(InputError, match="no output for id 'a'"):
        read_comparisons(single, theirs, "en", annotator="oracle")

    class Longer:
        name = "longer"

        def __call__(self, one):
            return {"preference": 1.0 + (len(one.output_2) > len(one.output_1))}

    answered = judge_records(Longer(), asked, Journal(tmp_path / "en.jsonl"), label="judge")
    assert [one.preference for one in answered] == [1.0, 2.0]
