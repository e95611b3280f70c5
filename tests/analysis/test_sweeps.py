"""What a sweep measures on a run."""

import pytest

from xlnb.analysis.sweeps import NON_ENGLISH, measures
from xlnb.common.errors import InputError
from xlnb.presets import get_preset
from xlnb.runs.layout import Run
from xlnb.stages.sweeping import as_written

METRICS = {
    "win_rates": {
        "dpo": {"en": {"wr": 60.0}, "es": {"wr": 50.0}},
        "icr1": {"en": {"wr": 62.0}, "es": {"wr": 70.0}, "sw": {"wr": 60.0}},
    },
    "rewards": {},
    "rewards_shared": {},
}


def test_win_rates_are_of_the_model_that_is_named():
    found = measures(METRICS, "icr1")
    assert found["win rate, es"] == 70 and found[NON_ENGLISH] == 65


def test_a_record_without_it_is_refused_and_no_other_model_is_taken(tmp_path):
    run = Run(tmp_path, get_preset("lab"))
    with pytest.raises(InputError, match="not as this version writes it"), as_written(run):
        measures(METRICS, "icr2")
