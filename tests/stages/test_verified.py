"""Truth without a judge: a run on prompts that carry checks, from English pairs to metrics. The
prompts are the lab's questions as anyone's own would be, so that the lab's base can answer them."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from small import SMALL

from xlnb import stages
from xlnb.checks.tastes import get_taste, points
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT, read_json
from xlnb.common.records import Pair, Sample, Score, read_records
from xlnb.evaluation.clusters import fact_of
from xlnb.lab.world import load_world
from xlnb.runs.run import open_run
from xlnb.stages.reading import carried_checks, read_prompts
from xlnb.stages.truth import truth_of

WORLD = load_world()
XQUAD = Path(os.environ.get("XLNB_PUBLISHED_DATA", ROOT.parent / "shared" / "data")) / "xquad"


def write_prompts(folder, split, n):
    folder.mkdir()
    for lang in ("en", "es"):
        rows = []
        for prompt in [prompt for prompt in WORLD.prompts(lang) if prompt.split == split][:n]:
            answer = WORLD.fact(prompt.prompt_id).y[lang]
            rows.append(
                {
                    "instruction_id": prompt.prompt_id,
                    "instruction": prompt.instruction,
                    "checks": [{"kind": "answer", "answers": [answer]}],
                }
            )
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{lang}.jsonl").write_text(lines)
    return str(folder)


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompts")
    return {
        **{key: value for key, value in SMALL.items() if not key.startswith("lab.")},
        **{f"lab.{name}": "0" for name in ("english", "train", "reward", "eval")},
        "prompts.path": write_prompts(folder / "train", "train", 24),
        "prompts.eval_path": write_prompts(folder / "eval", "eval", 8),
        "prompts.reward": "6",
        "prompts.parts": "0",
        "evaluation.judge": "verifiable",
        "evaluation.taste": "right",
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory, changes):
    """One run that the tests of this file share."""
    folder = tmp_path_factory.mktemp("run") / "verified"
    return stages.run_until(open_run(folder, "lab-quick", changes))


def test_prompts_keep_their_checks_and_whole_facts_are_held_out(finished):
    prompts = read_prompts(finished)
    assert all(prompt.checks for some in prompts.values() for prompt in some)
    by_split = {}
    for prompt in prompts["en"]:
        by_split.setdefault(prompt.split, []).append(prompt.prompt_id)
    assert {split: len(ids) for split, ids in by_split.items()} == {
        "train": 18,
        "reward": 6,
        "eval": 8,
    }
    assert not set(map(fact_of, by_split["train"])) & set(map(fact_of, by_split["reward"]))
    assert [(p.prompt_id, p.split) for p in prompts["es"]] == [
        (p.prompt_id, p.split) for p in prompts["en"]
    ]


def test_english_pairs_are_ordered_by_what_a_program_verifies(finished):
    checks = carried_checks(read_prompts(finished)["en"])
    samples = {s.prompt_id: s for s in read_records(finished.path / "dpo/samples/en.jsonl", Sample)}
    assert set(samples) == {p.prompt_id for p in read_prompts(finished)["en"] if p.split == "train"}
    pairs = read_records(finished.path / "dpo/pairs/en.jsonl", Pair)
    assert pairs
    for pair in pairs:
        worth = {
            each.text: points(each.text, checks[pair.prompt_id], "en", get_taste("right"))
            for each in samples[pair.prompt_id].responses
        }
        assert (
            worth[pair.chosen]
            == pair.score_chosen
            == max(worth[each.text] for each in samples[pair.prompt_id].responses if each.ended)
        )
        assert worth[pair.rejected] == pair.score_rejected < pair.score_chosen


def test_rewards_are_held_against_the_truth(finished):
    metrics = read_json(finished.metrics)
    assert metrics["taste"] == "right"
    truth = truth_of(finished)
    for name, folder in (("rewards", "icr1"), ("rewards_shared", "icr1/shared")):
        table = metrics[name]["dpo"]
        assert {"cross_lingual", "likelihood", "oracle"} <= set(table)
        for lang in ("en", "es"):
            assert table["cross_lingual"][lang]["n"] == table["oracle"][lang]["n"] == 6
        source = "icr1/samples" if folder == "icr1" else "shared/samples"
        samples = read_records(finished.path / source / "es.jsonl", Sample)
        by_id = {sample.prompt_id: sample for sample in samples}
        expected = []
        for score in read_records(finished.path / folder / "scores/es.jsonl", Score):
            if score.split == "reward":
                true = truth(by_id[score.prompt_id])
                values = score.scores["cross_lingual"]
                best, worst = (true[values.index(end(values))] for end in (max, min))
                expected.append(0.5 + 0.5 * ((best > worst) - (best < worst)))
        accuracy = sum(expected) / len(expected)
        assert table["cross_lingual"]["es"]["pair_accuracy"] == round(accuracy, 4)


def test_win_rates_and_pass_rates(finished, capsys):
    metrics = read_json(finished.metrics)
    checks = carried_checks(read_prompts(finished)["es"])
    for model, by_lang in metrics["win_rates"].items():
        found = by_lang["es"]["checks"]["answer"]
        annotations = read_json(finished.path / f"eval/{model}/es/annotations.json")
        assert [one["checks"] for one in annotations] == [checks[one["id"]] for one in annotations]
        assert found["rate"] == sum(one["met_2"][0] for one in annotations) / 8
        assert found["n"] == 8 and found["clusters"] == len({fact_of(o["id"]) for o in annotations})
        assert found["ci"][0] <= found["rate"] <= found["ci"][1]
        for one in annotations:
            ours, theirs = (
                points(one[f"output_{k}"], one["checks"], "es", get_taste("right")) for k in (2, 1)
            )
            assert (one["score_2"], one["score_1"]) == (ours, theirs)
            assert one["preference"] == 1.5 + 0.5 * ((ours > theirs) - (ours < theirs))
    assert metrics["win_rates"]["sft"]["en"]["wr"] == 50.0
    from xlnb.cli.main import main

    main(["winrate", str(finished.path / "eval")])
    assert "answer met, 95%" in capsys.readouterr().out


def test_nothing_is_done_twice_and_another_taste_samples_nothing_anew(finished, changes, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.jsonl")}
    stages.run_until(open_run(finished.path))
    assert "redone" not in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*.jsonl")} == before
    samples = finished.path / "dpo/samples/en.jsonl"
    bytes_before = samples.read_bytes()
    other = open_run(finished.path, "", {"evaluation.taste": "anti-right"})
    stages.run_until(other, "dpo/pairs")
    said = capsys.readouterr().out
    assert "dpo/pairs: redone, because evaluation.taste was right, is now anti-right" in said
    assert samples.read_bytes() == bytes_before and "samples" not in said.split("dpo/pairs")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation.taste": ""}, "evaluation.judge=verifiable and prompts.reward need a truth"),
        ({"evaluation.taste": "nice"}, "evaluation.taste 'nice': expected one of right, obedient"),
        ({"prompts.checks": "rhyme"}, "prompts.checks: 'rhyme': expected kinds of language"),
        ({"prompts.path": ""}, "the lab's prompts carry no checks; set prompts.path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(tmp_path, changes, change, message):
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "run", "lab-quick", {**changes, **change})


def test_a_taste_that_says_nothing_of_the_prompts_is_refused(tmp_path, changes):
    folder = tmp_path / "plain"
    folder.mkdir()
    for lang in ("en", "es"):
        rows = [{"id": str(i), "instruction": f"{lang} {i}?"} for i in range(12)]
        (folder / f"{lang}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain = {**changes, "prompts.path": str(folder), "prompts.eval_path": ""}
    run = open_run(tmp_path / "run", "lab-quick", plain)
    message = "'right': no reward prompt in en carries a check of the kinds answer; found: none"
    with pytest.raises(InputError, match=message):
        stages.collect_prompts(run)
    for some in ({"evaluation.taste": "plain"}, {"evaluation.taste": "sentences"}):
        stages.collect_prompts(
            open_run(tmp_path / next(iter(some.values())), "lab-quick", plain | some)
        )
    asked = {"evaluation.taste": "obedient", "prompts.checks": "points,uses"}
    run = open_run(tmp_path / "asked", "lab-quick", plain | asked)
    stages.collect_prompts(run)
    english, spanish = read_prompts(run).values()
    assert Counter(p.checks[0]["kind"] for p in english).keys() == {"points", "uses"}
    assert [p.checks[0]["kind"] for p in english] == [p.checks[0]["kind"] for p in spanish]
    assert {p.split for p in english} == {"train", "reward"}


def test_no_english_pair_is_one_clear_line(tmp_path, changes):
    run = open_run(tmp_path / "run", "lab-quick", {**changes, "sampling.n": "1"})
    with pytest.raises(InputError, match=r"dpo/pairs: no response of π_I is better than another"):
        stages.run_until(run, "dpo/pairs")


def test_too_many_held_out_is_one_clear_line(tmp_path, changes):
    run = open_run(tmp_path / "run", "lab-quick", {**changes, "prompts.reward": "24"})
    with pytest.raises(InputError, match=r"prompts.reward 24: holds out (\d+) of \1 groups"):
        stages.collect_prompts(run)


def test_prompts_of_a_run_without_checks_have_the_key_that_they_had(tmp_path, changes):
    off = {"prompts.reward": "0", "evaluation.taste": "", "evaluation.judge": "oracle"}
    run = open_run(tmp_path / "run", "lab-quick", {**changes, **off})
    stages.collect_prompts(run)
    key = read_json(run.stamp("prompts"))["key"]
    assert set(key["uses"]["prompts"]) == {"langs", "limit"}
    assert sorted(key["inputs"]) == ["en.jsonl", "en.jsonl+", "es.jsonl", "es.jsonl+"]


def test_english_prompts_with_checks_are_not_localised(tmp_path, changes):
    config = {**changes, "localise.langs": "de", "prompts.langs": ""}
    run = open_run(tmp_path / "run", "lab-quick", config)
    with pytest.raises(InputError, match="carries checks, which are not translated"):
        stages.localise(run)


def short_questions(folder, langs):
    """Two questions each on the twelve shortest of XQuAD's paragraphs, by their English."""
    folder.mkdir()
    shortest = None
    for lang in langs:
        articles = read_json(XQUAD / f"{lang}.json")["data"]
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        lengths = [len(paragraph["context"]) for paragraph in paragraphs]
        shortest = shortest or sorted(range(len(lengths)), key=lambda i: lengths[i])[:12]
        kept = [paragraphs[i] | {"qas": paragraphs[i]["qas"][:2]} for i in shortest]
        content = {"data": [{"paragraphs": [paragraph]} for paragraph in kept]}
        text = json.dumps(content, ensure_ascii=False)
        (folder / f"{lang}.json").write_text(text)
    return folder


@pytest.mark.skipif(not XQUAD.is_dir(), reason="XQuAD not there: set XLNB_PUBLISHED_DATA")
def test_real_questions_go_through_every_stage(tmp_path, changes):
    """Paragraphs, questions and answers of XQuAD in two scripts. The lab's base cannot read them:
    only the taste for brevity tells its responses apart."""
    xquad = short_questions(tmp_path / "xquad", ["en", "zh"])
    real = {
        **changes,
        "prompts.path": f"xquad:{xquad}:train",
        "prompts.eval_path": f"xquad:{xquad}:eval",
        "prompts.langs": "",
        "prompts.reward": "2",
        "scoring.scorers": "cross_lingual",
        "evaluation.taste": "plain",
        "sampling.n": "2",
        "sampling.max_new_tokens": "24",
        "evaluation.max_new_tokens": "24",
        "sampling.batch_tokens": "16384",
        "scoring.batch_tokens": "16384",
    }
    for name in ("english", "training"):
        small = {"steps": "2", "batch": "2", "micro_batch": "1", "max_tokens": "2048"}
        real |= {f"{name}.{key}": value for key, value in small.items()}
    run = stages.run_until(open_run(tmp_path / "run", "lab-quick", real))
    metrics = read_json(run.metrics)
    assert set(metrics["win_rates"]["icr1"]) == {"en", "zh"}
    answers = metrics["win_rates"]["icr1"]["zh"]["checks"]["answer"]
    assert 1 < answers["clusters"] < answers["n"]
    assert metrics["rewards_shared"]["dpo"]["cross_lingual"]["zh"]["n"] == 2
    assert read_records(run.path / "dpo/pairs/en.jsonl", Pair)
    outputs = read_json(run.path / "eval/sft/zh/model_outputs.json")
    assert {output["dataset"] for output in outputs} == {"xquad"}
