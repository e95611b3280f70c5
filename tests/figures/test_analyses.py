"""The analyses' pictures say how many seeds a dot stands for."""

import matplotlib.pyplot as plt
import pandas as pd

from xlnb.figures.analyses import MEASURES, beside_paper
from xlnb.presets.analyses import ANALYSES


def test_ours_beside_the_papers():
    analysis = ANALYSES["rewards"]
    rows = [("R_c", 0, 60.0), ("R_c", 1, 62.0), ("π^0", 0, 50.0)]
    figure = beside_paper(pd.DataFrame(rows, columns=["arm", "seed", "value"]), "lc", analysis)
    ours, papers = figure.axes
    assert [label.get_text() for label in ours.get_yticklabels()] == ["$R_c$", "$π^0$"]
    assert [text.get_text() for text in ours.texts] == ["2 seeds", "1 seed"]
    dots = [dot.get_offsets().tolist() for dot in ours.collections]
    assert dots[1] == [[61.0, 0.0]]
    assert papers.get_xlabel() == "mean LC over five languages"
    plt.close(figure)


def test_what_has_no_figure_in_the_paper_stands_alone():
    table = pd.DataFrame([("c = 1", 0, 60.0)], columns=["arm", "seed", "value"])
    figure = beside_paper(table, "wr", ANALYSES["nll"])
    assert len(figure.axes) == 1
    plt.close(figure)


def test_every_analysis_first_measure_has_a_name():
    assert {analysis.claims[0].measure for analysis in ANALYSES.values()} <= MEASURES.keys()
