"""`python -m xlnb winrate`: every form of annotations it reads, its two outputs, and one line for
bad input."""

import csv
import json
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_cli import refused
from test_winrates import PUBLISHED, made_up_leaderboard, needs_published

from xlnb.analysis.length import by_length
from xlnb.cli.main import main
from xlnb.common.files import write_json
from xlnb.common.language_id import in_language
from xlnb.evaluation.annotations import read_annotations, read_judged
from xlnb.evaluation.summaries import summarise
from xlnb.evaluation.tables import JSON_KEYS
from xlnb.figures import win_rates as pictures
from xlnb.winrates import leaderboard_length_controlled, length_controlled, win_rate

HEADER = "index,len_output,len_baseline,preference"
ROWS = ["0,10,20,1.25", "1,30,20,2", "2,25,20,1"]


def write_csv(path, rows=ROWS, header=HEADER):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def record(preference, output, **more):
    return {
        "instruction": "?",
        "output_1": "base",
        "generator_1": "b",
        "output_2": output,
        "generator_2": "g",
        "annotator": "a",
        "preference": preference,
        **more,
    }


def winrate(capsys, *argv):
    """The parsed JSON of a call."""
    capsys.readouterr()
    assert main(["winrate", *map(str, argv), "--json"]) == 0
    # NaN is not JSON
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_a_run_s_report_and_the_command_line_go_one_way(tmp_path, capsys):
    records = [record(p, "x" * i, id=f"{i}") for i, p in enumerate((1.25, None, 2, 1.5), 1)]
    path = tmp_path / "dpo" / "de" / "annotations.json"
    write_json(path, records)
    entry = summarise(read_judged(path, "dpo", "de"))
    assert winrate(capsys, path) == {"dpo": {"de": {key: entry[key] for key in JSON_KEYS}}}


def table(capsys, *argv):
    capsys.readouterr()
    assert main(["winrate", *map(str, argv)]) == 0
    return capsys.readouterr().out


def test_json_of_a_csv_by_hand(tmp_path, capsys):
    path = write_csv(tmp_path / "some-model-1.5.csv", [*ROWS, "3,35,20,"])
    result = winrate(capsys, path)
    row = result.pop("some-model-1.5").pop("en")
    assert not result and tuple(row) == JSON_KEYS
    y = np.array([0.25, 1, 0])
    assert (row["wr"], row["wr_se"]) == pytest.approx(
        (100 * y.mean(), 100 * y.std(ddof=1) / math.sqrt(3))
    )
    assert (
        row["discrete_wr"] == pytest.approx(100 / 3) and row["n"] == 3 and row["mean_chars"] == 25
    )
    assert row["lc"] == length_controlled([1.25, 2, 1], [10, 30, 25], [20, 20, 20])


def test_one_row_has_no_standard_error(tmp_path, capsys):
    assert winrate(capsys, write_csv(tmp_path / "m.csv", ROWS[:1]))["m"]["en"]["wr_se"] is None


@pytest.mark.parametrize(
    ("name", "model", "lang"),
    [
        ("gpt-4.de.csv", "gpt-4", "de"),
        ("gpt4_gamed.csv", "gpt4_gamed", "en"),
        ("gpt4_zh.csv", "gpt4", "zh"),
        # instruction-tuned, not Italian
        ("gemma-2-9b-it.csv", "gemma-2-9b-it", "en"),
        ("sw/gpt-4.csv", "gpt-4", "sw"),
        ("gpt-3.5-turbo-1106.csv", "gpt-3.5-turbo-1106", "en"),
    ],
)
def test_model_and_language_from_the_files_name(tmp_path, capsys, name, model, lang):
    path = write_csv(tmp_path / name)
    assert {m: list(rows) for m, rows in winrate(capsys, path).items()} == {model: [lang]}
    named = winrate(capsys, path, "--model", "other", "--lang", "fr")
    assert {m: list(rows) for m, rows in named.items()} == {"other": ["fr"]}


def test_alpacaevals_annotations(tmp_path, capsys):
    path = tmp_path / "gpt-4" / "weighted_alpaca_eval_gpt4_turbo" / "annotations.json"
    # 0: a tie of an older annotator
    preferences = [1.0, 0, None, float("nan"), 1.75]
    write_json(path, [record(p, "x" * (i + 1)) for i, p in enumerate(preferences)])
    row = winrate(capsys, path)["g"]["en"]
    assert (row["wr"], row["n"], row["mean_chars"]) == (
        pytest.approx(100 * (0 + 0.5 + 0.75) / 3),
        3,
        3,
    )
    assert "g, en: 2 of 5 rows have no judgement" in table(capsys, path)


def test_an_eval_folder_and_response_languages(tmp_path, capsys):
    german = "Das ist eine ganz gewöhnliche Antwort in deutscher Sprache, und sie ist lang genug."
    english = "This is an ordinary answer in the English language, and it is long enough."
    for model, outputs in {"sft": [german, english], "dpo": [german, german]}.items():
        for lang in ("de", "en"):
            records = [record(1.5, output, id=f"{i}") for i, output in enumerate(outputs)]
            write_json(tmp_path / "eval" / model / lang / "annotations.json", records)
    result = winrate(capsys, tmp_path / "eval")
    assert {model: sorted(rows) for model, rows in result.items()} == {
        "dpo": ["de", "en"],
        "sft": ["de", "en"],
    }
    text = table(capsys, tmp_path / "eval")
    assert [line.split()[:3] for line in text.split("in language")[1].splitlines()[1:3]] == [
        ["dpo", "100.0%", "0.0%"],
        ["sft", "50.0%", "50.0%"],
    ]
    assert "not comparable with AlpacaEval's leaderboard" in text and "pooled" in text
    told = [record(1.5, english, in_language_2=True), record(1.5, "Paris", in_language_2=False)]
    write_json(
        tmp_path / "told" / "m" / "de" / "annotations.json", told
    )  # the file's own word counts
    annotations = read_annotations([tmp_path / "told"])
    assert annotations["m"]["de"].in_language == [True, False]
    # Klingon, which the detector does not know
    assert in_language([english], "tlh") is None


def test_pooled_languages_are_joined_by_prompt(tmp_path, capsys):
    write_csv(tmp_path / "m.de.csv", ["0,1,2,2", "1,1,2,1", "2,1,2,2", "3,1,2,2"])
    write_csv(tmp_path / "m.en.csv", ["3,1,2,2", "2,1,2,2", "1,1,2,1", "0,1,2,2"])
    text = table(capsys, tmp_path / "m.de.csv", tmp_path / "m.en.csv")
    assert text.splitlines()[1].split() == ["m", *["75.0±25.0"] * 2, "75.0", "75.0", "75.0±25.0"]


def write_leaderboard(folder):
    """The made-up leaderboard of test_winrates as files; its LC."""
    rows, gamed = made_up_leaderboard()
    columns = {
        "difficulty": ("index", "instruction_difficulty"),
        "m": ("index", "len_output", "len_baseline", "preference"),
    }
    tables = {name: {c: rows[c] for c in names} for name, names in columns.items()} | {
        "gamed": gamed
    }
    for name, columns in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    lc = leaderboard_length_controlled(
        rows["preference"], rows["len_output"], rows["len_baseline"],
        index=rows["index"], difficulty=rows["instruction_difficulty"], gamed=gamed,
    )  # fmt: skip
    return ["--difficulty", folder / "difficulty.csv", "--gamed-baseline", folder / "gamed.csv"], lc


def test_the_leaderboards_lc_from_files(tmp_path, capsys):
    options, lc = write_leaderboard(tmp_path)
    path = tmp_path / "m.csv"
    assert winrate(capsys, path, *options)["m"]["en"]["lc"] == pytest.approx(lc, abs=1e-6)
    assert "as on AlpacaEval's leaderboard" in table(capsys, path, *options)
    header, *rows = path.read_text().split()
    # joined by index
    write_csv(path, rows[::-1], header)
    assert winrate(capsys, path, *options)["m"]["en"]["lc"] == pytest.approx(lc, abs=1e-3)
    # some models lack a few answers
    write_csv(path, rows[:-3], header)
    few = winrate(capsys, path, *options)["m"]["en"]
    assert few["n"] == 197 and few["lc"] == pytest.approx(lc, abs=3)


def as_records(rows):
    """The rows of a CSV file as AlpacaEval's records, which have no index."""
    columns = [row.split(",") for row in rows]
    return [
        record(float(p), "x" * int(ours)) | {"output_1": "x" * int(base)}
        for _, ours, base, p in columns
    ]


def test_alpacaevals_own_records_are_in_its_order_and_joined_by_index_where_some_are_missing(
    tmp_path, capfd
):
    options, lc = write_leaderboard(tmp_path)
    records, path = as_records((tmp_path / "m.csv").read_text().split()[1:]), tmp_path / "m.json"
    write_json(path, records)
    assert winrate(capfd, path, *options)["m"]["en"]["lc"] == pytest.approx(lc, abs=1e-6)
    write_json(path, records[3:])
    line = refused(capfd, "winrate", path, *options)
    assert "m.json: 197 records without index for 200 difficulties" in line
    assert "give every record the index of its instruction" in line
    # without difficulties nothing is joined
    assert winrate(capfd, path)["m"]["en"]["n"] == 197
    write_json(path, [r | {"index": i} for i, r in enumerate(records)][3:])
    by_index = winrate(capfd, path, *options)["m"]["en"]
    (tmp_path / "short").mkdir()
    header, *rows = (tmp_path / "m.csv").read_text().split()
    csv_path = write_csv(tmp_path / "short" / "m.csv", rows[3:], header)
    assert by_index == winrate(capfd, csv_path, *options)["m"]["en"] and by_index["n"] == 197


def test_records_without_ids_are_pooled_only_where_none_is_missing(tmp_path, capfd):
    def pooled_line(de, en):
        write_json(tmp_path / "m.de.json", de)
        write_json(tmp_path / "m.en.json", en)
        return winrate_files("m.de.json", "m.en.json")

    def winrate_files(*names):
        return table(capfd, *(tmp_path / name for name in names)).splitlines()[1].split()

    records = [record(preference, "x") for preference in (2, 1, 2, 2)]
    # 4 prompts, each one draw
    assert pooled_line(records, records)[-1] == "75.0±25.0"
    write_json(tmp_path / "m.de.json", records[1:])
    files = [tmp_path / "m.de.json", tmp_path / "m.en.json"]
    line = refused(capfd, "winrate", *files)
    assert (
        "m.de.json and " in line and "3 and 4 records that cannot be joined over languages" in line
    )
    for key in ("id", "index"):
        named = [r | {key: i} for i, r in enumerate(records)]
        assert pooled_line(named[1:], named)[-1] == "75.0±25.0"
    write_csv(
        tmp_path / "m.es.csv", [f"{i}.0,1,4,{r['preference']}" for i, r in enumerate(records)]
    )
    assert winrate_files("m.es.csv", "m.de.json", "m.en.json")[-1] == "75.0±25.0"


@needs_published
def test_published_annotations_as_records_are_not_joined_by_place_where_some_are_missing(
    tmp_path, capfd
):
    rows = (PUBLISHED / "annotations" / "gpt-3.5-turbo-1106.csv").read_text().split()[1:]
    options = ["--difficulty", PUBLISHED / "instruction_difficulty.csv"]
    options += ["--gamed-baseline", PUBLISHED / "gamed_baseline.csv"]
    path = tmp_path / "m.json"
    write_json(path, as_records(rows))
    assert winrate(capfd, path, *options)["m"]["en"]["lc"] == pytest.approx(19.300589, abs=0.15)
    write_json(path, as_records(rows)[3:])
    assert "802 records without index for 805 difficulties" in refused(
        capfd, "winrate", path, *options
    )
    write_json(path, [r | {"index": i} for i, r in enumerate(as_records(rows))][3:])
    assert winrate(capfd, path, *options)["m"]["en"]["lc"] == pytest.approx(19.300589, abs=0.3)


@needs_published
def test_the_leaderboards_published_figures_from_the_command_line(capsys):
    published = {
        "alpaca-7b": (5.875487, 2.591450, 0.487086),
        "gpt-3.5-turbo-1106": (19.300589, 9.177965, 0.890412),
        "gpt4_gamed": (12.188764, 3.738337, 0.627880),
    }
    options = ["--difficulty", PUBLISHED / "instruction_difficulty.csv"]
    options += ["--gamed-baseline", PUBLISHED / "gamed_baseline.csv"]
    result = winrate(capsys, *sorted((PUBLISHED / "annotations").glob("*.csv")), *options)
    assert set(result) == set(published)
    for model, (lc, wr, se) in published.items():
        row = result[model]["en"]
        assert (row["wr"], row["wr_se"]) == pytest.approx((wr, se), abs=1e-6)
        assert row["lc"] == pytest.approx(lc, abs=0.15)


@needs_published
def test_languages_of_published_responses_are_told():
    outputs = PUBLISHED.parent / "x_alpacaeval" / "outputs"
    for lang in ("de", "es", "ru", "zh"):
        texts = [
            r["output"]
            for r in json.loads((outputs / lang / "gpt-4-turbo-2024-04-09.json").read_text())
        ][:60]
        share = {code: np.mean(in_language(texts, code)) for code in ("de", "es", "ru", "zh", "en")}
        assert share[lang] > 0.95 and max(share[code] for code in share if code != lang) < 0.2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "m.csv",
            f"{HEADER}\n0,1,2,2.5\n",
            "m.csv, line 2: preference is 2.5, expected 1 (baseline wins) to 2",
        ),
        (
            "m.csv",
            f"{HEADER}\n0,1,2,1\n\n1,1,x,1\n",
            "m.csv, line 4: len_baseline is 'x', expected a number",
        ),
        ("m.csv", f"{HEADER}\n0,1,2\n", "m.csv, line 2: 3 columns, expected 4 (index,len"),
        ("m.csv", f"{HEADER}\n0,1,2,1\n0,1,2,1\n", "index 0 is there twice"),
        (
            "m.csv",
            "index,len_output,preference\n0,1,1\n",
            "m.csv, line 1: no column len_baseline; expected index",
        ),
        ("m.csv", "", "no column index"),
        ("m.csv", f"{HEADER}\n", "no rows below the header"),
        ("m.csv", f"{HEADER}\n0,1,2,\n", "m.csv: preference: none of 1 rows was judged"),
        ("m.csv", f"{HEADER}\n0,-1,2,1\n", "expected at least 0 characters"),
        ("m.json", "[]", "expected a JSON list of annotations"),
        ("m.json", "{", "m.json, line 1: not valid JSON"),
        ("m.json", '["x"]', "m.json, record 0: expected a JSON object, found str"),
        (
            "m.json",
            '[{"output_1": "a", "preference": 1}]',
            "record 0: output_2 is missing or not text",
        ),
        ("m.json", '[{"output_1": "a", "output_2": "b"}]', "record 0: preference is missing"),
        (
            "m.json",
            '[{"output_1": "a", "output_2": "b", "preference": "win"}]',
            "preference is 'win'",
        ),
        (
            "m.json",
            '[{"output_1": "a", "output_2": "b", "preference": 3}]',
            "record 0: preference is 3",
        ),
        (
            "m.json",
            json.dumps([record(1, "x", index=0), record(2, "x", index=0.0)]),
            "m.json: index 0 is there twice",
        ),
        (
            "m.json",
            json.dumps([record(1, "x", id="a"), record(2, "x", id="a")]),
            "m.json: id a is there twice",
        ),
        (
            "m.json",
            json.dumps([record(1, "x", index=0), record(2, "x")]),
            "m.json, record 1: index is missing",
        ),
        (
            "m.json",
            json.dumps([record(1, "x", index=0), record(2, "x", index=math.nan)]),
            "m.json, record 1: index is nan, expected a number",
        ),
        (
            "m.json",
            json.dumps([record(1, "x", id=True), record(2, "x")]),
            "m.json, record 0: id is True, expected text or a number",
        ),
        (
            "m.csv",
            f"{HEADER}\n0,inf,2,1\n",
            "m.csv, line 2: len_output is 'inf', expected a number",
        ),
        (
            "m.csv",
            "index,len_output,len_baseline,preference,preference\n0,1,2,1,2\n",
            "m.csv, line 1: two columns are named 'preference'; rename one",
        ),
        ("m.txt", "x", "expected a .csv or .json file, or a folder"),
    ],
)
def test_bad_annotations_are_named_in_one_line(tmp_path, capfd, name, content, message):
    (tmp_path / name).write_text(content)
    line = refused(capfd, "winrate", tmp_path / name)
    assert message in line and name in line


def both_forms(folder, preferences):
    """The same judgements as JSON and as CSV."""
    records = [record(p, "x" * i, index=i) for i, p in enumerate(preferences)]
    # as Python writes it, NaN and Infinity included
    (folder / "m.json").write_text(json.dumps(records))
    as_text = ["" if p is None else json.dumps(p) for p in preferences]
    rows = [f"{i},{i},4,{p}" for i, p in enumerate(as_text)]
    return [folder / "m.json", write_csv(folder / "m.csv", rows)]


@pytest.mark.parametrize(
    ("preferences", "message"),
    [
        # 0 and 1, with ties, with probabilities: 1 is read as a loss on our scale
        ([0.0] * 5 + [1.0] * 15, "every preference is from 0 to 1"),
        ([0, 1, 0.5, None], "every preference is from 0 to 1"),
        ([0.2, 0.9, 1.0], "every preference is from 0 to 1"),
        ([0, 0], "where 1 means that the model wins, add 1 to each"),
        # of two scales
        ([1, 2, 0.5], "preference is 0.5, expected 1 (baseline wins) to 2 (model wins)"),
        ([-1, 0, 1], "preference is -1, expected 1 (baseline wins) to 2"),
        ([1, 2, "win"], "expected a number"),
        ([1, 2, math.inf], "expected a number"),
    ],
)
def test_another_scale_is_refused_in_json_and_csv_alike(tmp_path, capfd, preferences, message):
    for path in both_forms(tmp_path, preferences):
        line = refused(capfd, "winrate", path)
        assert message in line and str(path) in line


def test_truth_values_are_refused_in_json_and_csv_alike(tmp_path, capfd):
    for preferences in ([True, False, True], [1, 2, True]):
        json_path, csv_path = both_forms(tmp_path, preferences)
        line = refused(capfd, "winrate", json_path)
        assert "preference is True, expected 1 (baseline wins) to 2 (model wins); write 2" in line
        assert "preference is 'true', expected a number" in refused(capfd, "winrate", csv_path)


@pytest.mark.parametrize(
    ("preferences", "wr"),
    [
        ([1, 1, 1], 0.0),
        ([1, 2, 2, None], 100 * 2 / 3),
        # 0 is a tie of AlpacaEval's older annotators
        ([0, 1, 2, 2], 62.5),
        ([1.0, 0, math.nan, 1.75], 100 * (0 + 0.5 + 0.75) / 3),
    ],
)
def test_json_and_csv_give_the_same_win_rate(tmp_path, capsys, preferences, wr):
    for path in both_forms(tmp_path, preferences):
        assert winrate(capsys, path)["m"]["en"]["wr"] == pytest.approx(wr)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("generator_2", "models are mixed in it (generator_2: g, other)"),
        ("generator_1", "baselines are mixed in it (generator_1: b, other)"),
        ("annotator", "annotators are mixed in it (annotator: a, other)"),
        ("lang", "languages are mixed in it (lang: de, other)"),
    ],
)
def test_what_is_mixed_in_a_file_is_refused_and_never_averaged(tmp_path, capfd, name, message):
    records = [record(p, "x", id=f"{p}", lang="de") for p in (1.25, 1.5, 1.75, 2)]
    records[3][name] = "other"
    write_json(tmp_path / "m.json", records)
    assert message in refused(capfd, "winrate", tmp_path / "m.json")
    # That some records do not say it is no contradiction.
    records[3][name] = ""
    write_json(tmp_path / "m.json", records)
    assert winrate(capfd, tmp_path / "m.json")


def test_bad_calls_are_refused_in_one_line(tmp_path, capfd):
    path = write_csv(tmp_path / "m.csv")
    options, _ = write_leaderboard(tmp_path)
    write_csv(path)
    assert "give both for the leaderboard's LC" in refused(capfd, "winrate", path, *options[:2])
    assert "index lacks" not in refused(capfd, "winrate", write_csv(path, ["900,1,2,1"]), *options)
    assert "absent.csv: no such file" in refused(capfd, "winrate", tmp_path / "absent.csv")
    assert "unknown language code 'xx'" in refused(capfd, "winrate", path, "--lang", "xx")
    (tmp_path / "empty").mkdir()
    assert "no annotations.json in this folder" in refused(capfd, "winrate", tmp_path / "empty")
    twice = refused(capfd, "winrate", path, write_csv(tmp_path / "other" / "m.csv"))
    assert f"{tmp_path}/other/m.csv: model m in en is already in {path}" in twice


def test_win_rates_agree_with_the_package(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for lang in ("de", "fr"):
        rows = [
            f"{i},{rng.integers(50, 900)},{rng.integers(50, 900)},{1 + rng.random():.6f}"
            for i in range(60)
        ]
        write_csv(tmp_path / f"m.{lang}.csv", rows)
    result = winrate(capsys, *sorted(tmp_path.glob("*.csv")))["m"]
    for lang, row in result.items():
        annotations = read_annotations([tmp_path / f"m.{lang}.csv"])["m"][lang]
        assert (row["wr"], row["wr_se"]) == win_rate(annotations.preference)


def test_the_leaderboards_figure_has_a_cell_a_win_rate_best_model_on_top():
    win_rates = {
        "weak": {
            "de": {"wr": 20.0, "lc": 30.0, "in_language": 0.8},
            "fr": {"wr": 10.0, "lc": 12.0},
        },
        "icr1": {"de": {"wr": 60.0, "lc": 55.0, "in_language": 0.99}},
    }
    ax = plt.figure().subplots()
    pictures.leaderboard(win_rates, ax, key="wr")
    texts = {
        (round(t.get_position()[1]), round(t.get_position()[0])): t.get_text() for t in ax.texts
    }
    assert texts == {(0, 0): "60.0", (1, 0): "20.0\n80% in de", (1, 1): "10.0"}
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["$π^1$", "weak"]
    plt.close("all")


def test_the_length_figure_marks_lc_at_equal_lengths():
    rng = np.random.default_rng(1)
    delta = rng.normal(-200, 300, 2000).round()
    p = 1 / (1 + np.exp(-0.4 + 1.2 * np.tanh(delta / delta.std(ddof=1))))
    preference = np.append(1.0 + (rng.random(2000) < p), np.nan)
    output, baseline = np.append(1000 - delta, 5), np.full(2001, 1000)
    ax = plt.figure().subplots()
    pictures.win_rate_by_length(*by_length(preference, output, baseline), ax)
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    lc, wr = length_controlled(preference, output, baseline), win_rate(preference)[0]
    assert lines[f"LC {lc:.1f}"][0] == pytest.approx([0, lc]) and lines[f"WR {wr:.1f}"][0][1] == wr
    x, y = lines["fit"].T
    # the diamond lies on the line
    assert np.interp(0, x, y) == pytest.approx(lc, abs=0.1)
    # and the line goes through the data
    group = (-delta > 300) & (-delta < 400)
    assert np.interp(350, x, y) == pytest.approx(100 * (preference[:-1][group] - 1).mean(), abs=8)
    plt.close("all")
