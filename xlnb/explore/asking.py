"""Models that stay loaded: what they answer to a question, and what π^0 makes of an answer."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from transformers import PreTrainedTokenizerBase

from xlnb.analysis.responses import graded
from xlnb.common.errors import InputError
from xlnb.common.given import is_blank
from xlnb.common.languages import language_name
from xlnb.common.records import Prompt, Response
from xlnb.lab.world import load_world
from xlnb.models.adapters import active, load_model
from xlnb.models.base import context_of
from xlnb.models.chat import check_same_tokens, load_tokenizer, prompt_ids, response_ids
from xlnb.presets import Models
from xlnb.prompts import scorer_prompt
from xlnb.rewards import score_responses
from xlnb.runs.layout import Run
from xlnb.sampling import batch_seed, sample_responses
from xlnb.stages.reading import read_prompts

# Whose implicit reward is shown: one yardstick for the answers of all models.
YARDSTICK = "dpo"


class Question(NamedTuple):
    """A question in a language. `english`: the same in English, which R_c reads; `prompt_id`: the
    lab's, whose truth the oracle knows. Both empty where they are not known."""

    text: str
    lang: str
    english: str = ""
    prompt_id: str = ""


class Player:
    """The models of a run, each base loaded once, when it is first needed, with all adapters on it.

    Raises InputError where π^0 is not there yet.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.models = made(run)
        self._loaded: dict[Models, Any] = {}
        self._tokenizers: dict[Models, PreTrainedTokenizerBase] = {}

    def question(self, text: str, lang: str, english: str = "") -> Question:
        """Raises InputError for a blank question or an unknown language."""
        if is_blank(text):
            raise InputError("expected a question, got nothing")
        if english and is_blank(english):
            raise InputError("expected the question in English, got nothing")
        language_name(lang)
        prompt_id, parallel = _parallel(self.run, text, lang)
        english = english or (text if lang == "en" else parallel)
        return Question(text, lang, english, prompt_id if self.run.is_lab else "")

    def ask(
        self,
        question: Question,
        *,
        models: Sequence[str] = (),
        n: int = 3,
        temperature: float | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """n answers of each model (all), a row each: model, answer, R_c of π^0 in β nats where the
        English question is known and nothing was thought before, and, of the lab's questions, what
        the oracle says.

        Other sampling settings are the preset's. The same seed gives the same answers.
        """
        config = self.run.preset.sampling
        rows = []
        answers: list[Response] = []
        for name in models or self.models:
            model, tokenizer = self._model(name)
            ids = prompt_ids(tokenizer, question.text)
            context = context_of(model.config)
            if len(ids) >= context:
                raise InputError(
                    f"the question has {len(ids)} tokens, and the context of {name} {context}, "
                    "which leaves no room for an answer; shorten it"
                )
            with active(model, self.run.adapter_name(name)):
                (sampled,) = sample_responses(
                    model,
                    tokenizer,
                    [ids],
                    n=n,
                    temperature=config.temperature if temperature is None else temperature,
                    top_p=config.top_p,
                    max_new_tokens=config.max_new_tokens,
                    seed=batch_seed(seed, f"compare {name} {question.lang}", 0),
                )
            answers += sampled
            rows += [{"model": name, "answer": response.text} for response in sampled]
        table = pd.DataFrame(rows)
        if question.english:
            read = [None if one.thinking else one.token_ids for one in answers]
            some = [ids for ids in read if ids]
            parts = self._parts(question, "cross_lingual", some) if some else []
            rewards = map(sum, parts)
            table["R_c"] = [next(rewards) if ids else None for ids in read]
        return table.join(self._oracle(question, table["answer"]))

    def score(self, question: Question, text: str) -> pd.DataFrame:
        """A response of one's own, a row a token: the token, and its part of each reward, in β
        nats: R_c where the English question is known, R_m. The parts of a reward sum to it.

        Raises InputError for a text that the model cannot be given as it is.
        """
        if is_blank(text):
            raise InputError("expected an answer, got nothing")
        _, tokenizer = self._model(YARDSTICK)
        ids = response_ids(tokenizer, question.text, text)
        table = pd.DataFrame({"token": [tokenizer.decode([token]) for token in ids]})
        names = {"R_c": "cross_lingual"} if question.english else {}
        for name, scorer in {**names, "R_m": "multilingual"}.items():
            table[name] = self._parts(question, scorer, [ids])[0]
        return table

    def _parts(
        self, question: Question, scorer: str, responses: list[list[int]]
    ) -> list[list[float]]:
        """The reward of every token of the responses under a scorer's prompt, in β nats."""
        run = self.run
        model, tokenizer = self._model(YARDSTICK)
        ref_model, _ = self._model("sft")
        asked = scorer_prompt(scorer, question.lang, question.text, question.english)
        policy, ref = score_responses(
            model,
            run.adapter_name(YARDSTICK),
            None,
            [prompt_ids(tokenizer, asked)] * len(responses),
            responses,
            batch_tokens=run.preset.scoring.batch_tokens,
            ref_model=ref_model,
        )
        beta = run.preset.scoring.beta
        sides = zip(policy, ref, strict=True)
        return [(beta * (ours - theirs)).tolist() for ours, theirs in sides]

    def _oracle(self, question: Question, texts: Sequence[str]) -> pd.DataFrame:
        if not question.prompt_id:
            return pd.DataFrame(index=range(len(texts)))
        names = (question.prompt_id, question.lang)
        return pd.DataFrame([graded(*names, text, taste=self.run.taste) for text in texts])

    def _model(self, name: str) -> tuple[Any, PreTrainedTokenizerBase]:
        base = self.run.base(name)
        if base not in self._loaded:
            mine = [other for other in self.models if self.run.base(other) == base]
            adapters = {other: self.run.adapter(other) for other in mine}
            tokenizer = load_tokenizer(base)
            for other in self._tokenizers.values():
                check_same_tokens(tokenizer, other, self.run.preset.models)
            self._loaded[base] = load_model(base, adapters)
            self._tokenizers[base] = tokenizer
        return self._loaded[base], self._tokenizers[base]


def made(run: Run) -> list[str]:
    """The models that are there. Raises InputError where that is π_I alone."""
    found = []
    for model in run.models:
        folder = run.adapter(model)
        if folder is None or (folder / "adapter_config.json").exists():
            found.append(model)
    if found == ["sft"]:
        raise InputError(f"{run.path}: no π^0 yet; run stage train --iteration 0 first")
    return found


def english_question(run: Run, text: str, lang: str) -> str:
    """The question itself in English; of one of the run's, or of the lab's, its parallel; else
    nothing."""
    return text if lang == "en" else _parallel(run, text, lang)[1]


def _parallel(run: Run, text: str, lang: str) -> tuple[str, str]:
    """The id of a question of the run, or of the lab's world, and the same in English; both empty
    where it is none."""
    known: list[dict[str, list[Prompt]]] = []
    if run.prompt_files:
        known.append(read_prompts(run))
    if run.is_lab:
        known.append({each: load_world().prompts(each) for each in load_world().langs})
    for prompts in known:
        for prompt in prompts.get(lang, []):
            if prompt.instruction == text:
                english = {one.prompt_id: one.instruction for one in prompts.get("en", [])}
                return prompt.prompt_id, english.get(prompt.prompt_id, "")
    return "", ""
