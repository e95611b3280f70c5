"""Related methods as arms of the lab, each beside plain ICR: a page like `presets.analyses`.

A method is an analysis: what it changes, what it should bring by its authors, and the claims that
it gains. Values are the source's where it names one that the lab can have, else one that was set
down beforehand; none was tuned on the seeds that are reported.
"""

from xlnb.presets.analyses import ANALYSES, R_C, scored_by
from xlnb.presets.claims import Analysis, Arm, Claim, Values

# Of the lab's four layers of π_I, the two whose neurons differ most across languages
# (`models.layers.most_different`), and as many at random (`models.layers.random_layers`, seed 0).
MOST_DIFFERENT, AT_RANDOM = "2+3", "1+3"

# Only the score that makes the pairs: the others need more of what an arm changes read again.
R_C_ALONE = scored_by("cross_lingual")
FLIPPED = {"preferences.flipped": "0.2"}
NO_NLL = {"training.nll": "0"}


def in_mlp(layers: str) -> Values:
    """Training in the feed-forward networks of these layers alone."""
    return {"training.layers": layers, "training.modules": "mlp"}


# What is fused: rewards and the base's likelihood.
VIEWS = "cross_lingual,multilingual,likelihood"

RELATED = {
    # Its γ of .98 has a half-life of 34 tokens; responses of the lab have 20.
    "temporal decay": Analysis(
        "D²PO (2502.14340): early tokens count more, by γ^t",
        {
            "ICR": R_C,
            "γ = 0.9 in training": Arm({"training.gamma": "0.9"}),
            "γ = 0.9 in R_c": Arm(
                {**R_C_ALONE, "scoring.gamma": "0.9", "scoring.keep_tokens": "true"}
            ),
        },
        [
            Claim("a decayed loss gains", "γ = 0.9 in training", "ICR", "wr", "+5.9 to 8.8 points"),
            Claim("a decayed reward gains", "γ = 0.9 in R_c", "ICR", "wr", "the same, by its idea"),
        ],
    ),
    # ε is 2s: .1 by its authors; of labels with a known share of errors, that share.
    "label smoothing": Analysis(
        "GRAM (2506.14175): a ranking loss that doubts its labels",
        {
            "ICR": R_C,
            "s = 0.05": Arm({"training.label_smoothing": "0.05"}),
            "a fifth flipped": Arm(FLIPPED),
            "a fifth flipped, s = 0.2": Arm({**FLIPPED, "english.label_smoothing": "0.2"}),
        },
        [
            Claim("smoothing gains", "s = 0.05", "ICR", "wr", "better transfer than plain ranking"),
            Claim(
                "smoothing gains where labels are wrong",
                "a fifth flipped, s = 0.2",
                "a fifth flipped",
                "wr",
                "cDPO: robust to label noise",
            ),
        ],
    ),
    # Trained on plain ICR's English pairs, with GRAM's smoothing and without its first part; four
    # opponents a response, as all nine take twice the time. Of seed 7's shared prompts its best
    # response is truly better than its worst in .950 (English) and .925 (others), R_c's in 1.000
    # and .978.
    "generative reward model": Analysis(
        "GRAM (2506.14175): a model that names the better of two responses",
        {
            "ICR": R_C,
            "comparer": Arm({**scored_by("comparer"), "comparer.opponents": "4"}),
        },
        [
            Claim(
                "a comparer's pairs gain", "comparer", "ICR", "wr",
                "better transfer than plain ranking",
            )
        ],
    ),
    "one-sided samples": Analysis(
        "Dissecting reasoning models (2506.04913): which side teaches, and a good sample injected",
        {
            "ICR": R_C,
            "no NLL": Arm(NO_NLL),
            "chosen alone": Arm({"training.sides": "chosen"}),
            "rejected alone": Arm({"training.sides": "rejected", **NO_NLL}),
            "an answer injected": Arm({"prompts.references": "true"}),
        },
        [
            Claim(
                "rejected responses are enough", "rejected alone", "no NLL", "wr",
                "negatives alone rival both",
            ),
            Claim(
                "chosen responses are enough", "chosen alone", "ICR", "wr",
                "positives alone fall behind",
            ),
            Claim(
                "an injected answer gains", "an answer injected", "ICR", "wr",
                "prompts without a good sample teach",
            ),
        ],
    ),
    "selective layers": Analysis(
        "SLAM (2501.03681): training where neurons differ across languages",
        {
            "ICR": R_C,
            "all MLPs": Arm({"training.modules": "mlp"}),
            "MLPs that differ": Arm(in_mlp(MOST_DIFFERENT)),
            "MLPs at random": Arm(in_mlp(AT_RANDOM)),
        },
        [
            Claim(
                "the chosen layers are enough", "MLPs that differ", "ICR", "wr",
                "better, 4.1 to 11.9 times faster",
            ),
            Claim("MLPs are enough", "all MLPs", "ICR", "wr", "it trains nothing else"),
            Claim(
                "the choice beats chance", "MLPs that differ", "MLPs at random", "wr",
                "it matters which layers",
            ),
        ],
    ),
    # A quarter of the prompts of an iteration.
    "gradient matching": Analysis(
        "Gradient matching (2506.04579): few prompts with the mean gradient of all",
        {
            "ICR": R_C,
            "27 at random": Arm({"prompts.select": "random", "prompts.selected": "27"}),
            "27 by gradients": Arm({"prompts.select": "gradient", "prompts.selected": "27"}),
        },
        [
            Claim("gradients beat chance", "27 by gradients", "27 at random", "wr", "+4%"),
            Claim("a quarter is enough", "27 by gradients", "ICR", "wr", "near all examples"),
        ],
    ),
    "early exit": Analysis(
        "Early exit (2412.01455): rewards by the first three of four layers",
        {"ICR": R_C, "three layers": Arm({**R_C_ALONE, "scoring.layers": "3"})},
        [
            Claim(
                "three layers are enough", "three layers", "ICR", "wr",
                "works without joint training",
            )
        ],
    ),
    "fused rewards": Analysis(
        "Feature fusion (2501.08057): scores weighed by where they conflict",
        {
            "ICR": R_C,
            "R_m": Arm(scored_by("multilingual")),
            "mean of scores": Arm(scored_by(f"mean,{VIEWS}")),
            "gated scores": Arm(scored_by(f"gate,{VIEWS}")),
        },
        [
            Claim(
                "the gate beats the plain mean", "gated scores", "mean of scores", "wr",
                "views that pull apart are weighed",
            ),
            Claim("the gate beats R_c", "gated scores", "ICR", "wr", "fused views beat one"),
            Claim("the gate beats R_m", "gated scores", "R_m", "wr", "fused views beat one"),
        ],
    ),
}  # fmt: skip

# What `analyses --page` takes, and what its record is called.
PAGES = {"analyses": ANALYSES, "related_methods": RELATED}
