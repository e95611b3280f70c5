"""`accuracy`, `score` and `compare` on small checkpoints."""

import json

import pytest
from families import checkpoint, fp32, save_adapter

from xlnb.cli.main import main
from xlnb.common.files import read_jsonl
from xlnb.stages import given

PLAIN = ["-p", "models.quantization=none", "-p", "models.dtype=float32"]
ROWS = [
    ("1", "en", "Who are you?", "I am a model.", "Go away."),
    ("1", "de", "Wer bist du?", "Ich bin ein Modell.", "Geh weg."),
    ("2", "en", "What is it?", "It is a tree.", "No."),
    ("2", "de", "Was ist das?", "Das ist ein Baum.", "Nein, nein."),
]
NAMES = ("prompt_id", "lang", "prompt", "chosen", "rejected")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return save_adapter(fp32("llama3"), tmp_path_factory.mktemp("adapter"), seed=1)


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def command(name, adapter, *options):
    ref = checkpoint("llama3")
    return [name, "--policy", f"{adapter}", "--ref", f"{ref}", *PLAIN, *map(str, options)]


def test_accuracy_agrees_with_the_scores_that_it_keeps(adapter, pairs, tmp_path, capsys):
    out = tmp_path / "scores.jsonl"
    assert main(command("accuracy", adapter, "--pairs", pairs, "--out", out, "--json")) == 0
    table = json.loads(capsys.readouterr().out)
    scores = read_jsonl(out)
    assert [(one["prompt_id"], one["lang"]) for one in scores] == [
        row[:2] for row in sorted(ROWS, key=lambda row: row[1] != "en")
    ]
    for name in ("cross_lingual", "multilingual", "likelihood", "likelihood_sum", "brevity"):
        german = [one["scores"][name] for one in scores if one["lang"] == "de"]
        right = [chosen > rejected for chosen, rejected in german]
        assert table["languages"][name]["de"]["accuracy"] == 50 * sum(right)
    assert table["pairs"]["de"] == {"rows": 2, "pairs": 2, "dropped": {}}
    english = [one["scores"] for one in scores if one["lang"] == "en"]
    # In English both read the same prompt.
    assert all(each["cross_lingual"] == each["multilingual"] for each in english)
    german = [one["scores"] for one in scores if one["lang"] == "de"]
    assert all(each["cross_lingual"] != each["multilingual"] for each in german)


def test_a_killed_score_goes_on_and_another_model_begins_anew(
    adapter, tmp_path, capsys, monkeypatch
):
    mine = tmp_path / "mine.jsonl"
    rows = [
        {"prompt_id": "1", "lang": "en", "instruction": "Who?", "responses": ["I.", "", "You."]},
        {"prompt_id": "1", "lang": "de", "instruction": "Wer?", "responses": ["Ich."]},
    ]
    mine.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "scores.jsonl"
    asked = command("score", adapter, "--responses", mine, "--out", out)
    whole = given.write_logps
    calls = []

    def killed(loaded, samples, read, path, budget, *, label):
        calls.append(label)
        if len(calls) == 2:
            raise KeyboardInterrupt
        whole(loaded, samples, read, path, budget, label=label)

    monkeypatch.setattr(given, "write_logps", killed)
    assert main(asked) == 130
    assert not out.exists()
    kept = tmp_path / "scores.jsonl.parts" / "cross_lingual" / "en.jsonl"
    before = kept.stat().st_mtime_ns
    calls[:] = [""] * 3
    seen = {}

    def noting(loaded, samples, read, path, budget, *, label):
        seen[label] = path.exists()
        whole(loaded, samples, read, path, budget, label=label)

    monkeypatch.setattr(given, "write_logps", noting)
    assert before and main(asked) == 0
    assert seen["cross_lingual en"] and not seen["cross_lingual de"]
    first, second = read_jsonl(out)
    assert [first["lang"], second["lang"]] == ["en", "de"]
    assert first["scores"]["cross_lingual"][1] is None
    assert first["failures"]["cross_lingual"] == [None, "empty", None]
    assert not kept.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scores", "translated"], "score 'translated' needs a translator"),
        (["--scores", "multlingual"], "scoring.scorers 'multlingual': expected one of"),
    ],
)
def test_scores_that_cannot_be_had_are_refused(adapter, pairs, capsys, options, message):
    assert main(command("accuracy", adapter, "--pairs", pairs, *options)) == 2
    assert message in capsys.readouterr().err


def test_a_pair_without_its_english_prompt_is_refused_and_r_m_needs_none(
    adapter, pairs, tmp_path, capsys
):
    lines = pairs.read_text(encoding="utf-8").splitlines()
    pairs.write_text("\n".join([*lines[:2], lines[3]]), encoding="utf-8")
    assert main(command("accuracy", adapter, "--pairs", pairs)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: id 2 (de) has no English prompt") and error.count("\n") == 1
    only = ["--scores", "multilingual,brevity"]
    assert main(command("accuracy", adapter, "--pairs", pairs, *only)) == 0
    assert "R_c - R_m" not in capsys.readouterr().out
    english = tmp_path / "english"
    english.mkdir()
    rows = [{"id": row[0], "instruction": row[2]} for row in ROWS if row[1] == "en"]
    (english / "en.json").write_text(json.dumps(rows), encoding="utf-8")
    assert main(command("accuracy", adapter, "--pairs", pairs, "--english", english)) == 0
    assert "R_c - R_m" in capsys.readouterr().out


def test_what_scores_must_be_named_once(adapter, pairs, capsys):
    assert main(["accuracy", "--pairs", f"{pairs}", "--ref", "x"]) == 2
    assert "give --policy and --ref, or --run" in capsys.readouterr().err
    assert main(["accuracy", "--pairs", f"{pairs}", "--ref", "x", "--policy", "x"]) == 2
    assert "every reward would be 0" in capsys.readouterr().err
