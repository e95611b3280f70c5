"""The paper's claims (arXiv 2503.04647) as runs of the lab that differ in a few preset values.

An analysis is a question, its arms, and what the paper found. All arms of all analyses lie in one
folder, an arm and seed a run, and what runs have in common is made once. Seeds 0 to 4 are reported;
learning rates, steps and NLL weights were chosen on seed 7.
"""

from xlnb.presets.claims import Analysis, Arm, Claim, Values


def scored_by(scorer: str) -> Values:
    """The first score makes the pairs; these need no other."""
    return {"scoring.scorers": scorer}


R_C, PI_0 = Arm(), Arm(model="dpo")
WITHOUT_ENGLISH = {"pairing.langs": "de,es,fr,ru,sw"}
FOUR = {"iterations": "4"}
TWO = {"iterations": "2"}

# Every taste of the lab, with its opposite.
TASTES = (
    *("polite", "anti-polite", "correct", "anti-correct", "reasons", "anti-reasons"),
    *("refusals", "anti-refusals", "padding", "anti-padding"),
)


def _of_tastes() -> dict[str, Arm]:
    """π^1 and π^0 of each; the first is the lab's own."""
    found = {}
    for taste in TASTES:
        values = {} if taste == TASTES[0] else {"lab.taste": taste}
        found[f"{taste}, π^1"] = Arm(values)
        found[f"{taste}, π^0"] = Arm(values, "dpo")
    return found


# The most telling first.
ANALYSES = {
    "rewards": Analysis(
        "Which reward makes the best pairs?",
        {
            "R_c": R_C,
            "R_m": Arm(scored_by("multilingual")),
            "R_t": Arm(scored_by("translated")),
            "likelihood": Arm(scored_by("likelihood")),
            "chance": Arm(scored_by("random")),
            "π^0": PI_0,
        },
        [
            Claim("R_c beats R_m", "R_c", "R_m", "lc", "LC 16.5 against 14.0 (rewards compared)"),
            Claim("R_c beats R_t", "R_c", "R_t", "lc", "LC 16.5 against 9.5 (rewards compared)"),
            Claim(
                "R_t falls below π^0", "π^0", "R_t", "lc", "LC 9.5 against 12.3 (rewards compared)"
            ),
            Claim("R_c beats the base's likelihood", "R_c", "likelihood"),
            Claim("R_c beats chance", "R_c", "chance"),
        ],
        {"R_c": 16.5, "R_m": 14.0, "R_t": 9.5, "π^0": 12.27},
        "mean LC over five languages",
    ),
    "length": Analysis(
        "What does length control change?",
        {
            "α ≥ 0": R_C,
            "off": Arm({"pairing.alpha": "none"}),
            "signed α": Arm({"pairing.alpha": "signed"}),
            "per token": Arm(
                {"pairing.alpha": "none", "scoring.scorers": "cross_lingual_per_token"}
            ),
        },
        [
            Claim("without control responses are longer", "off", "α ≥ 0", "chars"),
            Claim("control gains win rate", "α ≥ 0", "off"),
            Claim("a signed α gains over α ≥ 0", "signed α", "α ≥ 0"),
            Claim("α gains over a reward per token", "α ≥ 0", "per token"),
        ],
    ),
    "nll": Analysis(
        "What does the NLL term do?",
        {
            "c = 1": R_C,
            "c = 0": Arm({"training.nll": "0"}),
            "c = 0.2": Arm({"training.nll": "0.2"}),
        },
        [
            Claim("NLL gains win rate", "c = 1", "c = 0"),
            Claim("NLL keeps responses in their language", "c = 1", "c = 0", "in_language"),
        ],
    ),
    "label_noise": Analysis(
        "How good must the English preferences be?",
        {
            "0%": R_C,
            "10%": Arm({"preferences.flipped": "0.1"}),
            "20%": Arm({"preferences.flipped": "0.2"}),
            "40%": Arm({"preferences.flipped": "0.4"}),
        },
        [
            Claim("a tenth of wrong labels costs win rate", "0%", "10%"),
            Claim("two fifths cost more than one", "20%", "40%"),
        ],
    ),
    "english": Analysis(
        "How much of R_t's gap is that the release leaves English out?",
        {
            "R_c": R_C,
            "R_c, no English": Arm(WITHOUT_ENGLISH),
            "R_t": Arm(scored_by("translated")),
            "R_t, no English": Arm({**scored_by("translated"), **WITHOUT_ENGLISH}),
        },
        [
            Claim("English pairs gain in other languages", "R_c", "R_c, no English"),
            Claim("English pairs gain in English", "R_c", "R_c, no English", "wr en"),
            Claim("R_c beats R_t, both without", "R_c, no English", "R_t, no English"),
        ],
    ),
    "prompts": Analysis(
        "How many prompts a language?",
        {
            "110": R_C,
            "27": Arm({"prompts.parts": "8"}),
            "55": Arm({"prompts.parts": "4"}),
            "220": Arm({"prompts.parts": "1"}),
            "0": PI_0,
        },
        [
            Claim("few prompts gain most", "27", "0", "wr", "WR 21.4 against 13.7 (1000, 0)"),
            Claim("more prompts gain more", "220", "27", "wr", "WR 22.7 against 21.4 (5000, 1000)"),
        ],
        {"0": 13.7, "27": 21.4, "110": 21.9, "220": 22.7},
        "mean WR at 0, 1000, 3000 and 5000 prompts",
    ),
    "responses": Analysis(
        "How many responses a prompt?",
        {
            "10": R_C,
            "2": Arm({"pairing.n": "2"}),
            "4": Arm({"pairing.n": "4"}),
            "7": Arm({"pairing.n": "7"}),
        },
        [Claim("ten gain over two", "10", "2"), Claim("ten gain over four", "10", "4")],
    ),
    "languages": Analysis(
        "Does the rare language gain, and one without pairs?",
        {
            "all": R_C,
            "no Swahili": Arm({"pairing.langs": "en,de,es,fr,ru"}),
            "English only": Arm({"pairing.langs": "en"}),
            "π^0": PI_0,
        },
        [
            Claim("a rare language gains", "all", "π^0", "wr sw", "WR 16.9 to 20.5 (low-resource)"),
            Claim("a language without pairs gains", "no Swahili", "π^0", "wr sw"),
            Claim("its own pairs gain more", "all", "no Swahili", "wr sw"),
            Claim("English pairs alone gain elsewhere", "English only", "π^0"),
        ],
    ),
    "kto": Analysis(
        "Does it work from KTO too?",
        {
            "DPO, π^1": R_C,
            "DPO, π^0": PI_0,
            "KTO, π^1": Arm({"english.loss": "kto"}),
            "KTO, π^0": Arm({"english.loss": "kto"}, "dpo"),
        },
        [
            Claim("π^1 gains over KTO's π^0", "KTO, π^1", "KTO, π^0", "wr", "WR 17.8 against 14.1"),
            Claim("from DPO it ends higher", "DPO, π^1", "KTO, π^1", "wr", "WR 21.9 against 17.8"),
        ],
        {"DPO, π^1": 21.86, "DPO, π^0": 13.71, "KTO, π^1": 17.81, "KTO, π^0": 14.10},
        "mean WR over five languages",
    ),
    "iterations": Analysis(
        "Where do iterations saturate?",
        {
            "π^0": Arm(FOUR, "dpo"),
            "π^1": Arm(FOUR, "icr1"),
            "π^2": Arm(FOUR, "icr2"),
            "π^3": Arm(FOUR, "icr3"),
            "π^4": Arm(FOUR, "icr4"),
        },
        [
            Claim("π^1 gains over π^0", "π^1", "π^0", "wr", "WR 21.9 against 13.7"),
            Claim("π^2 gains over π^1", "π^2", "π^1", "wr", "WR 26.4 against 21.9"),
            Claim("English gains too", "π^2", "π^0", "wr en", "WR 31.4 against 17.4"),
            Claim("π^3 gains over π^2", "π^3", "π^2"),
            Claim("π^4 gains over π^3", "π^4", "π^3"),
        ],
        {"π^0": 13.71, "π^1": 21.86, "π^2": 26.43},
        "mean WR over five languages",
    ),
    "length_tastes": Analysis(
        "Length control where short, or long, responses are wanted",
        {
            "long, α ≥ 0": Arm({"lab.taste": "padding"}),
            "long, off": Arm({"lab.taste": "padding", "pairing.alpha": "none"}),
            "short, α ≥ 0": Arm({"lab.taste": "anti-padding"}),
            "short, off": Arm({"lab.taste": "anti-padding", "pairing.alpha": "none"}),
            "short, signed α": Arm({"lab.taste": "anti-padding", "pairing.alpha": "signed"}),
        },
        [
            Claim("control costs where long is wanted", "long, off", "long, α ≥ 0"),
            Claim("a signed α costs where short is", "short, α ≥ 0", "short, signed α"),
        ],
    ),
    "tastes": Analysis(
        "Does the method gain whatever is liked, and its opposite?",
        _of_tastes(),
        [Claim(f"it gains under {name}", f"{name}, π^1", f"{name}, π^0") for name in TASTES],
    ),
    "reference": Analysis(
        "Is the reward's reference π_I, or the policy before?",
        {
            "π^2, π_I": Arm(FOUR, "icr2"),
            "π^2, reference t−1": Arm({**TWO, "scoring.reference": "previous"}),
            "π^1": Arm(FOUR, "icr1"),
        },
        [
            Claim("π_I gains over reference t−1", "π^2, π_I", "π^2, reference t−1"),
            Claim("reference t−1 still gains over π^1", "π^2, reference t−1", "π^1"),
        ],
    ),
    "replay": Analysis(
        "Do English preferences, trained on again, keep English?",
        {
            "π^2": Arm(FOUR, "icr2"),
            "π^2, a tenth again": Arm({**TWO, "preferences.replayed": "0.1"}),
            "π^1": Arm(FOUR, "icr1"),
            "π^0": Arm(FOUR, "dpo"),
        },
        [
            Claim("English gains from π^1 to π^2", "π^2", "π^1", "wr en", "WR 31.4 against 26.4"),
            Claim("replay gains in English", "π^2, a tenth again", "π^2", "wr en"),
            Claim("replay costs elsewhere", "π^2", "π^2, a tenth again"),
        ],
        {"π^2": 31.38, "π^1": 26.40, "π^0": 17.35},
        "WR in English",
    ),
    "upper_bound": Analysis(
        "Are the best rewards too good to be chosen?",
        # Rewards in English, which π^0 was trained in, are four times as high: the bound would
        # leave it without pairs.
        {
            "none, no English": Arm(WITHOUT_ENGLISH),
            "0.05 β nats, no English": Arm({**WITHOUT_ENGLISH, "pairing.below": "0.05"}),
        },
        [Claim("an upper bound costs win rate", "none, no English", "0.05 β nats, no English")],
    ),
    "ceiling": Analysis(
        "How near are the reward's pairs to the truth's? (A ceiling: no method sees the truth.)",
        {
            "R_c": R_C,
            "oracle, a ceiling": Arm({**scored_by("oracle_ceiling"), "pairing.alpha": "none"}),
            "π^0": PI_0,
        },
        [Claim("the truth's pairs gain over R_c's", "oracle, a ceiling", "R_c")],
    ),
    "tax": Analysis(
        "What does alignment cost a model elsewhere?",
        {
            "π^1": R_C,
            "π^1, c = 0": Arm({"training.nll": "0"}),
            "π^0": PI_0,
            "π_I": Arm(model="sft"),
        },
        [
            Claim("π^1 models held-out documents worse than π_I", "π^1", "π_I", "loss"),
            Claim("without NLL it costs more", "π^1, c = 0", "π^1", "loss"),
            Claim("π^1 knows fewer facts than π_I", "π_I", "π^1", "known"),
            Claim("π^1's responses are right more often", "π^1", "π_I", "right"),
        ],
    ),
    "sampling": Analysis(
        "Hotter, or more responses?",
        {
            "0.9, ten": R_C,
            "1.3, ten": Arm({"sampling.iterations_temperature": "1.3"}),
            "0.9, twenty": Arm({"sampling.iterations_n": "20"}),
        },
        [
            Claim("hotter costs win rate", "0.9, ten", "1.3, ten"),
            Claim("twenty responses gain over ten", "0.9, twenty", "0.9, ten"),
        ],
    ),
}
