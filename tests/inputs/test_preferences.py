"""English preferences: every form of UltraFeedback's pairs, what is dropped and counted, and DPO
from them."""

import csv
import json
from dataclasses import replace

import pytest
from datasets import Dataset, load_dataset
from families import checkpoint

from xlnb import stages
from xlnb.common.errors import InputError, UnfitText
from xlnb.common.files import read_json, read_jsonl
from xlnb.inputs.preferences import COLUMNS, REASONS, preference_pairs
from xlnb.inputs.sources import parse_source, read_rows
from xlnb.runs.run import open_run


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


PAIRS = [
    ("Name a colour.", "Blue is a colour.", "No."),
    ("Name a river.", "The Nile\nis one.", "Paris, maybe?"),
]


def h4(i, prompt, chosen, rejected, scores=(8.0, 3.5)):
    """HuggingFaceH4/ultrafeedback_binarized: the user's turn begins both sides."""
    return {
        "prompt": prompt,
        "prompt_id": f"id{i}",
        "chosen": [user(prompt), assistant(chosen)],
        "rejected": [user(prompt), assistant(rejected)],
        "messages": [user(prompt), assistant(chosen)],
        "score_chosen": scores[0],
        "score_rejected": scores[1],
    }


def princeton(i, prompt, chosen, rejected):
    """princeton-nlp's: the same, with all responses and a reward model's scores of them."""
    return {
        k: v
        for k, v in h4(i, prompt, chosen, rejected).items()
        if k in ("prompt", "prompt_id", "chosen", "rejected")
    } | {
        "all_generated_responses": [chosen, rejected, "?"],
        "all_rm_scores": [0.2, 0.1, 0.15],
    }


def implicit(i, prompt, chosen, rejected):
    """trl-lib's: without a column for the prompt."""
    return {k: v for k, v in h4(i, prompt, chosen, rejected).items() if k in ("chosen", "rejected")}


def explicit(i, prompt, chosen, rejected):
    """TRL's conversational form, which the package's own pairs have."""
    return {
        "id": f"id{i}",
        "prompt": [user(prompt)],
        "chosen": [assistant(chosen)],
        "rejected": [assistant(rejected)],
    }


def texts(i, prompt, chosen, rejected):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def write_jsonl(path, rows):
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return str(path)


def numbered(rows):
    return [(f"row {number}", row) for number, row in enumerate(rows, 1)]


def content(pairs):
    return [(pair.instruction, pair.chosen, pair.rejected) for pair in pairs]


@pytest.mark.parametrize("form", [h4, princeton, implicit, explicit, texts])
def test_every_form_gives_the_same_pairs(form):
    pairs, report = preference_pairs(numbered([form(i, *pair) for i, pair in enumerate(PAIRS)]))
    assert content(pairs) == PAIRS
    for pair, (prompt, chosen, rejected) in zip(pairs, PAIRS, strict=True):
        written = pair.to_json()
        assert written["prompt"] == [user(prompt)]
        assert written["chosen"] == [assistant(chosen)]
        assert written["rejected"] == [assistant(rejected)]
    assert [pair.prompt_id for pair in pairs] == (
        ["1", "2"] if form in (implicit, texts) else ["id0", "id1"]
    )
    assert [pair.margin for pair in pairs] == ([4.5, 4.5] if form is h4 else [None, None])
    assert report == {"rows": 2, "pairs": 2, "dropped": dict.fromkeys(REASONS, 0)}


def test_what_is_no_pair_is_dropped_and_counted():
    good, (prompt, chosen, rejected) = h4(0, *PAIRS[0]), PAIRS[1]
    turns = [user("Hi."), assistant("Hello."), user(prompt)]
    rows = [
        good,
        h4(1, prompt, chosen, rejected)
        | {
            "chosen": [*turns, assistant(chosen)],
            "rejected": [*turns, assistant(rejected)],
        },
        explicit(2, *PAIRS[1]) | {"prompt": turns},
        explicit(3, *PAIRS[1])
        | {"prompt": [{"role": "system", "content": "Be kind."}, user(prompt)]},
        good | {"rejected": [user("Another?"), assistant(rejected)]},
        h4(5, prompt, chosen, " "),
        h4(6, prompt, "", rejected),
        h4(7, " ", chosen, rejected),
        h4(8, prompt, chosen, chosen),
        h4(9, prompt, chosen, rejected, scores=(7.0, 7.0)),
        h4(10, prompt, chosen, rejected, scores=(3.0, 7.0)),
        good,
        h4(11, *PAIRS[1], scores=(float("nan"), 2.0)),
        # nothing is seen of it
        h4(12, prompt, "\u200b", rejected),
        # the same, but for white space at the end; but for the normal form
        h4(13, prompt, chosen, f"{chosen}\n"),
        h4(14, prompt, "caf\u00e9", "cafe\u0301"),
        h4(15, prompt, f" {chosen}", rejected),
        h4(16, prompt, f"<think>Where?</think>{chosen}", rejected),
        h4(17, prompt, chosen, f"Where?</think>{rejected}"),
    ]
    pairs, report = preference_pairs(numbered(rows))
    assert content(pairs) == PAIRS
    assert report["dropped"] == {
        "not_single_turn": 3, "prompts_differ": 1, "empty": 4, "thinking": 2, "tied": 4, "chosen_scored_lower": 1,
        "duplicate": 2, "not_read_back": 0,
    }  # fmt: skip
    assert report["rows"] == 19 == report["pairs"] + sum(report["dropped"].values())


def test_the_limit_counts_usable_pairs():
    rows = [
        texts(0, "Same?", "a", "a"),
        *(texts(i, *pair) for i, pair in enumerate(PAIRS)),
        texts(3, "x", "y", "z"),
    ]
    pairs, report = preference_pairs(numbered(rows), limit=2)
    assert content(pairs) == PAIRS and (
        report["rows"],
        report["pairs"],
        report["dropped"]["tied"],
    ) == (3, 2, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"prompt": "a", "chosen": "b"},
            "row 1: key 'rejected' is missing; expected prompt, chosen and rejected",
        ),
        ({"chosen": "b", "rejected": "c"}, "row 1: key 'prompt' is missing"),
        (
            {"chosen": [assistant("b")], "rejected": "c"},
            "row 1: chosen begins with the answer and there is no prompt",
        ),
        (
            {"prompt": 7, "chosen": "b", "rejected": "c"},
            "row 1: prompt is neither text nor a list of messages",
        ),
        (
            {"prompt": "a", "chosen": [], "rejected": "c"},
            "row 1: chosen is neither text nor a list",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": [{"role": "x"}]},
            "row 1: rejected holds something else than messages",
        ),
        (
            texts(0, "a", "b", "c") | {"score_chosen": "good"},
            "row 1: score_chosen is 'good', expected a number",
        ),
        (
            texts(0, "a", "b", "c") | {"score_chosen": float("inf")},
            "row 1: score_chosen is inf, expected a number",
        ),
        (
            texts(0, "a", "b", "c") | {"score_rejected": True},
            "row 1: score_rejected is True, expected a number",
        ),
        (
            texts(0, "a", "b", str([user("a"), assistant("c")])),
            "row 1: rejected is a list of messages written as text",
        ),
        (
            texts(0, json.dumps([user("a")]), "b", "c"),
            "row 1: prompt is a list of messages written as text",
        ),
        (texts(0, "a", "b \ud83d", "c"), "row 1: chosen holds half a character"),
        (explicit(0, "a", "b", "c\udc00"), "row 1: rejected holds half a character"),
        (texts(0, "a", "b", "c") | {"prompt_id": True}, "row 1: prompt_id is True, expected text"),
        (texts(0, "a", "b", "b"), "no usable pair among 1 rows; dropped: .*'tied': 1"),
    ],
)
def test_a_bad_row_is_one_clear_line(row, message):
    with pytest.raises(InputError, match=message) as error:
        preference_pairs(numbered([row]))
    assert "\n" not in str(error.value)


def test_an_id_that_is_null_is_the_row_s_number():
    rows = [texts(i, f"{prompt} {i}", *rest) for i, (prompt, *rest) in enumerate(PAIRS * 3)]
    ids = [{"prompt_id": None}, {"prompt_id": ""}, {"prompt_id": float("nan")}, {"id": None}, {}]
    ids.append({"prompt_id": None, "id": 70})
    given = [row | one for row, one in zip(rows, ids, strict=True)]
    pairs, _ = preference_pairs(numbered(given))
    assert [pair.prompt_id for pair in pairs] == ["1", "2", "3", "4", "5", "70"]


def test_what_a_model_does_not_read_or_reads_alike_is_dropped_and_counted():
    def read(instruction, response):
        if "<end>" in response:
            raise UnfitText("no")
        return [len(instruction), *response.lower().encode()]

    rows = [
        texts(0, *PAIRS[0]),
        texts(1, "Which?", "An <end> in it.", "No."),
        texts(2, "Which?", "Yes.", "An <end> in it."),
        texts(3, "Which?", "Yes.", "YES."),
    ]
    pairs, report = preference_pairs(numbered(rows), read=read)
    assert content(pairs) == PAIRS[:1]
    dropped = {reason: count for reason, count in report["dropped"].items() if count}
    assert dropped == {"not_read_back": 2, "tied": 1} and report["rows"] == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "pairs.csv",
            "prompt,chosen,rejected\na,\"[{'content': 'b', 'role': 'assistant'}]\",c\n",
            r"pairs\.csv, line 2: chosen is a list of messages written as text",
        ),
        ("pairs.jsonl", "", r"pairs\.jsonl holds no prompts or preferences"),
        ("pairs.csv", "prompt,chosen,rejected\n", r"pairs\.csv holds no prompts or preferences"),
        (
            "pairs.CSV",
            "prompt;chosen;rejected\na;b;c\n",
            r"line 2: key 'chosen'.*found: prompt;chosen;rejected",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    run = open_run(tmp_path / "run", "lab-quick", {"preferences.path": str(tmp_path / name)})
    with pytest.raises(InputError, match=message) as error:
        stages.prefer(run)
    assert "\n" not in str(error.value) and name in str(error.value)


def test_files_and_datasets_give_the_same_pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [h4(i, *pair) for i, pair in enumerate(PAIRS)]
    folder = tmp_path / "org/name"
    folder.mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(folder / "train_prefs.parquet")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train_prefs\n    path: train_prefs.parquet\n---\n"
    )
    with (tmp_path / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("question", "chosen", "rejected", "score_chosen", "score_rejected")])
        writer.writerows([*pair, 8, 3.5] for pair in PAIRS)
    read = [
        preference_pairs(read_rows(parse_source(source), COLUMNS))[0]
        for source in (
            "hub:org/name:train_prefs",
            write_jsonl(tmp_path / "pairs.jsonl", rows),
            f"{tmp_path}/pairs.csv,prompt=question",
        )
    ]
    assert content(read[0]) == PAIRS and read[0] == read[1]
    assert [replace(pair, prompt_id="") for pair in read[2]] == [
        replace(pair, prompt_id="") for pair in read[0]
    ]


def test_english_dpo_from_given_pairs_needs_no_samples(tmp_path, capsys):
    path = write_jsonl(
        tmp_path / "pairs.jsonl", [h4(i, f"{p} ({i})", c, r) for i in range(4) for p, c, r in PAIRS]
    )
    overrides = {
        "preferences.path": path,
        "preferences.limit": "6",
        "english.steps": "1",
        "prompts.langs": "en,es",
    }
    run = open_run(tmp_path / "run", "lab-quick", overrides)
    assert [step.name for step in stages.steps(run)][:4] == [
        "prompts",
        "dpo/pairs",
        "dpo/adapter",
        "shared/samples",
    ]
    stages.run_until(run, "dpo/adapter")
    assert "dpo/pairs: 6 of 6 pairs; dropped: " in capsys.readouterr().out
    assert read_json(run.path / "dpo/pairs/report.json")["en"]["pairs"] == 6
    assert read_json(run.path / "dpo/adapter/training.json")["pairs"] == 6
    assert len(read_jsonl(run.path / "dpo/pairs/en.jsonl")) == 6
    data = load_dataset("json", data_files=str(run.path / "dpo/pairs/*.jsonl"), split="train")
    assert data[0]["prompt"] == [user("Name a colour. (0)")]
    before = (run.path / "dpo/adapter/adapter_model.safetensors").stat().st_mtime_ns
    stages.run_until(run, "dpo/adapter")
    assert (run.path / "dpo/adapter/adapter_model.safetensors").stat().st_mtime_ns == before
    write_jsonl(tmp_path / "pairs.jsonl", [h4(0, *PAIRS[0])])
    stages.prefer(run)
    assert "dpo/pairs: redone, because " in capsys.readouterr().out
    assert read_json(run.path / "dpo/pairs/report.json")["en"]["pairs"] == 1


def test_pairs_that_the_base_cannot_read_are_dropped_and_counted_and_the_others_trained_on(
    tmp_path, capsys
):
    # The lab's own control tokens are <|begin|>, <|user|>, <|assistant|>, <|end|>, <|pad|>.
    rows = [
        texts(0, "Name a colour.", "Blue.", "No."),
        texts(1, "Name a river.", "\n\nThe Nile.", "No."),
        texts(2, "What ends a turn?", "It is <|end|>. Then <|user|> begins one.", "No."),
        texts(3, "Name a sea.", "It is \ufdd0.", "No."),
        texts(4, "Name a town.", "Paris.", "Paris.\n"),
    ]
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    overrides = {"preferences.path": path, "english.steps": "1", "prompts.langs": "en,es"}
    run = open_run(tmp_path / "run", "lab-quick", overrides)
    stages.prefer(run)
    assert "dpo/pairs: 3 of 5 pairs; dropped: " in capsys.readouterr().out
    dropped = read_json(run.path / "dpo/pairs/report.json")["en"]["dropped"]
    assert {k: n for k, n in dropped.items() if n} == {"not_read_back": 1, "tied": 1}
    stages.train(run, 0)
    assert read_json(run.path / "dpo/adapter/training.json")["pairs"] == 3


def test_pairs_are_made_anew_for_another_base(tmp_path, capsys):
    path = write_jsonl(tmp_path / "pairs.jsonl", [h4(0, *PAIRS[0])])
    run = open_run(tmp_path / "run", "lab-quick", {"preferences.path": path})
    stages.prefer(run)
    changed = open_run(
        tmp_path / "run",
        "lab-quick",
        {"preferences.path": path, "models.base": str(checkpoint("llama3"))},
    )
    capsys.readouterr()
    stages.prefer(changed)
    assert "dpo/pairs: redone, because " in capsys.readouterr().out
