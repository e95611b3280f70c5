"""The gate: the plain mean where it knows nothing, conflicts by hand, and what it learns."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from xlnb.common.errors import InputError
from xlnb.fusion import Gate, Labelled, conflicts, fit_gate, standardised

STREAM = np.random.default_rng(0)


def test_the_plain_mean_is_the_mean_of_standardised_views():
    views = STREAM.normal(size=(3, 6)) * [[1], [50], [0.1]]
    z = (views - views.mean(1, keepdims=True)) / views.std(1, keepdims=True)
    assert Gate.mean(3).score(views) == pytest.approx(z.mean(0))
    assert not standardised(np.ones((2, 4))).any()
    # A single view keeps its order, whatever the gate.
    assert (np.argsort(Gate((3.0,), 2.0).score(views[:1])) == np.argsort(views[0])).all()


def test_conflicts_by_hand():
    views = np.array([[1, 2, 3, 4], [10, 20, 30, 40], [4, 3, 2, 1]], float)
    # The third turns both others round, which agree.
    assert conflicts(views).tolist() == [1, 1, 2]
    assert conflicts(views[:2]).tolist() == [0, 0] and conflicts(views[:1]).tolist() == [0]
    some = STREAM.normal(size=(2, 9))
    assert conflicts(some)[0] == pytest.approx(1 - kendalltau(*some).statistic)
    gate = Gate((0.0, 0.0, 0.0), 2.0)
    weights = gate.weights(views)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] / weights[2] == pytest.approx(np.exp(2))


def labelled(prompts, broken):
    """Three views of a truth, of which one, `broken`(prompt), is turned round; and its pairs."""
    found = []
    for number in range(prompts):
        truth = STREAM.normal(size=8)
        views = truth + 0.7 * STREAM.normal(size=(3, 8))
        views[broken(number)] *= -1
        order = np.argsort(truth)
        found.append(Labelled(views, [(order[-1], order[0]), (order[-2], order[1])]))
    return found


def accuracy(gate, prompts):
    right = []
    for prompt in prompts:
        scores = gate.score(prompt.views)
        right += [scores[better] > scores[worse] for better, worse in prompt.pairs]
    return np.mean(right)


def test_it_learns_to_distrust_the_view_that_the_others_contradict():
    # Each view is turned round in a third of the prompts: no view is better than another, and
    # what is wrong shows in the conflict alone.
    train = labelled(60, lambda number: number % 3)
    test = labelled(300, lambda number: number % 3)
    gate = fit_gate(train)
    assert gate.b > 1
    assert np.ptp(gate.a) < 0.7 * gate.b
    assert accuracy(gate, test) > accuracy(Gate.mean(3), test) + 0.03
    single = [
        np.mean([v[view, b] > v[view, w] for v, ps in test for b, w in ps]) for view in (0, 1, 2)
    ]
    assert accuracy(gate, test) > max(single) + 0.1


def test_it_learns_which_view_is_never_right():
    train = labelled(60, lambda _: 2)
    test = labelled(300, lambda _: 2)
    gate = fit_gate(train)
    assert min(gate.a[:2]) > gate.a[2]
    assert accuracy(gate, test) >= accuracy(Gate.mean(3), test)


def test_views_left_out_keep_it_from_leaning_on_one():
    # The first view is the truth itself in training: without dropping it gets nearly all weight.
    train = []
    for prompt in labelled(60, lambda _: 2):
        views = prompt.views.copy()
        views[2] *= -1
        views[0] = np.argsort(np.argsort(views.mean(0)))
        order = np.argsort(views[0])
        train.append(Labelled(views, [(order[-1], order[0]), (order[4], order[3])]))
    shares = {}
    for drop in (0.0, 0.6):
        gate = fit_gate(train, drop=drop)
        shares[drop] = np.mean([gate.weights(prompt.views)[0] for prompt in train])
    assert shares[0.6] < shares[0.0] - 0.05


def test_the_same_seed_gives_the_same_gate_and_another_order_of_draws_another():
    train = labelled(10, lambda number: number % 3)
    assert fit_gate(train, steps=20) == fit_gate(train, steps=20)
    assert fit_gate(train, steps=20) != fit_gate(train, steps=20, seed=1)


def test_what_cannot_be_fused_is_refused():
    views = np.ones((2, 3))
    with pytest.raises(InputError, match="expected labelled pairs of some prompts"):
        fit_gate([Labelled(views, [])])
    with pytest.raises(InputError, match=r"views: expected 2 rows .* shape \(3, 3\)"):
        fit_gate([Labelled(views, [(0, 1)]), Labelled(np.ones((3, 3)), [(0, 1)])])
    with pytest.raises(InputError, match="finite scores"):
        Gate.mean(2).score(np.array([[1.0, np.nan], [1.0, 2.0]]))
