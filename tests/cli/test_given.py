"""`accuracy`, `score` and `compare` on small checkpoints."""

import json
import shutil

import pytest
from families import checkpoint, fp32, save_adapter

from xlnb.cli.main import main
from xlnb.common.errors import InputError
from xlnb.common.files import read_jsonl
from xlnb.common.records import Response
from xlnb.explore import asking
from xlnb.explore.asking import english_question
from xlnb.lab.world import load_world
from xlnb.runs.run import open_run
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


def test_what_is_read_is_not_written_over(adapter, pairs, tmp_path, capsys):
    before = pairs.read_bytes()
    for argv in (("accuracy",), ("score",)):
        assert main(command(*argv, adapter, "--pairs", pairs, "--out", pairs)) == 2
        assert f"{pairs}: there already, and it does not hold scores" in capsys.readouterr().err
    assert pairs.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [pairs.name]


def test_a_folder_is_no_file_for_scores_and_told_before_a_model_is_loaded(
    adapter, pairs, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(given, "policy_and_reference", lambda *_: pytest.fail("loaded"))
    for name in ("accuracy", "score"):
        assert main(command(name, adapter, "--pairs", pairs, "--out", tmp_path)) == 2
        expected = f"error: {tmp_path}: a folder; name a file for the scores\n"
        assert capsys.readouterr().err == expected


def test_a_killed_score_goes_on(adapter, tmp_path, monkeypatch):
    mine = tmp_path / "mine.jsonl"
    rows = [
        {"prompt_id": "1", "lang": "en", "instruction": "Who?", "responses": ["I.", "", "You."]},
        {"prompt_id": "1", "lang": "de", "instruction": "Wer?", "responses": ["Ich."]},
    ]
    mine.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    out = tmp_path / "scores.jsonl"
    asked = command("score", adapter, "--responses", mine, "--out", out)
    whole = given.logps_file
    calls = []

    def killed(loaded, samples, read, path, budget, *, label, **options):
        calls.append(label)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(loaded, samples, read, path, budget, label=label, **options)

    monkeypatch.setattr(given, "logps_file", killed)
    assert main(asked) == 130
    assert not out.exists()
    kept = tmp_path / "scores.jsonl.parts" / "cross_lingual" / "en.jsonl"
    before = kept.stat().st_mtime_ns
    calls[:] = [""] * 3
    seen = {}

    def noting(loaded, samples, read, path, budget, *, label, **options):
        seen[label] = path.exists()
        return whole(loaded, samples, read, path, budget, label=label, **options)

    monkeypatch.setattr(given, "logps_file", noting)
    assert before and main(asked) == 0
    assert seen["cross_lingual en"] and not seen["cross_lingual de"]
    first, second = read_jsonl(out)
    assert [first["lang"], second["lang"]] == ["en", "de"]
    assert first["scores"]["cross_lingual"][1] is None
    assert first["failures"]["cross_lingual"] == [None, "empty", None]
    assert not kept.exists()


def test_options_of_rewards_are_asked_for_as_in_a_run(adapter, tmp_path):
    mine = tmp_path / "mine.jsonl"
    row = {"prompt_id": "1", "lang": "en", "instruction": "Who?", "responses": ["I am.", "", "We"]}
    mine.write_text(json.dumps(row), encoding="utf-8")
    found = {}
    for name, options in {
        "plain": [],
        "all layers": ["scoring.layers=2"],
        "one layer": ["scoring.layers=1"],
        "decayed": ["scoring.gamma=0.5", "scoring.keep_tokens=true"],
    }.items():
        out = tmp_path / f"{name}.jsonl"
        given_options = [part for option in options for part in ("-p", option)]
        asked = command("score", adapter, "--responses", mine, "--out", out, *given_options)
        assert main(asked) == 0
        (found[name],) = [one["scores"] for one in read_jsonl(out)]
    assert found["all layers"] == found["plain"]
    for name in ("one layer", "decayed"):
        first, empty, last = found[name]["cross_lingual"]
        assert empty is None
        assert (first, last) != tuple(found["plain"]["cross_lingual"][::2])
    assert found["decayed"]["likelihood"] == found["plain"]["likelihood"]


def test_parts_of_another_model_are_not_taken_up(adapter, pairs, tmp_path, capsys):
    out = tmp_path / "scores.jsonl"
    parts = tmp_path / "scores.jsonl.parts"
    parts.mkdir()
    (parts / "key.json").write_text("{}")
    asked = ["--pairs", pairs, "--out", out, "--scores", "multilingual"]
    assert main(command("score", adapter, *asked)) == 0
    assert "scores.jsonl.parts: of other models or responses; begun anew" in capsys.readouterr().out
    assert len(read_jsonl(out)) == 4 and not parts.exists()


def run_folder(adapter, path):
    """A run whose π^0 is the adapter, with nothing else made."""
    models = {"base": checkpoint("llama3"), "dpo_adapter": adapter, "quantization": "none"}
    overrides = {f"models.{name}": f"{value}" for name, value in models.items()}
    overrides |= {"models.dtype": "float32", "sampling.max_new_tokens": "5"}
    open_run(path, "lab-quick", overrides)
    return path


def test_a_runs_models_score_as_the_checkpoints_do(adapter, pairs, tmp_path):
    run = run_folder(adapter, tmp_path / "run")
    record = (run / "preset.json").read_bytes()
    by_run, by_name, doubled = (tmp_path / f"{name}.jsonl" for name in ("run", "name", "doubled"))
    asked = ["score", "--pairs", f"{pairs}", "--run", f"{run}", "--out"]
    assert main([*asked, f"{by_run}"]) == 0
    assert main(command("score", adapter, "--pairs", pairs, "--out", by_name)) == 0
    assert by_run.read_bytes() == by_name.read_bytes()
    # Another beta for this once.
    assert main([*asked, f"{doubled}", "-p", "scoring.beta=0.2"]) == 0
    assert (run / "preset.json").read_bytes() == record
    once, twice = read_jsonl(by_run), read_jsonl(doubled)
    for one, two in zip(once, twice, strict=True):
        assert two["scores"]["cross_lingual"] == pytest.approx(
            [2 * value for value in one["scores"]["cross_lingual"]]
        )


def test_the_reference_is_no_policy(adapter, pairs, tmp_path, capsys):
    run = run_folder(adapter, tmp_path / "run")
    assert main(["accuracy", "--pairs", f"{pairs}", "--run", f"{run}", "--model", "sft"]) == 2
    assert "--model sft: expected one of dpo, icr1" in capsys.readouterr().err


def test_compare_shows_the_models_that_there_are(adapter, tmp_path, capsys):
    run = run_folder(adapter, tmp_path / "run")
    assert main(["compare", "--run", f"{run}", "Wer?", "--lang", "de", "-n", "2"]) == 0
    unknown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in unknown[1:5]] == ["sft", "sft", "dpo", "dpo"]
    assert unknown[1].split()[1] == "-"
    assert unknown[-1].startswith("R_c needs the question in English: --english")
    asked = ["compare", "--run", f"{run}", "Wer?", "--lang", "de", "-n", "2", "--english", "Who?"]
    assert main(asked) == 0
    known = capsys.readouterr().out.splitlines()
    assert all(float(line.split()[1]) for line in known[1:5])
    assert known[-1] == "R_c: by π^0 under 'Who?', in β nats"
    # The same questions, the same answers.
    assert [line.split()[2:] for line in known[1:5]] == [line.split()[2:] for line in unknown[1:5]]


def test_the_labs_questions_have_their_english_ones(adapter, tmp_path):
    run = open_run(run_folder(adapter, tmp_path / "run"))
    german = next(prompt for prompt in load_world().prompts("de"))
    english = {prompt.prompt_id: prompt.instruction for prompt in load_world().prompts("en")}
    assert english_question(run, german.instruction, "de") == english[german.prompt_id]
    assert english_question(run, "Wer?", "de") == ""
    assert english_question(run, "Who?", "en") == "Who?"


def test_compare_shows_answers_that_were_thought_about_without_a_reward(
    adapter, tmp_path, capsys, monkeypatch
):
    run = run_folder(adapter, tmp_path / "run")
    asked = ["compare", "--run", f"{run}", "Wer?", "--lang", "de", "-n", "2", "--english", "Who?"]
    plain, thought = (Response("Me.", [5, 6], "stop", why) for why in (None, "Hm."))
    for said, shown in (([thought, thought], [False] * 4), ([thought, plain], [False, True] * 2)):
        monkeypatch.setattr(asking, "sample_responses", lambda *_, said=said, **__: [said])
        assert main(asked) == 0
        rewards = [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:5]]
        assert [reward not in ("-", "+nan") for reward in rewards] == shown
        assert "+nan" not in rewards


def test_a_blank_english_question_is_none(adapter, tmp_path, capsys):
    run = run_folder(adapter, tmp_path / "run")
    assert main(["compare", "--run", f"{run}", "Wer?", "--lang", "de", "--english", " "]) == 2
    assert "expected the question in English, got nothing" in capsys.readouterr().err


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


def test_a_model_of_a_run_is_not_asked_for_beside_a_policy(adapter, pairs, capsys):
    assert main(command("accuracy", adapter, "--pairs", pairs, "--model", "icr7")) == 2
    assert "--model icr7 goes with --run" in capsys.readouterr().err


def test_a_policy_that_is_its_reference_by_another_name_is_refused(pairs, tmp_path, capsys):
    ref = checkpoint("llama3")
    copy = shutil.copytree(ref, tmp_path / "copy")
    (copy / "README.md").write_text("Mine.")
    for policy in (copy, f"{ref}/"):
        asked = ["--pairs", f"{pairs}", "--policy", f"{policy}", "--ref", f"{ref}", *PLAIN]
        assert main(["accuracy", *asked]) == 2
        assert "are the same weights: every reward would be 0" in capsys.readouterr().err
    both = {"models.base": f"{ref}", "models.dpo": f"{copy}"}
    with pytest.raises(InputError, match="are the same weights: every reward would be 0"):
        open_run(tmp_path / "run", "lab-quick", both)
    assert not (tmp_path / "run").exists()


def test_an_english_prompt_that_is_none_of_the_row_s_is_refused(adapter, pairs, tmp_path, capsys):
    english = tmp_path / "english"
    english.mkdir()
    rows = [{"id": "1", "instruction": " Who are you?"}, {"id": "2", "instruction": "Why?"}]
    (english / "en.json").write_text(json.dumps(rows), encoding="utf-8")
    assert main(command("accuracy", adapter, "--pairs", pairs, "--english", english)) == 2
    assert capsys.readouterr().err == (
        f"error: {english}: id 2 is 'Why?' there and 'What is it?' in its English row; an id is one "
        "prompt's\n"
    )


def test_what_a_context_does_not_hold_has_no_score(adapter, tmp_path, capsys):
    # 512 tokens: `families`
    mine, out = tmp_path / "mine.jsonl", tmp_path / "scores.jsonl"
    row = {"prompt_id": "1", "lang": "en", "instruction": "Who?", "responses": ["I.", "me " * 400]}
    mine.write_text(json.dumps(row), encoding="utf-8")
    assert main(command("score", adapter, "--responses", mine, "--out", out)) == 0
    assert "en: not read by the models: {'too_long': 1}\n" in capsys.readouterr().out
    (scored,) = read_jsonl(out)
    assert scored["failures"]["cross_lingual"] == [None, "too_long"]
    first, long = scored["scores"]["cross_lingual"]
    assert first is not None and long is None


def test_pairs_beyond_a_context_are_counted(adapter, pairs, tmp_path, capsys):
    long = {"prompt_id": "3", "lang": "en", "prompt": "Who?", "chosen": "me " * 400}
    rows = pairs.read_text(encoding="utf-8")
    pairs.write_text(f"{rows}\n{json.dumps({**long, 'rejected': 'I.'})}", encoding="utf-8")
    assert main(command("accuracy", adapter, "--pairs", pairs, "--json")) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["unread"] == {"en": {"too_long": 1}}
    counted = {name: of["en"]["n"] for name, of in table["languages"].items()}
    assert (counted["cross_lingual"], counted["brevity"]) == (2, 3)
