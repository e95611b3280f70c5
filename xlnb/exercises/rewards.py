"""Exercises of 03: comparisons at equal form, and the cross-lingual reward with its prompt."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from xlnb.exercises.exercise import Exercise, WrongAnswer, expect, given
from xlnb.prompts import cross_lingual

# log π(response | prompt) in nats.
Logprob = Callable[[str, str], float]


def matched_accuracy(table: pd.DataFrame, better: str, worse: str) -> float:
    high = table[table["form"] == better]
    low = table[table["form"] == worse]
    both = high.merge(low, on=["lang", "prompt_id"])
    wins = both["reward_x"] > both["reward_y"]
    ties = both["reward_x"] == both["reward_y"]
    return (wins + 0.5 * ties).mean()


def cross_lingual_reward(
    policy: Logprob,
    reference: Logprob,
    english: str,
    own: str,
    lang: str,
    response: str,
    beta: float,
) -> float:
    prompt = cross_lingual(english, lang)
    return beta * (policy(prompt, response) - reference(prompt, response))


def _matched_accuracy(attempt: Any) -> None:
    rows = [
        ("de", "a", "right", 0.4),
        ("de", "a", "right", 0.1),
        ("de", "a", "wrong", 0.2),
        ("de", "a", "refuses", 0.9),
        ("de", "b", "right", 5.0),
        ("de", "b", "wrong", 5.0),
        ("fr", "a", "wrong", 0.0),
        ("fr", "c", "right", -9.0),
    ]
    table = pd.DataFrame(rows, columns=["lang", "prompt_id", "form", "reward"])
    one = table[(table["prompt_id"] == "a") & (table["lang"] == "de")]
    found = given(attempt(one, "right", "wrong"))
    expect("one prompt, 0.4 and 0.1 against 0.2", float(found), 0.5)
    expect("the same, against 0.9", float(attempt(one, "right", "refuses")), 0.0)
    tie = table[table["prompt_id"] == "b"]
    expect("a tie counts half", float(attempt(tie, "right", "wrong")), 0.5)
    apart = "pairs of one prompt and language only: a win, a loss and a tie"
    expect(apart, float(attempt(table, "right", "wrong")), 0.5)
    ahead = table.assign(reward=[0.4, 0.3, 0.2, 0.9, 5.0, 5.0, 0.0, -9.0])
    expect(
        "every pair counts once: two wins, a tie", float(attempt(ahead, "right", "wrong")), 5 / 6
    )


def _cross_lingual_reward(attempt: Any) -> None:
    question = ("Where is Oslo?", "Wo liegt Oslo?", "de", "In Norwegen.")
    asked: set[tuple[str, str]] = set()

    def model(logprob: float) -> Logprob:
        def under(prompt: str, response: str) -> float:
            asked.add((prompt, response))
            return logprob

        return under

    found = given(attempt(model(-3.0), model(-5.0), *question, 0.1))
    if asked != {(cross_lingual(question[0], "de"), question[3])}:
        prompt, response = sorted(asked)[0] if asked else ("", "")
        raise WrongAnswer(f"read {response!r} under {prompt!r}, which is not the prompt of R_c")
    expect("log π^0 = -3, log π_I = -5, β = 0.1", float(found), 0.2)
    found = attempt(model(-6.0), model(-2.0), *question, 0.5)
    expect("log π^0 = -6, log π_I = -2, β = 0.5", float(found), -2.0)
    asked.clear()
    attempt(model(-3.0), model(-5.0), "Where is Oslo?", "Where is Oslo?", "en", "In Norway.", 0.1)
    if asked != {("Where is Oslo?", "In Norway.")}:
        raise WrongAnswer("a response in English needs no sentence about the language")


EXERCISES = {
    "matched_accuracy": Exercise(
        matched_accuracy,
        _matched_accuracy,
        (
            "Rewards of different prompts cannot be compared: join the two forms on lang and "
            "prompt_id first.",
            "table.merge(other, on=[…]) gives every pair of a prompt; the two rewards become "
            "reward_x and reward_y.",
            "A win counts 1, a tie a half.",
        ),
    ),
    "cross_lingual_reward": Exercise(
        cross_lingual_reward,
        _cross_lingual_reward,
        (
            "π^0 has seen preferences under English questions only, so ask it under one.",
            "cross_lingual(question, lang) adds the sentence that names the language.",
            "The reward is β times how much likelier π^0 makes the response than π_I does.",
        ),
    ),
}
