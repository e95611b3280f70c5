"""Time from annotations of 805 prompts, 13 languages and 5 models to the table with 1,000-fold
bootstrap intervals:

python tests/benchmarks/winrate_table.py [--texts]

Prints the seconds of `python -m xlnb winrate` on 65 CSV files (with --texts on 65 annotations.json
with responses of some 1,500 characters, whose language is told too), and of all bootstrap intervals
by the package and by a plain loop that draws one resample at a time, with their ratio.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from xlnb.common.files import ROOT, write_json
from xlnb.winrates import bootstrap_interval

LANGS = ["ar", "bn", "de", "en", "es", "fr", "it", "ja", "ko", "ru", "sw", "th", "zh"]
MODELS, PROMPTS, RESAMPLES = 5, 805, 1000

rng = np.random.default_rng(0)
preferences = {
    (m, lang): 1 + rng.beta(0.3, 0.5 + 0.1 * m, PROMPTS) for m in range(MODELS) for lang in LANGS
}
text = "Some words of an answer that is long enough to be told from others. " * 60


def seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def one_by_one(preference):
    """The same interval, one resample at a time."""
    y, draw = 100 * (preference - 1), np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        means.append(float(y[draw.integers(0, len(y), len(y))].mean()))
    return np.quantile(means, [0.025, 0.975])


with tempfile.TemporaryDirectory() as name:
    for (m, lang), preference in preferences.items():
        lengths = rng.integers(200, 3000, (2, PROMPTS))
        if "--texts" in sys.argv:
            records = [
                {
                    "index": i,
                    "output_1": text[: lengths[0, i]],
                    "output_2": text[: lengths[1, i]],
                    "preference": p,
                }
                for i, p in enumerate(preference)
            ]
            write_json(Path(name) / f"model{m}" / lang / "annotations.json", records)
        else:
            rows = (
                f"{i},{lengths[0, i]},{lengths[1, i]},{p:.6f}\n" for i, p in enumerate(preference)
            )
            path = Path(name) / f"model{m}.{lang}.csv"
            path.write_text("index,len_output,len_baseline,preference\n" + "".join(rows))
    given = [name] if "--texts" in sys.argv else sorted(map(str, Path(name).iterdir()))
    command = [sys.executable, "-m", "xlnb", "winrate", *given]
    table = seconds(
        lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    )
print(f"{len(preferences)} files of {PROMPTS} rows to a table with intervals: {table:.1f} s")

ours = seconds(lambda: [bootstrap_interval(p, resamples=RESAMPLES) for p in preferences.values()])
loop = seconds(lambda: [one_by_one(p) for p in preferences.values()])
for preference in preferences.values():
    # the same draws
    assert np.allclose(one_by_one(preference), bootstrap_interval(preference))
print(f"all intervals: {ours:.2f} s; one resample at a time: {loop:.2f} s; ratio {loop / ours:.0f}")
