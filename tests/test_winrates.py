"""Win rates against hand-worked values, brute force, simulation, and AlpacaEval's and the paper's
figures."""

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from xlnb.common.errors import InputError
from xlnb.common.files import write_json
from xlnb.common.l1_logistic import L1_C
from xlnb.evaluation.alpaca_eval import Annotation
from xlnb.evaluation.annotations import judged_columns, read_judged
from xlnb.evaluation.biases import length_bias, position_bias
from xlnb.evaluation.summaries import summarise
from xlnb.evaluation.text_table import aligned, format_table, mean_over_languages
from xlnb.winrates import (
    bootstrap_interval,
    discrete_win_rate,
    leaderboard_length_controlled,
    length_controlled,
    paired_difference,
    pooled,
    prompts_needed,
    win_rate,
)

DATA = Path(os.environ.get("XLNB_PUBLISHED_DATA", Path(__file__).parents[1] / "../shared/data"))
PUBLISHED = DATA / "alpaca_eval"
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(),
    reason=f"no published data in {DATA}: set XLNB_PUBLISHED_DATA to its folder",
)
NAN = float("nan")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def lengths(delta):
    """len_output, len_baseline with len_baseline - len_output = delta."""
    baseline = np.full(len(delta), 10_000)
    return baseline - delta, baseline


def test_win_rate_by_hand():
    # y = 0, 1, .5, 1: mean .625, squared deviations sum to .6875, sd = sqrt(.6875 / 3) = .478714, /
    # sqrt(4)
    assert win_rate([1, 2, 1.5, 2]) == pytest.approx((62.5, 23.9357), abs=1e-4)
    with_gaps: list = [1, NAN, 2, 1.5, None, 2]
    assert win_rate(with_gaps) == win_rate([1, 2, 1.5, 2])
    assert win_rate([1.5] * 7) == (50.0, 0.0)
    assert win_rate([2])[0] == 100
    assert np.isnan(win_rate([2])[1])


def test_discrete_win_rate_by_hand():
    preference = [1.2, 1.9, 1.5, 1.6, NAN]
    # (0 + 1 + 1/2 + 1) / 4
    assert discrete_win_rate(preference) == 62.5
    assert win_rate(preference)[0] == pytest.approx(55)


@pytest.mark.parametrize(
    "bad", [[0.99, 1.5], [1.5, 2.01], [np.inf, 1], [NAN, NAN], [], ["win"], [[1, 2]]]
)
def test_bad_preferences_raise(bad):
    n = len(bad)
    for call in (
        lambda: win_rate(bad),
        lambda: discrete_win_rate(bad),
        lambda: bootstrap_interval(bad),
        lambda: length_controlled(bad, range(n), range(n)),
        lambda: paired_difference(bad, [1.5] * n),
    ):
        with pytest.raises(InputError, match="preference"):
            call()


def test_a_bad_preference_is_named():
    with pytest.raises(InputError, match=r"row 1 is 2.4, expected 1 .* to 2"):
        win_rate([1, 2.4])


def test_bootstrap_interval_is_the_percentile_of_all_resamples():
    y = np.array([0.0, 0.3, 0.4, 1.0])
    exact = [100 * np.mean(draw) for draw in itertools.product(y, repeat=4)]
    for level in (0.5, 0.8, 0.95):
        expected = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
        assert bootstrap_interval(1 + y, level=level, resamples=40_000) == pytest.approx(
            expected, abs=2.6
        )
    assert bootstrap_interval([1.5, NAN, 1.5]) == (50, 50)
    assert bootstrap_interval(1 + y, seed=1) == bootstrap_interval(1 + y, seed=1)
    for options in ({"level": 0}, {"level": 1}, {"resamples": 0}):
        with pytest.raises(InputError, match="bootstrap"):
            bootstrap_interval([1, 2], **options)


@pytest.mark.parametrize(("n", "repeats"), [(100, 1000), (805, 500)])
def test_bootstrap_interval_covers_the_true_win_rate(n, repeats):
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(repeats):
        # a true win rate of 60
        preference = rng.choice([1, 1.5, 2], p=[0.3, 0.2, 0.5], size=n)
        lo, hi = bootstrap_interval(preference, resamples=300, seed=seed)
        covered += lo <= 60 <= hi
    assert 0.93 <= covered / repeats <= 0.97


def test_paired_difference_by_hand():
    # differences 100, 50, 0, 0: mean 37.5, sd = sqrt(6875 / 3) = 47.871, t = 1.5667; t_3 has
    # P(|t| > x) = 1 - 2 (atan(u) + u / (1 + u^2)) / pi with u = x / sqrt(3)
    result = paired_difference([2, 2, 1.5, 1, NAN, 2], [1, 1.5, 1.5, 1, 2, NAN])
    assert (result["difference"], result["se"]) == pytest.approx((37.5, 23.9357), abs=1e-4)
    u = 1.566699 / np.sqrt(3)
    assert result["p_value"] == pytest.approx(
        1 - 2 * (np.arctan(u) + u / (1 + u * u)) / np.pi, abs=1e-6
    )
    lo, hi = result["ci"]
    assert 0 <= lo <= 37.5 <= hi <= 100


def test_paired_difference_agrees_with_scipy_and_changes_sign_with_the_order():
    rng = np.random.default_rng(1)
    a, b = 1 + rng.random((2, 50))
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth["p_value"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert (
        forth["difference"] == pytest.approx(win_rate(a)[0] - win_rate(b)[0]) == -back["difference"]
    )
    assert forth["ci"] == pytest.approx([-back["ci"][1], -back["ci"][0]])


def test_paired_difference_without_variance():
    same = paired_difference([1, 2, 1.5], [1, 2, 1.5])
    counts = {"n": 3, "clusters": 3}
    assert same == {"difference": 0, "se": 0, "ci": [0, 0], "p_value": 1, **counts}
    apart = paired_difference([2, 2, 2], [1.5, 1.5, 1.5])
    assert apart == {"difference": 50, "se": 0, "ci": [50, 50], "p_value": 0, **counts}


def test_clusters_of_one_prompt_change_nothing():
    rng = np.random.default_rng(4)
    a, b = 1 + rng.integers(0, 3, (2, 60)) / 2
    a[7] = NAN
    alone = [f"prompt {i}" for i in range(60)]
    assert win_rate(a, clusters=alone) == pytest.approx(win_rate(a))
    assert bootstrap_interval(a, clusters=alone) == bootstrap_interval(a)
    assert paired_difference(a, b, clusters=alone) == paired_difference(a, b)


def test_clusters_of_equal_size_are_tested_by_their_means():
    rng = np.random.default_rng(5)
    a = 1 + (rng.random((30, 1)) + rng.random((30, 4))) / 2
    b = np.full((30, 4), 1.6)
    clusters = np.repeat(np.arange(30), 4).tolist()
    found = paired_difference(a.ravel(), b.ravel(), clusters=clusters)
    means = (a - b).mean(axis=1)
    assert found["difference"] == pytest.approx(100 * means.mean())
    assert found["se"] == pytest.approx(100 * stats.sem(means))
    assert found["p_value"] == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert (found["n"], found["clusters"]) == (120, 30)
    assert found["se"] > 1.3 * paired_difference(a.ravel(), b.ravel())["se"]
    with pytest.raises(InputError, match="judged on 1 prompts or clusters"):
        paired_difference([1, 2], [1, 1], clusters=["a", "a"])


def test_paired_difference_needs_the_same_prompts():
    with pytest.raises(InputError, match="2 of a, 3 of b"):
        paired_difference([1, 2], [1, 2, 2])
    with pytest.raises(InputError, match="judged on 1 prompts"):
        paired_difference([1, 2, NAN], [1, NAN, 2])


def test_paired_test_has_its_false_positive_rate_and_uses_the_pairing():
    rng = np.random.default_rng(2)
    n, repeats = 100, 3000
    results = []
    for _ in range(repeats):
        # what the two models' results on a prompt have in common
        ease = rng.normal(0, 1.5, n)
        a, b = (1.0 + (rng.random(n) < sigmoid(ease)) for _ in range(2))
        results.append(paired_difference(a, b))
    assert 0.04 <= np.mean([result["p_value"] < 0.05 for result in results]) <= 0.06
    unpaired_se = 100 * np.sqrt(2 * 0.25 / n)
    assert np.mean([result["se"] for result in results]) < 0.9 * unpaired_se


def test_length_controlled_by_hand():
    # Length tells nothing: w_len = 0, and w_b is where the penalty balances sum(y - sigmoid(w_b)) =
    # 1 / C: LC = 100 (3/4 - 1 / (4 * 21.54))
    lc = length_controlled([2, 1.5, 2, 1.5], *lengths(np.array([30, 30, -30, -30])))
    assert lc == pytest.approx(75 - 100 / (4 * 21.54), abs=1e-5)


def test_length_controlled_agrees_with_another_solver():
    rng = np.random.default_rng(3)
    for n in (30, 300):
        delta = rng.normal(-100, 200, n).round()
        y = np.where(rng.random(n) < 0.5, rng.random(n), rng.random(n) < sigmoid(delta / 200 + 0.5))
        features = np.column_stack([np.tanh(delta / delta.std(ddof=1)), np.ones(n)])
        # A soft label is two rows: label 1 with weight y, label 0 with weight 1 - y
        liblinear = LogisticRegression(
            l1_ratio=1,
            C=L1_C,
            solver="liblinear",
            fit_intercept=False,
            tol=1e-9,
            max_iter=10_000,
            random_state=0,
        )
        weight = np.concatenate([y, 1 - y])
        liblinear.fit(np.vstack([features, features]), np.repeat([1, 0], n), sample_weight=weight)
        expected = 100 * sigmoid(liblinear.coef_[0, 1])
        preference, (output, baseline) = 1 + y, lengths(delta)
        assert length_controlled(preference, output, baseline) == pytest.approx(expected, abs=1e-3)
        # A row without a judgement counts for nothing, neither in the fit nor in sd(d)
        more = (np.append(preference, NAN), np.append(output, 90_000), np.append(baseline, 0))
        assert length_controlled(*more) == length_controlled(preference, output, baseline)


@pytest.mark.parametrize("sampled", [False, True])
def test_length_controlled_recovers_a_planted_preference(sampled):
    # At equal lengths the judge prefers the model 60% of the time; it also likes length, and the
    # model writes longer answers.
    rng = np.random.default_rng(4)
    n = 20_000 if sampled else 805
    delta = rng.normal(-150, 200, n).round()
    p = sigmoid(np.log(0.6 / 0.4) - 1.5 * np.tanh(delta / delta.std(ddof=1)))
    y = (rng.random(n) < p).astype(float) if sampled else p
    output, baseline = lengths(delta)
    assert win_rate(1 + y)[0] > 70
    assert length_controlled(1 + y, output, baseline) == pytest.approx(60, abs=1)


def test_length_controlled_is_unbiased_on_samples_of_a_leaderboards_size():
    # As above, judged once a prompt: over many data sets LC is right on average, WR is 10 points
    # too high.
    rng = np.random.default_rng(7)
    lcs, wrs = [], []
    for _ in range(200):
        delta = rng.normal(-150, 200, 805).round()
        p = sigmoid(np.log(0.6 / 0.4) - 1.1 * np.tanh(delta / delta.std(ddof=1)))
        preference = 1.0 + (rng.random(805) < p)
        lcs.append(length_controlled(preference, *lengths(delta)))
        wrs.append(win_rate(preference)[0])
    assert np.mean(wrs) > 69
    assert np.mean(lcs) == pytest.approx(60, abs=1)
    assert np.std(lcs) < 4


def test_prompts_needed_by_hand_and_in_simulation():
    # (1.959964 + 0.841621)^2 = 7.848879; times (50 / 5)^2 = 784.9
    assert prompts_needed(5, 50) == prompts_needed(-5, 50) == 785
    assert (
        prompts_needed(5, 50, level=0.99, power=0.9) == 1488
    )  # (2.575829 + 1.281552)^2 = 14.879386
    assert prompts_needed(5, 0) == 2
    rng, n = np.random.default_rng(8), prompts_needed(10, 50)
    seen = 0
    for _ in range(
        2000
    ):  # two models of 55 and 45 on a prompt's independent draws: sd sqrt(2 0.2475) 100 = 70.4
        a, b = 1.0 + (rng.random(2 * n) < 0.55), 1.0 + (rng.random(2 * n) < 0.45)
        difference = a - b
        seen += abs(difference.mean()) > 1.96 * difference.std(ddof=1) / np.sqrt(2 * n)
    assert seen / 2000 == pytest.approx(0.8, abs=0.03)
    for arguments in ((0, 50), (NAN, 50), (5, -1), (5, np.inf)):
        with pytest.raises(InputError, match="prompts_needed"):
            prompts_needed(*arguments)
    for options in ({"level": 1}, {"power": 0}):
        with pytest.raises(InputError, match="prompts_needed"):
            prompts_needed(5, 50, **options)


def test_pooled_counts_a_prompt_once_however_many_languages_it_is_in():
    by_lang = {"en": {"a": 2.0, "b": 1.0, "c": NAN}, "de": {"a": 1.0, "b": 1.0, "d": 1.5, "c": NAN}}
    assert pooled(by_lang) == {"a": 1.5, "b": 1.0, "d": 1.5}
    # The same verdicts in five languages are no more than in one.
    rng = np.random.default_rng(9)
    verdicts = dict(zip(map(str, range(300)), 1.0 + (rng.random(300) < 0.5), strict=True))
    again = pooled(dict.fromkeys(("en", "de", "fr", "es", "ru"), verdicts))
    assert win_rate(list(again.values())) == win_rate(list(verdicts.values()))
    rows = {lang: dict(zip("abc", 1 + rng.random(3), strict=True)) for lang in ("en", "de")}
    mean = np.mean([win_rate(list(row.values()))[0] for row in rows.values()])
    assert win_rate(list(pooled(rows).values()))[0] == pytest.approx(mean)


def test_position_bias_by_hand():
    # Halves of 40, 0, 20 points: mean 10, sd of (20, 0, 10) = 10, / sqrt(3). The winner changes on
    # the first only.
    bias = position_bias([1.7, 1.1, 1.9, NAN], [1.3, 1.1, 1.7, 1.5])
    assert (bias["bias"], bias["se"], bias["n"]) == (
        pytest.approx(10),
        pytest.approx(10 / np.sqrt(3)),
        3,
    )
    assert bias["agreement"] == pytest.approx(200 / 3)
    # 66.7 against 50
    apart = position_bias([2, 2, 1, NAN, NAN], [NAN, NAN, NAN, 1, 2])
    assert (
        apart["bias"] == pytest.approx((200 / 3 - 50) / 2)
        and apart["n"] == 5
        and np.isnan(apart["agreement"])
    )
    assert apart["se"] == pytest.approx(np.hypot(100 / 3, 50) / 2)
    with pytest.raises(InputError, match="2 shown first, 1 second"):
        position_bias([1, 2], [1])
    with pytest.raises(InputError, match="none of 2"):
        position_bias([1, 2], [NAN, NAN])


def test_position_bias_is_found_whatever_the_models_strength():
    rng, n = np.random.default_rng(10), 20_000
    for strength in (0.2, 0.5, 0.8):
        # shown first is worth 10 points
        first = 1.0 + (rng.random(n) < strength + 0.1)
        second = 1.0 + (rng.random(n) < strength - 0.1)
        shown = rng.random(n) < 0.5
        by_hash = position_bias(np.where(shown, first, NAN), np.where(shown, NAN, second))
        assert by_hash["bias"] == pytest.approx(10, abs=4 * by_hash["se"]) and by_hash["se"] < 0.5
        assert position_bias(first, second)["bias"] == pytest.approx(10, abs=2)


def test_length_bias_by_hand():
    # The model's response is longer on rows 0-2 (wins 2, 1, 2), shorter on rows 3-4 (1, 1), equal
    # on row 5.
    bias = length_bias([2, 1, 2, 1, 1, 2, NAN], [9, 9, 9, 1, 1, 5, 9], [5] * 7)
    assert (bias["wr_longer"], bias["wr_shorter"]) == (pytest.approx(200 / 3), 0)
    assert bias["difference"] == pytest.approx(200 / 3) and bias["se"] == pytest.approx(100 / 3)
    assert bias["longer"] == 50 and bias["w_len"] < 0
    delta = np.array([-4, -4, -4, 4, 4, 0])
    assert bias["sds_apart"] == pytest.approx(abs(delta.mean()) / delta.std(ddof=1))
    never_longer = length_bias([2, 1, 2], [1, 2, 3], [5, 5, 5])
    assert np.isnan(never_longer["wr_longer"]) and np.isnan(never_longer["difference"])
    assert length_bias([2, 1, 1.5], [4, 4, 4], [5, 5, 5])["w_len"] == 0


def test_length_bias_of_a_judge_that_likes_length_and_of_one_that_does_not():
    rng = np.random.default_rng(11)
    delta = rng.normal(0, 300, 5000).round()
    for weight in (0.0, -1.5):
        p = sigmoid(0.3 + weight * np.tanh(delta / delta.std(ddof=1)))
        bias = length_bias(1.0 + (rng.random(5000) < p), *lengths(delta))
        assert bias["w_len"] == pytest.approx(weight, abs=0.15)
        assert (abs(bias["difference"]) < 3 * bias["se"]) == (weight == 0)


def test_length_controlled_where_length_explains_nothing():
    output, baseline = lengths(np.array([5, -3, 40, 0, 11]))
    assert length_controlled([1.5] * 5, output, baseline) == 50
    assert length_controlled([1.5] * 5, baseline, baseline) == 50
    assert length_controlled([2] * 5, output, baseline) == 100
    assert length_controlled([1] * 5, output, baseline) == 0
    assert length_controlled([2], [4], [9]) == 100
    for preference in ([1, 2, 1.5, 2, 2], [1.1, 1.7, 1.3, 2, NAN]):
        for delta in (0, 12, -700):
            same = lengths(np.full(5, delta))
            assert length_controlled(preference, *same) == win_rate(preference)[0]
        # tanh = -1 on all rows
        far = lengths(-np.array([7000, 7100, 7050, 7020, 7001]))
        assert length_controlled(preference, *far) == win_rate(preference)[0]


def test_length_controlled_survives_length_deciding_everything():
    delta = np.arange(-20, 21)
    lc = length_controlled(
        1.5 + 0.5 * np.sign(delta), *lengths(delta)
    )  # the shorter answer wins, always
    assert lc == pytest.approx(50, abs=1e-3)


@pytest.mark.parametrize(
    ("output", "baseline", "message"),
    [
        ([1, 2, 3], [1, 2], "len_baseline: expected 3 numbers, one a row, got 2"),
        ([1, 2], [1, 2, 3], "len_output: expected 3"),
        ([1, 2, -3], [1, 2, 3], "at least 0"),
        ([1, NAN, 3], [1, 2, 3], "len_output: row 1"),
    ],
)
def test_bad_lengths_raise(output, baseline, message):
    with pytest.raises(InputError, match=message):
        length_controlled([1, 2, 1.5], output, baseline)


def annotation(id_, output_1, score_1, output_2, score_2):
    asked = Annotation(prompt_id=f"{id_}", output_1=output_1, output_2=output_2, preference=None)
    return asked.judged({
        "preference": 1.5 + 0.5 * float(np.sign(score_2 - score_1)),
        "score_1": score_1,
        "score_2": score_2,
        "in_language_2": bool(score_2 > 1),
    })  # fmt: skip


def summary_of(annotations):
    return summarise(judged_columns(Path("a.json"), "m", "en", annotations))


def test_swapping_model_and_baseline_gives_the_complement():
    rng = np.random.default_rng(5)
    texts = ["x" * int(n) for n in rng.integers(1, 80, 120)]
    scores = rng.integers(0, 8, 120) + np.array([len(text) // 20 for text in texts])
    rows = list(zip(texts[:60], scores[:60], texts[60:], scores[60:], strict=True))
    forth = summary_of([annotation(i, t1, s1, t2, s2) for i, (t1, s1, t2, s2) in enumerate(rows)])
    back = summary_of([annotation(i, t2, s2, t1, s1) for i, (t1, s1, t2, s2) in enumerate(rows)])
    for key, tolerance in (("wr", 1e-9), ("discrete_wr", 1e-9), ("lc", 1e-3)):
        assert forth[key] != 50
        assert back[key] == pytest.approx(100 - forth[key], abs=tolerance)
    assert back["wr_se"] == pytest.approx(forth["wr_se"])
    assert back["wr_ci"] == pytest.approx([100 - forth["wr_ci"][1], 100 - forth["wr_ci"][0]])


def test_summarise_by_hand():
    texts = [("ab", 1, "abcd", 3), ("abcd", 5, "é", 1), ("a", 2, "abc", 2), ("a", 0, "abcd", 7)]
    records = [annotation(i, *row) for i, row in enumerate(texts)]
    records[3] = replace(records[3], preference=None)
    summary = summary_of(records)
    assert summary.pop("wr_se") == pytest.approx(100 * 0.5 / np.sqrt(3))
    lo, hi = summary.pop("wr_ci")
    assert 0 <= lo <= 50 <= hi <= 100
    assert summary.pop("lc") == length_controlled([2, 1, 1.5], [4, 1, 3], [2, 4, 1])
    assert summary == {
        "wr": 50,
        "discrete_wr": 50,
        "n": 3,
        "clusters": 3,
        "mean_chars": 3,
        "mean_score": 3.25,
        "in_language": 0.75,
    }
    judged_by_a_model = [replace(record, said={}, in_language_2=None) for record in records]
    assert not {"mean_score", "in_language"} & set(summary_of(judged_by_a_model))


def test_the_lab_s_prompts_are_clustered_by_fact():
    texts = [("ab", 1, "abcd", 3), ("abcd", 5, "é", 1), ("a", 2, "abc", 2), ("a", 0, "abcd", 7)]
    ids = [f"capital/{fact}/{phrasing}" for fact in ("france", "portugal") for phrasing in (0, 1)]
    records = []
    for prompt_id, row in zip(ids, texts, strict=True):
        records.append(replace(annotation(0, *row), prompt_id=prompt_id, index=None))
    summary = summary_of(records)
    preference = [record.preference for record in records]
    facts = ["france", "france", "portugal", "portugal"]
    assert (summary["n"], summary["clusters"]) == (4, 2)
    assert summary["wr_ci"] == list(bootstrap_interval(preference, clusters=facts))
    # AlpacaEval's own knows of no clusters.
    assert (summary["wr"], summary["wr_se"]) == win_rate(preference)
    told = format_table({"dpo": {"en": summary}}, pooled={})
    assert "\nWR, 95%, clustered" in told


def test_summarise_the_baseline_against_itself():
    records = [annotation(i, "a" * i, i, "a" * i, i) for i in range(1, 9)]
    summary = summary_of(records)
    assert (summary["wr"], summary["wr_se"], summary["wr_ci"], summary["lc"]) == (
        50,
        0,
        [50, 50],
        50,
    )


def test_the_bad_record_is_named(tmp_path):
    path = tmp_path / "annotations.json"
    records = [annotation(i, "ab", 1, "abc", 3).to_json() for i in range(3)]
    for key in ("preference", "output_2", "score_2", "in_language_2"):
        lacking = {name: value for name, value in records[2].items() if name != key}
        write_json(path, [*records[:2], lacking])
        with pytest.raises(InputError, match=rf"annotations\.json, record 2: {key} is missing"):
            read_judged(path)
    records = [annotation(i, "ab", 1, "abc", 3) for i in range(3)]
    with pytest.raises(InputError, match=r"^a\.json: preference: none of 3"):
        summary_of([replace(record, preference=None) for record in records])


# The paper's table: LC / WR in en, es, ru, de, fr, and their means
PAPER_TABLE = {
    "SFT": ("9.02 6.34 3.96 3.71 4.73", 5.55, "6.25 3.77 3.28 2.62 3.26", 3.84),
    "English DPO": ("17.24 11.32 11.05 10.17 11.56", 12.27, "17.35 12.41 13.82 11.87 13.09", 13.71),
    "iteration 1": ("20.46 14.52 16.00 14.54 17.08", 16.52, "26.40 19.49 22.50 19.69 21.20", 21.86),
    "iteration 2": ("21.19 16.88 18.11 17.92 17.12", 18.24, "31.38 23.37 25.76 26.27 25.35", 26.43),
    "KTO": ("14.99 13.21 10.72 10.14 11.55", 12.12, "15.86 14.22 14.74 12.18 13.49", 14.10),
    "KTO 1": ("15.31 15.34 14.51 12.45 14.82", 14.49, "19.71 17.02 19.10 15.86 17.36", 17.81),
    "KTO 2": ("15.19 15.39 16.13 14.47 15.25", 15.29, "21.36 16.60 19.47 17.26 17.22", 18.38),
}


@pytest.mark.parametrize("model", PAPER_TABLE)
def test_the_papers_means_are_plain_means_over_languages(model):
    lc, mean_lc, wr, mean_wr = PAPER_TABLE[model]
    langs = ("en", "es", "ru", "de", "fr")
    columns = zip(langs, lc.split(), wr.split(), strict=True)
    rows = {lang: {"lc": float(x), "wr": float(y)} for lang, x, y in columns}
    assert mean_over_languages(rows, "lc")[0] == pytest.approx(mean_lc, abs=0.0101)
    assert mean_over_languages(rows, "wr")[0] == pytest.approx(mean_wr, abs=0.0101)
    assert mean_over_languages(rows, "wr")[1] == pytest.approx(sum(map(float, wr.split()[1:])) / 4)


def entry(wr, se=2.1, lc=50.0, chars=100.0):
    return {
        "wr": wr,
        "wr_se": se,
        "wr_ci": [wr - 4, wr + 4],
        "lc": lc,
        "n": 300,
        "mean_chars": chars,
    }


def test_format_table_by_hand():
    sft = {"en": entry(50, 0), "es": entry(50, 0), "sw": entry(50, 0)}
    dpo = {"en": entry(61.24, 2.06, 60, 40), "es": entry(48, 2, 47, 45)}
    dpo["sw"] = entry(40, 2, 43, 51)
    icr1 = {"en": entry(100, 0, 99.96, 12), "sw": entry(3, 1.25, 4, 1204)}
    table = format_table({"sft": sft, "dpo": dpo, "icr1": icr1})
    assert table.split("\n") == [
        "WR±SE         en        es        sw  mean  non-en",
        "sft     50.0±0.0  50.0±0.0  50.0±0.0  50.0    50.0",
        "dpo     61.2±2.1  48.0±2.0  40.0±2.0  49.7    44.0",
        "icr1   100.0±0.0         -   3.0±1.2     -       -",
        "",
        "LC       en    es    sw  mean  non-en",
        "sft    50.0  50.0  50.0  50.0    50.0",
        "dpo    60.0  47.0  43.0  50.0    45.0",
        "icr1  100.0     -   4.0     -       -",
        "",
        "characters   en   es    sw  mean  non-en",
        "sft         100  100   100   100     100",
        "dpo          40   45    51    45      48",
        "icr1         12    -  1204     -       -",
    ]


def test_format_table_with_language_consistency_and_pooled_languages():
    rows = {"de": entry(61.24, 2.06, 60, 40) | {"in_language": 0.955}, "es": entry(48, 2, 47, 45)}
    table = format_table(
        {"dpo": rows}, pooled={"dpo": {"wr": 54.62, "wr_se": 1.6, "wr_ci": (51.5, 57.81)}}
    )
    assert [line.split() for line in table.split("\n") if line] == [
        ["WR±SE", "de", "es", "mean", "non-en", "pooled"],
        ["dpo", "61.2±2.1", "48.0±2.0", "54.6", "54.6", "54.6±1.6"],
        ["WR,", "95%", "de", "es", "pooled"],
        ["dpo", "57.2–65.2", "44.0–52.0", "51.5–57.8"],
        ["LC", "de", "es", "mean", "non-en"],
        ["dpo", "60.0", "47.0", "53.5", "53.5"],
        ["characters", "de", "es", "mean", "non-en"],
        ["dpo", "40", "45", "42", "42"],
        ["in", "language", "de", "es", "mean", "non-en"],
        ["dpo", "95.5%", "-", "-", "-"],
    ]
    alone = format_table({"dpo": {"de": rows["de"]}}, pooled={})
    assert "57.2–65.2" in alone and "pooled" not in alone


def test_format_table_fits_a_terminal():
    rows = {
        lang: entry(61.2, lc=100.0, chars=1234.0) for lang in ("en", "es", "de", "fr", "ru", "sw")
    }
    table = format_table(
        dict.fromkeys(("sft", "dpo", "icr1", "icr2", "gpt-4-turbo-2024-04-09"), rows)
    )
    assert max(map(len, table.split("\n"))) <= 100


def test_names_of_others_stay_in_their_cell():
    """Line ends and what a terminal would obey, of a model's or a category's name."""
    text = aligned(["a", "two\nlines", "\x1b[31mred\u2028"], [["1", "2", "3"]])
    cells = [line.split() for line in text.splitlines()]
    assert cells == [["a", "1"], ["two\\nlines", "2"], ["\\x1b[31mred\\u2028", "3"]]


def test_format_table_of_english_alone_and_of_nothing():
    assert format_table({"sft": {"en": entry(50)}}).split("\n")[1].split() == [
        "sft",
        "50.0±2.1",
        "50.0",
        "-",
    ]
    with pytest.raises(InputError, match="no win rates"):
        format_table({"sft": {}})


def published(model):
    rows = pd.read_csv(PUBLISHED / "annotations" / f"{model}.csv")
    return rows.merge(
        pd.read_csv(PUBLISHED / "instruction_difficulty.csv"), on="index", validate="1:1"
    )


def leaderboard(rows, gamed):
    return leaderboard_length_controlled(
        rows["preference"], rows["len_output"], rows["len_baseline"],
        index=rows["index"], difficulty=rows["instruction_difficulty"], gamed=gamed,
    )  # fmt: skip


@needs_published
@pytest.mark.parametrize(
    ("model", "lc", "wr", "se"),
    [
        ("alpaca-7b", 5.875487, 2.591450, 0.487086),
        ("gpt-3.5-turbo-1106", 19.300589, 9.177965, 0.890412),
        ("gpt4_gamed", 12.188764, 3.738337, 0.627880),
    ],
)
def test_the_leaderboards_published_figures(model, lc, wr, se):
    rows, gamed = published(model), pd.read_csv(PUBLISHED / "gamed_baseline.csv")
    assert win_rate(rows["preference"]) == pytest.approx((wr, se), abs=1e-6)
    assert leaderboard(rows, gamed) == pytest.approx(lc, abs=0.15)
    # Rows are joined by index: their order is nobody's business
    shuffled = leaderboard(
        rows.sample(frac=1, random_state=0), gamed.sample(frac=1, random_state=1)
    )
    assert shuffled == pytest.approx(leaderboard(rows, gamed), abs=1e-4)
    # The own-data form is another quantity: without difficulty and gamed rows it is more than ten
    # points away
    assert (
        abs(length_controlled(rows["preference"], rows["len_output"], rows["len_baseline"]) - lc)
        > 10
    )


def made_up_leaderboard():
    rng = np.random.default_rng(6)
    n = 200
    rows = {
        "index": np.arange(n),
        "instruction_difficulty": rng.normal(0, 1.5, n),
        "len_baseline": np.full(n, 900),
        "len_output": rng.integers(300, 1200, n),
        "preference": 1 + rng.random(n),
    }
    gamed = {
        "gamed_model": np.repeat(["concise", "verbose"], n),
        "index": np.tile(np.arange(n), 2),
        "len_baseline": np.full(2 * n, 900),
        "len_output": np.concatenate([rng.integers(50, 600, n), rng.integers(900, 3000, n)]),
        "pseudo_preference01": np.concatenate([0.4 * rng.random(n), 0.5 + 0.5 * rng.random(n)]),
    }
    return rows, gamed


def test_leaderboard_form_recovers_planted_weights():
    rows, gamed = made_up_leaderboard()
    difficulty, gamed_delta = (
        rows["instruction_difficulty"],
        gamed["len_baseline"] - gamed["len_output"],
    )

    def length(delta):
        return np.tanh(delta / delta.std(ddof=1))

    own = -2 * length(rows["len_baseline"] - rows["len_output"]) + 0.9 * difficulty + 0.7
    rows["preference"] = 1 + sigmoid(own)
    gamed_length = np.concatenate([length(rows_of_one) for rows_of_one in np.split(gamed_delta, 2)])
    gamed["pseudo_preference01"] = sigmoid(-2 * gamed_length + 0.9 * np.tile(difficulty, 2))
    expected = 100 * sigmoid(0.9 * difficulty + 0.7).mean()
    assert leaderboard(rows, gamed) == pytest.approx(expected, abs=0.1)


def test_leaderboard_form_where_length_explains_nothing():
    rows, gamed = made_up_leaderboard()
    n = len(rows["index"])
    assert leaderboard({**rows, "preference": np.full(n, 1.5)}, gamed) == 50
    assert leaderboard({**rows, "preference": np.full(n, 2)}, gamed) == 100
    by_zero = leaderboard({**rows, "len_output": rows["len_baseline"]}, gamed)
    assert leaderboard({**rows, "len_output": rows["len_baseline"] - 7}, gamed) == by_zero
    assert 0 < by_zero < 100


def test_leaderboard_form_refuses_what_does_not_join():
    rows, gamed = made_up_leaderboard()
    with pytest.raises(
        InputError, match="lacks 50 instructions of the gamed rows, the first is 150"
    ):
        leaderboard({key: column[:150] for key, column in rows.items()}, gamed)
    with pytest.raises(InputError, match="repeats"):
        leaderboard({**rows, "index": np.zeros(200)}, gamed)
    with pytest.raises(InputError, match="difficulty: expected 200 numbers"):
        leaderboard({**rows, "instruction_difficulty": [1.0]}, gamed)
    with pytest.raises(InputError, match="difficulty: row 0 is not a finite number"):
        leaderboard({**rows, "instruction_difficulty": np.full(200, NAN)}, gamed)
    with pytest.raises(InputError, match="preference: row 0 is 3"):
        leaderboard(rows, {**gamed, "pseudo_preference01": np.full(400, 2)})
