"""A user's labelled pairs make the run's pairs: nobody's, a terse user's, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from damage import DAMAGED, check_line, damaged, lines_of
from hypothesis import given
from hypothesis import strategies as st
from small import SMALL

from xlnb import stages
from xlnb.common.errors import InputError
from xlnb.common.files import read_json, read_jsonl
from xlnb.common.records import Score
from xlnb.runs.run import open_run
from xlnb.stages import users

PLAIN = {**SMALL, "pairing.alpha": "none"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "plain"
    return stages.run_until(open_run(folder, "lab-quick", PLAIN), "icr1/pairs")


def with_labels(plain, folder, labels, **more):
    """The same run made again for a user of these labels, as far as its pairs."""
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(label) + "\n" for label in labels), encoding="utf-8")
    if not (folder / "run").exists():
        shutil.copytree(plain.path, folder / "run")
    asked = {**PLAIN, "pairing.preference": str(path), **more}
    return stages.run_until(open_run(folder / "run", "lab-quick", asked), "icr1/pairs")


def pairs_of(run):
    found = []
    for path in run.iteration(1).pair_files:
        found += read_jsonl(path)
    return found


def labels_by_length(run, sign, lang="en"):
    """A label a prompt of the shared responses: the longer one is better, or worse."""
    found = []
    for sample in read_jsonl(run.shared_samples / f"{lang}.jsonl"):
        texts = sorted({each["text"] for each in sample["responses"]}, key=lambda t: sign * len(t))
        if len(texts) > 1:
            sides = {"chosen": texts[-1], "rejected": texts[0]}
            found.append({"prompt_id": sample["prompt_id"], "lang": lang, **sides})
    return found


def gap(pairs):
    sides = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs]
    return np.mean([len(chosen) - len(rejected) for chosen, rejected in sides])


def test_a_user_without_labels_has_the_pairs_of_the_reward(plain, tmp_path, capsys):
    run = with_labels(plain, tmp_path, [])
    said = capsys.readouterr().out
    assert "0 labels weigh reward, length and likelihood 1.00, 0.00, 0.00" in said
    assert said.count("redone") == 1 and "icr1/pairs: redone" in said
    for path in plain.iteration(1).pair_files:
        assert (run.path / path.relative_to(plain.path)).read_bytes() == path.read_bytes()


def test_users_of_english_labels_have_their_pairs_in_other_languages(plain, tmp_path):
    gaps = {}
    for name, sign in (("terse", -1), ("chatty", 1)):
        (tmp_path / name).mkdir()
        labels = labels_by_length(plain, sign)
        run = with_labels(plain, tmp_path / name, labels, **{"pairing.ridge": "0.01"})
        spanish = [pair for pair in pairs_of(run) if pair["lang"] == "es"]
        gaps[name] = gap(spanish)
    assert gaps["terse"] < -5 < 5 < gaps["chatty"]


def test_labels_count_by_their_content(plain, tmp_path, capsys):
    labels = labels_by_length(plain, 1)
    run = with_labels(plain, tmp_path, labels)
    capsys.readouterr()
    moved = tmp_path / "elsewhere" / "labels.jsonl"
    moved.parent.mkdir()
    shutil.copy(tmp_path / "labels.jsonl", moved)
    asked = {**PLAIN, "pairing.preference": str(moved)}
    stages.run_until(open_run(run.path, "lab-quick", asked), "icr1/pairs")
    assert capsys.readouterr().out == ""
    with_labels(plain, tmp_path, labels[1:])
    assert "icr1/pairs: redone, because labels.jsonl changed" in capsys.readouterr().out
    used = read_json(run.stamp("icr1/pairs"))["key"]["uses"]["pairing"]
    assert used["preference"] == "(files)"


def test_what_one_column_cannot_read_has_no_score_of_a_user():
    user = object.__new__(users.User)
    user.reward, user.units, user.weights = "multilingual", np.ones(3), np.ones(3)
    scores = {"multilingual": [1.0, 2.0, None], "likelihood": [-1.0, None, None]}
    failures = {
        "multilingual": [None, None, "thinking"],
        "likelihood": [None, "too_long", "thinking"],
    }
    found = user.scored(Score("a", "es", "train", [3, 3, 3], scores, failures))
    assert found.scores[users.NAME] == [3.0, None, None]
    assert found.failures[users.NAME] == [None, "too_long", "thinking"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": "no such text"}, r"labels\.jsonl, line 1: chosen is none of the scored resp"),
        ({"lang": "ru"}, r"line 1: chosen is none of .* \(ru\); label those$"),
        ({"rejected": None}, r"line 1: rejected is missing or no text; expected prompt_id, lang"),
        ({"rejected": ""}, r"line 1: rejected is none of the scored responses"),
    ],
)
def test_a_label_of_nothing_is_refused_with_its_line(plain, tmp_path, change, message):
    (label, *_) = labels_by_length(plain, 1)
    with pytest.raises(InputError, match=message):
        with_labels(plain, tmp_path, [label | change])
    with pytest.raises(InputError, match="the same text"):
        with_labels(plain, tmp_path, [label | {"rejected": label["chosen"]}])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairing.alpha": "exact"}, r"^pairing\.preference: .* alpha=exact takes out; set pair"),
        ({"scoring.scorers": "cross_lingual"}, r"^pairing\.preference weighs .* add likelihood"),
        ({"lab.reward": "0"}, r"^pairing\.preference weighs .* hold out prompts"),
        ({"pairing.preference": "absent.jsonl"}, r"^pairing\.preference absent\.jsonl: no such"),
    ],
)
def test_what_it_does_not_go_with_is_refused_before_anything_is_made(tmp_path, changes, message):
    path = tmp_path / "labels.jsonl"
    path.write_text("")
    asked = {**PLAIN, "pairing.preference": str(path), **changes}
    with pytest.raises(InputError, match=message):
        open_run(tmp_path / "run", "lab-quick", asked)
    assert not (tmp_path / "run").exists()


@DAMAGED
@given(data=st.data())
def test_damaged_labels_are_all_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "labels.jsonl"
    known = {("a", "en"): {"yes": (1.0, 3, -2.0), "no": (0.5, 2, -1.0)}}
    label = {"prompt_id": "a", "lang": "en", "chosen": "yes", "rejected": "no"}
    whole = f"{json.dumps(label)}\n{json.dumps(label | {'chosen': 'no', 'rejected': 'yes'})}\n"
    path.write_bytes(data.draw(damaged(whole.encode())))
    try:
        pairs = list(users._labels(path, known))
    except InputError as error:
        check_line(error, path)
        return
    assert len(pairs) == lines_of(path.read_bytes())
