"""Pass rates by hand, their intervals, and what the table shows of them."""

import json

import numpy as np
import pytest

from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.evaluation.annotations import read_annotations
from xlnb.evaluation.pass_rates import pass_rates

ANSWER = [{"kind": "answer", "answers": ["Paris"]}]
BOTH = [*ANSWER, {"kind": "words_at_most", "n": 2}]


def test_rates_by_hand():
    met = [[("a", True), ("b", False)], [("a", True)], [("a", False), ("a", True)], []]
    found = pass_rates(met, ["p", "p", "q", "r"], resamples=500)
    assert (found["a"]["rate"], found["a"]["n"], found["a"]["clusters"]) == (0.75, 4, 2)
    # Drawn are p (1, 1) and q (0, 1): both p, both q, or one of each.
    assert found["a"]["ci"] == [0.5, 1.0]
    assert found["b"] == {"rate": 0.0, "ci": [0.0, 0.0], "n": 1, "clusters": 1}
    assert pass_rates([[]], ["p"]) == {}


def test_an_interval_is_wider_where_prompts_share_a_paragraph():
    values = np.random.default_rng(0).random(40) < 0.5
    met = [[("answer", bool(value))] for value in np.repeat(values, 5)]
    alone = pass_rates(met, list(range(200)))["answer"]
    together = pass_rates(met, np.repeat(range(40), 5).tolist())["answer"]
    assert alone["rate"] == together["rate"]
    assert np.ptp(together["ci"]) > 1.8 * np.ptp(alone["ci"])


def record(prompt_id, output, checks, **more):
    texts = {"output_1": "Berlin", "output_2": output, "checks": checks}
    return {"id": prompt_id, "lang": "en", **texts, "preference": 1.5, **more}


def write(path, records):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(records))
    return path


def test_the_table_shows_a_block_a_kind(tmp_path, capsys):
    mine = [
        record("xquad/1.1/a", "It is Paris", BOTH),
        record("xquad/1.1/b", "Paris", BOTH),
        record("xquad/1.2/a", "London", ANSWER),
        {key: value for key, value in record("xquad/1.2/b", "", None).items() if key != "checks"},
    ]
    write(tmp_path / "mine" / "en" / "annotations.json", mine)
    write(tmp_path / "other" / "en" / "annotations.json", [record("1", "Paris", ANSWER)])
    judged = read_annotations([tmp_path / "mine"])["mine"]["en"]
    assert judged.met == [
        [("answer", True), ("words_at_most", False)],
        [("answer", True), ("words_at_most", True)],
        [("answer", False)],
        [],
    ]
    assert judged.clusters == ["xquad/1.1", "xquad/1.1", "xquad/1.2", "xquad/1.2"]
    main(["winrate", str(tmp_path)])
    text = capsys.readouterr().out
    lines = text.split("answer met, 95%")[1].splitlines()
    assert lines[1].split() == ["mine", "66.7", "[0.0,", "100.0]"]
    assert lines[2].split() == ["other", "100.0", "[100.0,", "100.0]"]
    lines = text.split("words_at_most met, 95%")[1].splitlines()
    assert lines[1].split()[1] == "50.0" and lines[2].split() == ["other", "-"]
    main(["winrate", "--json", str(tmp_path / "mine")])
    found = json.loads(capsys.readouterr().out)["mine"]["en"]
    assert found["checks"]["answer"]["rate"] == pytest.approx(2 / 3)


def test_a_bad_check_in_a_file_of_annotations_is_one_clear_line(tmp_path):
    path = write(tmp_path / "m" / "annotations.json", [record("1", "x", [{"kind": "rhyme"}])])
    with pytest.raises(
        InputError, match=r"annotations.json, record 0: check 1: unknown kind 'rhyme'"
    ):
        read_annotations([path])
