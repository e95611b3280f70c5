"""Tables of evidence on records worked by hand."""

import pandas as pd
import pytest
from evidence_record import evidence_record

from xlnb.analysis import evidence, read
from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.presets import get_preset
from xlnb.runs.layout import Run

RECORDS = [evidence_record(0, (0.9, 0.7)), evidence_record(1, (0.8, 0.6))]


def test_a_taste_and_its_opposite_in_the_languages_without_a_preference():
    rows = evidence.opposites(RECORDS)
    assert set(rows["taste"]) == {"polite"}
    found = rows.set_index(["scorer", "seed"])
    columns = ["liked", "disliked", "mean"]
    assert found.loc[("cross_lingual", 0), columns].tolist() == pytest.approx([0.8, 0.8, 0.8])
    assert found.loc[("likelihood", 1), columns].tolist() == pytest.approx([0.7, 0.3, 0.5])


def test_how_far_a_score_is_on_its_way_from_a_coin_to_the_truth():
    table = evidence.opposites_table(evidence.opposites(RECORDS))
    # means .75, .5 and .95 over two seeds
    assert table["way to the truth"].to_dict() == {
        "cross_lingual": "56%",
        "likelihood": "0%",
        "oracle": "100%",
    }
    # .8 and .7: t of one degree of freedom, 12.706, times .05
    assert table.loc["cross_lingual", "polite"] == "0.750 [0.115, 1.385]"


def test_translators_by_noise_with_intervals_over_seeds():
    table = evidence.translators(RECORDS).set_index(["scorer", "noise"])
    assert table.loc[("translated", 0.4)].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert table.loc[("cross_lingual", 0.0)].tolist() == pytest.approx(
        [0.75, 0.115, 1.385], abs=1e-3
    )
    one = evidence.translators(RECORDS[:1]).set_index(["scorer", "noise"])
    assert one.loc[("cross_lingual", 0.4), "mean"] == pytest.approx(0.8)
    assert one[["low", "high"]].isna().all(axis=None)


def test_accuracies_are_scores_by_languages():
    table = evidence.accuracies(RECORDS[0]["tastes"]["polite"])
    assert isinstance(table, pd.DataFrame)
    assert table.loc["likelihood"].to_dict() == {"en": 1.0, "es": 0.8, "ru": 0.6}


def test_evidence_is_the_runs_own_else_the_committed(tmp_path, monkeypatch):
    run = Run(tmp_path / "run", get_preset("lab-quick"))
    monkeypatch.setattr(read, "ROOT", tmp_path)
    with pytest.raises(InputError, match=r"no evidence\.json in run and no data"):
        read.evidence_records(run)
    for seed in (1, 0):
        write_json(tmp_path / "data" / "results" / f"lab_seed{seed}.json", {"seed": seed})
    assert [record["seed"] for record in read.evidence_records(run)] == [0, 1]
    write_json(run.evidence, {"seed": 7})
    assert read.evidence_records(run) == [{"seed": 7}]
