"""The pages of a preset: every number a run depends on, with its bounds and its meaning.

A value is checked where its page is made, also by `dataclasses.replace`, which raises pydantic's
ValidationError; `overrides.override` makes InputErrors of one line of it.
"""

from dataclasses import field, replace
from typing import Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from xlnb.presets.sources import Lab, Localise, Preferences
from xlnb.presets.training import SFT, Comparer, Training
from xlnb.presets.values import (
    STRICT,
    Above0,
    Amount,
    AtLeast0,
    AtLeast1,
    Judge,
    ModelHere,
    Scorers,
    Share,
    TemplateValues,
    option,
)


@dataclass(frozen=True, config=STRICT)
class Models:
    """π_I and π^0, and how they are loaded."""

    # π_I: a folder or a GGUF file (in the project or anywhere), or a Hub id, of which
    # ORG/NAME@REVISION names a branch, a tag or a commit, here and below
    base: str = "data/lab/sft"
    # π^0 as a checkpoint of its own, which adapters are then trained on; or
    dpo: str = ""
    # π^0 as a LoRA adapter on `base`, a folder or a Hub id; both empty: trained on English pairs
    dpo_adapter: str = ""
    # a Jinja file, for checkpoints without a chat template or in place of theirs; empty: their own
    chat_template: str = option("")
    # what the template is told, "enable_thinking=false,name=text"; empty: nothing
    chat_template_kwargs: TemplateValues = option("")
    # of the base's weights: nf4 (double quantisation), int8, or none (of type `dtype`)
    quantization: Literal["nf4", "int8", "none"] = "nf4"
    # compute type; auto: on a GPU bfloat16, or float16 where it has none, float32 on a CPU
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    # auto: a GPU by CUDA where there is one, else the CPU; mps: Apple's, for unquantised weights
    device: Literal["auto", "mps"] = option("auto")
    # auto (flash_attention_2 where it can run, else transformers' choice), or one by its name
    attention: str = "auto"
    # several processes share the layers' weights out (FSDP2), for a base too large for one GPU
    shard: bool = False

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.dpo and self.dpo_adapter:
            raise ValueError("dpo and dpo_adapter both name π^0; give one of them")
        if self.device == "mps" and self.quantization != "none":
            raise ValueError(
                f"device: {self.quantization} weights are not computed on mps; set "
                "models.quantization=none, or leave models.device out"
            )
        if self.shard and self.quantization == "int8":
            raise ValueError(
                "shard: 8-bit weights cannot be dealt out; set models.quantization to nf4 or none"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Prompts:
    """Parallel prompts: where they come from and how many are used."""

    # parallel prompts to train on: folder, file or hub:ORG/NAME; empty: the lab's
    path: str = ""
    # the same for evaluation, where `path` is given; empty: none
    eval_path: str = ""
    # "en,es,de"; empty: every language the source has
    langs: str = ""
    # at most so many prompts a language from each path; 0: all
    limit: AtLeast0 = 0
    # training prompts are dealt into so many parts, and iterations take them in turn; 0: all,
    # every time
    parts: AtLeast0 = 0
    # which of an iteration's training prompts are sampled: all, or some, at random or by the
    # gradients of their English preferences
    select: Literal["all", "random", "gradient"] = option("all")
    # how many; 0: all
    selected: AtLeast0 = option(0)
    # at most so many training prompts a language are held out, whole paragraphs of them chosen by
    # their ids, to compare scores with the truth (`evaluation.taste`); 0: none
    reward: AtLeast0 = option(0)
    # so are at most so many English ones for the English preferences (`evaluation.taste`), which
    # no iteration trains on; 0: those are of all English training prompts
    english: AtLeast0 = option(0)
    # training prompts hold a `reference`, a given response that is one more candidate beside those
    # that are sampled; in the lab the right answer in a full sentence
    references: bool = option(False)
    # kinds of `xlnb.checks.kinds`, "points,json": one of them is asked for behind each prompt
    checks: str = option("")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.select == "all") != (self.selected == 0):
            raise ValueError(
                f"select={self.select} with selected={self.selected}: set both, random or gradient "
                "and a number, or neither"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Sampling:
    """The responses that are scored, which pairs are made of."""

    # responses a prompt (the release's)
    n: AtLeast1 = 10
    # divides the logits
    temperature: Above0 = 0.9
    # nucleus: the likeliest tokens of this much probability together; 1: all
    top_p: Share = 1.0
    # of a response; a longer one is cut
    max_new_tokens: AtLeast1 = 2400
    # tokens side by side: sequences × (prompt + max_new_tokens)
    batch_tokens: AtLeast1 = 16384
    # a name of `xlnb.sampling.SAMPLERS`, or auto: vllm where it is installed and there is a GPU
    backend: str = "auto"
    # n of the cross-lingual iterations alone, not of the responses that English preferences are
    # made of and scores are compared on; 0: n
    iterations_n: AtLeast0 = option(0)
    # temperature of the same; 0: temperature
    iterations_temperature: Amount = option(0.0)

    @property
    def of_iterations(self) -> "Sampling":
        """As the cross-lingual iterations sample."""
        return replace(
            self,
            n=self.iterations_n or self.n,
            temperature=self.iterations_temperature or self.temperature,
            iterations_n=0,
            iterations_temperature=0.0,
        )


@dataclass(frozen=True, config=STRICT)
class Scoring:
    """What responses are worth."""

    # r = beta * (log π − log π_I), so rewards are in beta nats
    beta: Above0 = 0.1
    # names of `xlnb.rewards.SCORERS`; the first makes the pairs, the others are compared with it
    scorers: Scorers = "cross_lingual,multilingual"
    # tokens in one forward pass, padding included
    batch_tokens: AtLeast1 = 16384
    # score records keep the log-probabilities of every token
    keep_tokens: bool = False
    # in rewards, not in likelihoods, token t counts γ^(t−1) (D²PO); less than 1 needs keep_tokens
    gamma: Share = option(1.0)
    # so many of the models' first layers read the responses, the final norm and the answer head
    # behind them (early exit); 0: all
    layers: AtLeast0 = option(0)
    # what translates responses for R_t: local:FOLDER_OR_HUB_ID or seq2seq:FOLDER_OR_HUB_ID, as
    # localise.by; empty: π_I, in the lab the world itself
    translated_by: ModelHere = option("")
    # what π^{t−1} is compared with: π_I (initial), or from the second iteration on the policy
    # before it, π^{t−2} (previous: the paper's "reference t−1"), also in likelihoods
    reference: Literal["initial", "previous"] = option("initial")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.gamma != 1 and not self.keep_tokens:
            raise ValueError("gamma weighs single tokens; set scoring.keep_tokens=true")
        return self


@dataclass(frozen=True, config=STRICT)
class Pairing:
    """How pairs are chosen of scored responses."""

    # length control: exact (α ≥ 0), signed (exact, of either sign), grid (the release's) or none
    alpha: Literal["exact", "signed", "grid", "none"] = "exact"
    # responses surely in another language than the asked one are no candidates
    language_filter: bool = True
    # drop pairs whose length-controlled rewards lie closer (beta nats)
    min_margin: Amount = 0.0
    # prompts whose scores tie, or lie within min_margin: dropped, or the shortest response before
    # the longest (`length_control.relative_length`). Of the lab's 1,320 prompts of seed 0 none ties
    # under R_c (the least margin is .026), one of 660 under the truth: it wants a min_margin there
    ties: Literal["drop", "shorter"] = option("drop")
    # a user's labelled pairs of shared/samples, prompt_id, lang, chosen and rejected a line: what
    # they say of reward, length and likelihood makes the pairs; empty: the first score does
    preference: str = option("")
    # λ, how little a few labels move such a user from the reward alone
    ridge: Above0 = option(1.0)
    # a prompt's first so many responses alone may be in its pair; 0: all
    n: AtLeast0 = option(0)
    # "en,es": pairs are made in these of the sampled languages only; empty: in all
    langs: str = option("")
    # the release's upper bound: the chosen response is the best of those whose length-controlled
    # reward lies below so many β nats; 0: of all
    below: Amount = option(0.0)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.preference and self.alpha != "none":
            raise ValueError(
                f"preference: a user may like length, which alpha={self.alpha} takes out; set "
                "pairing.alpha=none"
            )
        if self.ties != "drop" and self.below:
            raise ValueError(
                f"ties={self.ties} chooses by length what below={self.below:g} bounds by score; "
                "leave one of them out"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Evaluation:
    """Responses to held-out prompts, and who compares them."""

    # divides the logits
    temperature: Above0 = 0.6
    # nucleus: the likeliest tokens of this much probability together; 1: all
    top_p: Share = 0.9
    # of a response; a longer one is cut
    max_new_tokens: AtLeast1 = 2048
    # responses a prompt: a win rate is then the mean of prompts' means
    runs: AtLeast1 = option(1)
    # the lab's ground truth; or verifiable, what a program verifies; or endpoint:MODEL,
    # local:FOLDER_OR_HUB_ID: `xlnb.judges.registry`
    judge: Judge = "oracle"
    # prompts that carry checks have a truth by a name of `xlnb.checks.tastes.TASTES`, or anti-NAME,
    # its exact opposite: for English pairs, rewards and judge verifiable; empty: none
    taste: str = ""
    # of a model judge: a response is shown first by a hash, or both: twice, averaged
    judge_order: Literal["random", "both"] = "random"
    # calls of an endpoint at once
    judge_workers: AtLeast1 = 8
    # of an endpoint, US dollars a million tokens of input, for the estimate; 0: not known
    judge_price: Amount = 0.0
    # what the others are compared with: a model of the run, or files FOLDER/{lang}/NAME.json
    baseline: str = "sft"
    # bootstrap
    resamples: AtLeast1 = 1000


@dataclass(frozen=True, config=STRICT)
class Preset:
    """A run's page of pages."""

    name: str
    # of every random draw
    seed: AtLeast0 = 0
    # cross-lingual ones, after the English training
    iterations: AtLeast0 = 2
    models: Models = field(default_factory=Models)
    # a base → π_I
    sft: SFT = field(default_factory=SFT)
    prompts: Prompts = field(default_factory=Prompts)
    localise: Localise = field(default_factory=Localise)
    preferences: Preferences = field(default_factory=Preferences)
    lab: Lab = field(default_factory=Lab)
    sampling: Sampling = field(default_factory=Sampling)
    scoring: Scoring = field(default_factory=Scoring)
    # of the score of that name
    comparer: Comparer = field(default_factory=Comparer)
    pairing: Pairing = field(default_factory=Pairing)
    # π_I → π^0 on English preferences
    english: Training = field(default_factory=Training)
    # π^t → π^{t+1}
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.sft.path and (self.models.dpo or self.models.dpo_adapter):
            raise ValueError(
                "sft.path makes a π_I of which a given π^0 (models.dpo, models.dpo_adapter) was "
                "not trained; give one of them"
            )
        if self.preferences.replayed and (self.models.dpo or self.models.dpo_adapter):
            raise ValueError(
                "preferences.replayed: π^0 is given (models.dpo, models.dpo_adapter), so there are "
                "no English pairs; leave one of them out"
            )
        return self
