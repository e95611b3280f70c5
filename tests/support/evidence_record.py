"""A small evidence.json: one taste and its opposite, two translators, three languages."""


def accuracies(**by_scorer):
    """What `rewards_against_truth` returns: of each score its accuracy in es and ru; in en 1."""
    table = {}
    for scorer, values in by_scorer.items():
        by_lang = dict(zip(("en", "es", "ru"), (1.0, *values), strict=True))
        table[scorer] = {lang: {"pair_accuracy": value} for lang, value in by_lang.items()}
    return table


def evidence_record(seed, rewards):
    """Likelihood is right under the taste and wrong under its opposite, `cross_lingual` has the
    same accuracies (in es and ru) under both."""
    liked = accuracies(cross_lingual=rewards, likelihood=(0.8, 0.6), oracle=(1.0, 0.9))
    disliked = accuracies(cross_lingual=rewards, likelihood=(0.2, 0.4), oracle=(1.0, 0.9))
    translators = {}
    for noise, of_translated in (("0", (0.9, 0.9)), ("0.4", (0.6, 0.4))):
        translators[noise] = accuracies(cross_lingual=rewards, translated=of_translated)
    return {
        "command": f"a record of seed {seed}",
        "seed": seed,
        "tastes": {"polite": liked, "anti-polite": disliked},
        "translators": translators,
    }
