"""Every exercise passes with its own solution, fails with each mutant of it, and says so in a
line."""

import json
import re

import pytest

from xlnb import exercises
from xlnb.common.errors import InputError
from xlnb.common.files import ROOT
from xlnb.exercises import EXERCISES, find

# Of a solution's source, what a learner gets wrong: (what stands there, what they write).
MUTANTS = {
    "share_won": [("preference - 1 for", "preference for"), ("100 * ", "")],
    "optimum": [
        ("rewards / beta", "rewards * beta"),
        ("torch.exp(rewards", "torch.exp(-rewards"),
        ("weights.sum(-1, keepdim=True)", "weights.sum()"),
        ("ref_probs * ", ""),
    ],
    "dpo_loss": [
        ("chosen_rewards - rejected_rewards", "rejected_rewards - chosen_rewards"),
        ("-F.logsigmoid", "F.logsigmoid"),
        ("policy_chosen_logps - ref_chosen_logps", "policy_chosen_logps"),
        ("beta * (policy_rejected", "(policy_rejected"),
        ("F.logsigmoid(chosen_rewards - rejected_rewards)",
         "torch.log(torch.sigmoid(chosen_rewards - rejected_rewards))"),
    ],
    "sequence_logprob": [
        ("prompt_length - 1 : -1", "prompt_length:"),
        ("prompt_length - 1 : -1", "prompt_length - 2 : -2"),
        ("logits.float()", "logits"),
        (".sum()", ".mean()"),
        ("logps[prompt_length - 1 : -1]", "logps[:-1][: len(targets)]"),
    ],
    "own_judge": [
        ("len(model) - len(baseline)", "len(model) - 20"),
        ("1.5 + 0.5 * np.sign(longer)", "1.5 + 0.5 * (longer >= 0)"),
        ("1.5 + 0.5 * np.sign(longer)", "1.5"),
        ("1.5 + 0.5 * np.sign(longer)", "1.5 + longer"),
        ("1.5 + 0.5 * np.sign(longer)", "1.5 + 0.5 * np.random.uniform(-1, 1)"),
    ],
    "coverage": [
        ("axis=1", "axis=0"),
        ("mean(axis=0)", "mean(axis=1)"),
        ("np.maximum.accumulate(np.asarray(right), axis=1)", "np.asarray(right)"),
        ("np.maximum.accumulate(", "np.add.accumulate("),
        ("np.maximum", "np.minimum"),
    ],
    "bootstrap_interval": [
        ("np.unique(facts)", "np.unique(facts)[:10]"),
        ("means.append(100 * wins[prompts].mean())",
         "means.append(100 * np.mean([wins[of_fact[fact]].mean() for fact in drawn]))"),
        ("np.flatnonzero(facts == fact) for fact in np.unique(facts)",
         "np.array([row]) for row in range(len(wins))"),
        ("rng.integers(len(of_fact), size=len(of_fact))", "rng.permutation(len(of_fact))"),
        ("100 * wins", "wins"),
        ("[0.025, 0.975]", "[0.25, 0.75]"),
    ],
    "interval_over_seeds": [
        ("ddof=1", "ddof=0"),
        ("t.ppf(0.975, n - 1)", "1.96"),
        ("n - 1", "n"),
        ("0.975", "0.95"),
        (" / np.sqrt(n)", ""),
    ],
    "seeds_needed": [
        ("t.ppf(0.975, n - 1)", "1.96"),
        ("0.975", "0.95"),
        ("n = 2", "n = 3"),
        ("np.sqrt(n)", "n"),
        ("np.sqrt(n)", "np.sqrt(n - 1)"),
    ],
    "paired_se": [
        ("ddof=1", "ddof=0"),
        ("after - before", "after + before"),
        ("difference.std(ddof=1)", "100 * np.hypot(after.std(ddof=1), before.std(ddof=1))"),
        (" / np.sqrt(len(difference))", ""),
        ("100 * ", ""),
    ],
    "matched_accuracy": [
        ('on=["lang", "prompt_id"]', 'how="cross"'),
        ('on=["lang", "prompt_id"]', 'on="prompt_id"'),
        (" + 0.5 * ties", ""),
        (" + 0.5 * ties", " + ties"),
        ('both["reward_x"] > both["reward_y"]', 'both["reward_x"] < both["reward_y"]'),
        ('table["form"] == worse', 'table["form"] != better'),
        ("return (wins + 0.5 * ties).mean()",
         'return (wins + 0.5 * ties).groupby(both["prompt_id"]).mean().mean()'),
    ],
    "cross_lingual_reward": [
        ("cross_lingual(english, lang)", "own"),
        ("cross_lingual(english, lang)", "english"),
        ("cross_lingual(english, lang)", "cross_lingual(own, lang)"),
        ("policy(prompt, response) - reference", "reference(prompt, response) - policy"),
        ("beta * ", ""),
        (" - reference(prompt, response)", ""),
    ],
    "length_gap": [
        ("- alpha *", "+ alpha *"),
        ("chosen, rejected =", "rejected, chosen ="),
        ("controlled.argmin()", "np.argmin(reward)"),
        ("np.mean(gaps)", "np.sum(gaps)"),
        ("- alpha * np.asarray(chars)", "- alpha"),
    ],
    "never_rises": [
        ("later <= earlier", "later < earlier"),
        ("later <= earlier", "later >= earlier"),
        ("sorted(alphas)", "alphas"),
        ("all(later <= earlier for earlier, later in pairwise(gaps))", "gaps[-1] <= gaps[0]"),
        ("all(later", "any(later"),
    ],
    "training_step": [
        ("optimizer.zero_grad()", "pass"),
        ("optimizer.step()", "pass"),
        ("loss.backward()", "(-loss).backward()"),
        ("loss.backward()", "losses.sum().backward()"),
        ("optimizer.zero_grad()\n    loss.backward()", "loss.backward()\n    optimizer.zero_grad()"),
        ("pairs).sum(1)", "pairs).mean(1)"),
        ("chosen, rejected = logps", "rejected, chosen = logps"),
        ("ref_chosen, ref_rejected =", "ref_rejected, ref_chosen ="),
        ("lengths, _ =", "_, lengths ="),
        ("losses.mean()", "losses.sum()"),
        ("beta, c)\n", "beta, 0 * c)\n"),
        ("return loss, logps", "return loss"),
    ],
    "pair_loss": [
        ("chosen_rewards - rejected_rewards", "rejected_rewards - chosen_rewards"),
        (" / chosen_lengths", ""),
        (" / chosen_lengths", " / chosen_lengths.mean()"),
        ("nll = -policy", "nll = policy"),
        (" + c * nll", ""),
        ("policy_chosen_logps / chosen", "ref_chosen_logps / chosen"),
        ("- ref_rejected_logps", ""),
        ("beta * (policy_chosen", "(policy_chosen"),
    ],
}  # fmt: skip
# Exercises whose answer is a value: wrong ones.
WRONG = {
    "beta_for_twice_the_reward": ["beta is halved", 2, None],
    "flips_that_halve": [0.5, 0.125, 0, "a quarter", None],
    "planted_failure": ["another language", "baseline and model swapped", "noise", None],
    # Not told apart; longer than need be; no such token.
    "failing_test": [([0], [1]), ([2, 0], [3]), ([2], [7])],
    "first_loss": [0.0, 0.5, 1.0, "ln 2", None],
    "chosen_falls": ["the rate is too high", "the chosen responses are wrong", None],
}


def verdict(name, attempt, capsys):
    """What `check` returns and says."""
    kept = exercises.check(name, attempt)
    return kept, capsys.readouterr().out


def mutant(name, old, new):
    """The solution with one thing wrong."""
    solution = find(name).solution
    source = exercises.solution(name)
    assert old in source, f"{name}: no '{old}' in its solution"
    scope = dict(solution.__globals__)
    exec(source.replace(old, new), scope)
    return scope[solution.__name__]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name, capsys):
    answer = find(name).solution
    if callable(answer):
        # As it is shown, and nothing else.
        answer = mutant(name, "return", "return")
    kept, said = verdict(name, answer, capsys)
    assert kept is answer and said == f"{name}: pass\n"


def test_every_exercise_has_wrong_answers():
    assert MUTANTS.keys() | WRONG.keys() == EXERCISES.keys()


@pytest.mark.parametrize(
    ("name", "old", "new"), [(name, *pair) for name, pairs in MUTANTS.items() for pair in pairs]
)
def test_a_mutant_is_caught_and_the_kits_own_is_used(name, old, new, capsys):
    kept, said = verdict(name, mutant(name, old, new), capsys)
    assert kept is find(name).solution
    assert said.startswith(f"{name}: not yet. ") and len(said) < 500


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in WRONG.items() for answer in answers]
)
def test_a_wrong_value_is_caught(name, answer, capsys):
    kept, said = verdict(name, answer, capsys)
    assert kept is find(name).solution and said.startswith(f"{name}: not yet. ")


@pytest.mark.parametrize("name", EXERCISES)
def test_what_was_not_attempted_is_said(name, capsys):
    answer = find(name).solution
    attempt = (lambda *_, **__: ...) if callable(answer) else ...
    kept, said = verdict(name, attempt, capsys)
    assert kept is answer and said.startswith(f"{name}: not attempted")


def test_what_a_learners_code_raises_is_told(capsys):
    def broken(*_, **__):
        return undefined  # noqa: F821

    kept, said = verdict("dpo_loss", broken, capsys)
    assert kept is find("dpo_loss").solution
    assert "It raised NameError: name 'undefined' is not defined" in said


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_come_in_steps(name, capsys):
    hints = find(name).hints
    exercises.hint(name, len(hints))
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{len(hints)}. ")
    with pytest.raises(InputError, match=f"hint {len(hints) + 1} of '{name}'"):
        exercises.hint(name, len(hints) + 1)


def test_an_unknown_exercise_names_the_others():
    with pytest.raises(InputError, match="no exercise 'dpo'; there are share_won, "):
        exercises.check("dpo", ...)


def asked():
    """What each notebook checks, with the text of its cells."""
    found = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells]
        folded = "\n".join(source for source in sources if source.startswith("<details>"))
        for name in re.findall(r'check\("(\w+)"', "\n".join(sources)):
            found.append((path.stem, name, folded))
    return found


@pytest.mark.parametrize(("notebook", "name", "text"), asked())
def test_a_notebook_shows_the_solution_that_is_checked_here(notebook, name, text):
    assert exercises.solution(name) in text
