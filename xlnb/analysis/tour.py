"""One prompt followed from its responses to its pair, and presets side by side: notebook 00."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from xlnb.analysis.pairing import SIDES, text
from xlnb.analysis.read import Record
from xlnb.analysis.responses import verdict
from xlnb.lab.world import Fact, load_world
from xlnb.presets import Preset


def prompt_table(sample: Record, score: Record, pair: Record, taste: str) -> pd.DataFrame:
    """A row a text that was sampled for a prompt; of equal texts the first, as pairs are made.

    Columns: policy_logps, ref_logps (nats), reward (β nats), n_chars, text, role ("chosen",
    "rejected" or ""), oracle (points), times (how often it was sampled).
    """
    table = pd.DataFrame({key: score[key] for key in ("policy_logps", "ref_logps", "reward")})
    table["n_chars"] = score["n_chars"]
    texts = [response["text"] for response in sample["responses"]]
    roles = {text(pair, side): side for side in SIDES}
    table["text"] = texts
    table["role"] = [roles.get(each, "") for each in texts]
    seen = [verdict(sample["prompt_id"], sample["lang"], each) for each in texts]
    table["oracle"] = [each.points(taste) for each in seen]
    table["times"] = [texts.count(each) for each in texts]
    return table.drop_duplicates("text", ignore_index=True)


def of_kind(judged: Sequence[Record], kind: str) -> list[Record]:
    """The first comparison of every fact of this kind; of every fact, where none is of it."""
    world = load_world()
    by_fact: dict[Fact, Record] = {}
    for record in judged:
        by_fact.setdefault(world.fact(record["id"]), record)
    same = [record for fact, record in by_fact.items() if fact.kind == kind]
    return same or list(by_fact.values())


def models_by_languages(
    win_rates: Mapping[str, Mapping[str, Mapping[str, float]]], key: str
) -> pd.DataFrame:
    """One value of metrics.json's `win_rates`, a row a model, a column a language."""
    rows = {}
    for model, by_lang in win_rates.items():
        rows[model] = {lang: entry[key] for lang, entry in by_lang.items()}
    return pd.DataFrame(rows).T


def changed_fields(lab: Preset, mine: Preset) -> pd.DataFrame:
    """A row a field whose values differ."""
    ours = asdict(lab)
    rows = []
    for section, values in asdict(mine).items():
        if not isinstance(values, dict):
            continue
        for key, value in values.items():
            if value != ours[section][key]:
                rows.append({"field": f"{section}.{key}", "lab": ours[section][key], "mine": value})
    return pd.DataFrame(rows)
