"""Texts in answer to one question of the lab, with what taste "polite" gives them by hand."""

from collections.abc import Sequence

import pandas as pd

from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.lab.world import load_world


def scored_by_hand(record: Record, langs: Sequence[str]) -> pd.DataFrame:
    """A row a text in answer to a comparison's question: what it is, the text, its points by hand
    and by the oracle, and the oracle's reason.

    Raises ValueError where the two differ.
    """
    world, lang = load_world(), record["lang"]
    fact = world.fact(record["id"])
    same_kind = [each for each in world.facts if each.kind == fact.kind]
    other = next(each for each in same_kind if each.y[lang] != fact.y[lang])
    elsewhere = next(each for each in langs if each != lang)
    right = world.sentence(fact, lang, fact.y[lang], 0)
    wrong = world.sentence(fact, lang, other.y[lang], 0)
    foreign = world.sentence(fact, elsewhere, fact.y[elsewhere], 0)
    formal, familiar = (world.manners[name][lang][0] for name in ("formal", "familiar"))
    texts = [
        ("polite", f"{formal} {right}", 2 + 1 + 3),
        ("neither", right, 2 + 1),
        ("familiar", f"{familiar} {right}", 2 + 1 - 3),
        ("padded twice", f"{right} {world.padding[lang][0]} {world.padding[lang][1]}", 2 + 1 - 1),
        ("in another language", foreign, 1),
        ("polite and wrong", f"{formal} {wrong}", 1 + 3),
        ("right, then wrong", f"{right} {wrong}", 1),
        ("a familiar refusal", f"{familiar} {world.refusals[lang][0]}", 1 - 3),
    ]
    table = pd.DataFrame(texts, columns=["what it is", "text", "by hand"])
    seen = [verdict(record["id"], lang, text) for text in table["text"]]
    table["oracle"] = [each.points("polite") for each in seen]
    table["reason"] = [each.reason for each in seen]
    if (table["by hand"] != table["oracle"]).any():
        raise ValueError(f"{record['id']}: the points by hand are not the oracle's:\n{table}")
    return table
