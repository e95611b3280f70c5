"""What more tries bring of a translator whose errors are known: yield, calls, precision.

    python tests/benchmarks/drafts.py

The lab's world translates its own English questions (one wording of each training fact) into its
five other languages and back, with errors at a rate (`xlnb.lab.questions`); `localise`'s own check
keeps or drops them, and up to three tries ask for more of what failed. The world knows which
translations are right. Errors are drawn anew for every call, or half of them belong to the text:
whoever is asked, however often, makes the same one. The one who refines takes what two of three
drafts agree on, else the first, and errs at the same rate: no more than a stand-in for a model.
Writes data/results/drafts.json.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import mean, stdev
from typing import Any

from xlnb.common.files import ROOT, write_json
from xlnb.common.records import Prompt
from xlnb.inputs.localisation import back_tasks, keep_parallel, prompt_task
from xlnb.inputs.redrafting import check_tries, redraft
from xlnb.lab.questions import is_translation, translate_question
from xlnb.lab.world import load_world
from xlnb.runs.provenance import environment

SEEDS = range(5)
NOISE = (0.0, 0.1, 0.2, 0.4)
# the share of errors that belong to the text
STUBBORN = (0.0, 0.5)
MIN_CHRF = (40.0, 80.0)
TRIES = 3
WORLD = load_world()
LANGS = [lang for lang in WORLD.langs if lang != "en"]
ENGLISH = [p for p in WORLD.prompts("en") if p.split == "train" and p.prompt_id.endswith("/0")]


@dataclass
class Translators:
    """The world's, with a count of their calls by try."""

    noise: float
    stubborn: float
    seed: int
    calls: Counter[int] = field(default_factory=Counter)

    def __post_init__(self):
        self._rng = random.Random(f"{self.seed} calls")
        hard = self.noise * self.stubborn
        self._hard = hard
        # so that one call errs as often as `noise` says
        self._passing = (self.noise - hard) / (1 - hard)

    def ask(self, tasks: Sequence[Prompt], what: str, lang: str, number: int) -> list[dict]:
        """As a stage's translator: sample records."""
        self.calls[number] += len(tasks)
        if what == "refined":
            said = [self._refined(task, lang) for task in tasks]
        else:
            source = lang if what == "back" else "en"
            said = [self._said(task, source) for task in tasks]
        found = []
        for task, text in zip(tasks, said, strict=True):
            response = {"text": text, "finish_reason": "stop"}
            names = {"prompt_id": task.prompt_id, "lang": task.lang}
            found.append({**names, "responses": [response]})
        if what == "drafts":
            self._drafts = {task.prompt_id: text for task, text in zip(tasks, said, strict=True)}
        return found

    def _said(self, task: Prompt, source: str) -> str:
        text = task.instruction.partition("\n\n")[2]
        its_own = random.Random(f"{self.seed} {source} {task.lang} {text}")
        if its_own.random() < self._hard:
            return translate_question(text, source, task.lang, 1.0, its_own)
        return translate_question(text, source, task.lang, self._passing, self._rng)

    def _refined(self, task: Prompt, lang: str) -> str:
        prompt_id = task.prompt_id.removesuffix(" refined")
        drafts = [text for i, text in self._drafts.items() if i.rpartition(" ")[0] == prompt_id]
        (text, _), *_ = Counter(drafts).most_common()
        wrong = self._rng.random() < self.noise
        return self._said(task, "en") if wrong else text


def measure(noise: float, stubborn: float, min_chrf: float, seed: int) -> list[dict[str, float]]:
    """After each try: shares of the prompts, calls a prompt, and precision (kept and right)."""
    world = Translators(noise, stubborn, seed)

    def first(lang: str) -> tuple[list[dict], list[dict]]:
        tasks = [prompt_task(prompt, prompt.instruction, lang) for prompt in ENGLISH]
        drafts = world.ask(tasks, "drafts", lang, 1)
        return drafts, world.ask(back_tasks(ENGLISH, drafts), "back", lang, 1)

    def later(number: int, lang: str, lost: Sequence) -> tuple[list[dict], list[dict]]:
        return redraft(lost, lang, partial(world.ask, lang=lang, number=number))

    by_try = check_tries(LANGS, ENGLISH, first, later, tries=TRIES, min_chrf=min_chrf)
    found = []
    calls = 0
    for number, (kept, failed) in enumerate(by_try, 1):
        calls += world.calls[number]
        found.append(row(kept, failed, calls))
    return found


def row(kept: dict, failed: dict, calls: int) -> dict[str, float]:
    right = {lang: [is_right(one, lang) for one in kept[lang]] for lang in LANGS}
    everywhere, _ = keep_parallel(kept, failed, ENGLISH)
    whole = Counter()
    for lang in LANGS:
        for one in everywhere[lang]:
            whole[one["instruction_id"]] += is_right(one, lang)
    n_right = sum(map(sum, right.values()))
    n_kept = sum(map(len, right.values()))
    all_right = sum(count == len(LANGS) for count in whole.values())
    return {
        "kept": n_kept / (len(LANGS) * len(ENGLISH)),
        "precision": n_right / n_kept,
        "kept_everywhere": len(whole) / len(ENGLISH),
        "precision_everywhere": all_right / len(whole) if whole else 0.0,
        "calls_a_prompt": calls / len(ENGLISH),
    }


def is_right(record: dict, lang: str) -> bool:
    return is_translation(record["instruction"], record["instruction_id"], lang)


def over_seeds(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means over seeds, and their standard errors."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        error = stdev(values) / len(values) ** 0.5
        found[name] = {"mean": round(mean(values), 4), "se": round(error, 4)}
    return found


def main() -> None:
    table = []
    for stubborn in STUBBORN:
        for noise in NOISE if not stubborn else NOISE[1:]:
            for min_chrf in MIN_CHRF:
                runs = [measure(noise, stubborn, min_chrf, seed) for seed in SEEDS]
                for number in range(1, TRIES + 1):
                    named = {"noise": noise, "stubborn": stubborn, "min_chrf": min_chrf}
                    named["tries"] = number
                    table.append({**named, **over_seeds([run[number - 1] for run in runs])})
                    print(table[-1], flush=True)
    result = {
        "command": "python tests/benchmarks/drafts.py",
        "seeds": list(SEEDS),
        "prompts": len(ENGLISH),
        "langs": LANGS,
        "table": table,
        **environment(),
    }
    write_json(ROOT / "data" / "results" / "drafts.json", result)


if __name__ == "__main__":
    main()
