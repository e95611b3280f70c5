"""Log-probabilities against numbers worked out by hand, and against one plain forward pass an
example."""

import copy
import math
import random
from types import SimpleNamespace

import pytest
import torch
from families import FAMILIES, TEXTS, fp32, save_adapter
from hypothesis import given, settings
from hypothesis import strategies as st

from xlnb.common.errors import InputError
from xlnb.lab.documents import documents
from xlnb.logprobs import response_logprobs, sequence_logprobs
from xlnb.models import output_head
from xlnb.models.adapters import active, load_model, new_adapter
from xlnb.models.base import load_base
from xlnb.models.batches import Budget, batches, packs
from xlnb.models.chat import load_tokenizer, prompt_ids, response_ids
from xlnb.models.packing import collate
from xlnb.presets import Models, Training
from xlnb.rewards import implicit_reward, score_responses

# nats a token, in fp32
TOLERANCE = 1e-4


class Body(torch.nn.Module):
    """The state of a column is its token, one-hot."""

    def forward(self, input_ids, **_):
        return SimpleNamespace(last_hidden_state=torch.nn.functional.one_hot(input_ids, 3).float())


class Bigram(torch.nn.Module):
    """P(next | current) by a table over three tokens; it gives logits, so shifted by a constant a
    row."""

    TABLE = ((1 / 2, 1 / 4, 1 / 4), (1 / 8, 1 / 8, 3 / 4), (1 / 10, 3 / 10, 6 / 10))

    def __init__(self):
        super().__init__()
        self.body = Body()
        self.logits = torch.nn.Parameter(
            torch.tensor(self.TABLE).log() + torch.tensor([[5.0], [-3.0], [0.5]])
        )

    def get_decoder(self):
        return self.body

    def get_output_embeddings(self):
        return self

    def forward(self, logits_to_keep=0, **inputs):
        states = self.body(**inputs).last_hidden_state
        return SimpleNamespace(logits=self.logits[states[:, -logits_to_keep:].argmax(-1)])


# (prompt, response, P of each response token given the one before)
WORKED = [
    ([0, 1], [2, 1, 0], [3 / 4, 3 / 10, 1 / 8]),
    ([2], [0], [1 / 10]),
    ([1, 1, 0], [1, 2], [1 / 4, 3 / 4]),
    ([0], [0, 0, 0, 2], [1 / 2, 1 / 2, 1 / 2, 1 / 4]),
]


def fields(rows):
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("batch_tokens", [1, 12, 1000])
def test_worked_by_hand(batch_tokens):
    prompts, responses, expected = fields(WORKED)
    logprobs = sequence_logprobs(Bigram(), prompts, responses, batch_tokens=batch_tokens)
    for values, probabilities in zip(logprobs, expected, strict=True):
        assert values.dtype == torch.float32
        assert values.tolist() == pytest.approx([math.log(p) for p in probabilities], abs=1e-6)


def test_the_layout_is_the_one_drawn_in_the_module():
    batch = collate([[1, 2, 3], [1, 2, 3, 4, 5]], [[6, 7, 9], [8, 9]])
    assert batch["input_ids"].tolist() == [[0, 0, 1, 2, 3, 6, 7, 9], [1, 2, 3, 4, 5, 8, 9, 0]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0]]
    assert batch["position_ids"].tolist() == [[0, 0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6, 6]]
    assert batch["response_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_padding_scores_0_and_only_response_tokens_get_logits():
    kept = []

    class Counting(Bigram):
        def forward(self, inputs_embeds, **rest):
            kept.append(inputs_embeds.shape[:2])
            return super().forward(inputs_embeds=inputs_embeds, **rest)

    prompts, responses, expected = fields(WORKED)
    batch = collate(prompts, responses)
    values = response_logprobs(Counting(), batch)
    assert kept == [(1, sum(map(len, responses)))]
    assert values.shape == (4, 4)
    assert not values[batch["response_mask"] == 0].any()
    for row, probabilities in zip(values, expected, strict=True):
        assert row[: len(probabilities)].tolist() == pytest.approx(
            [math.log(p) for p in probabilities], abs=1e-6
        )


def test_an_empty_prompt_or_response_is_refused():
    with pytest.raises(InputError, match="row 1"):
        sequence_logprobs(Bigram(), [[0], [1]], [[2], []])
    with pytest.raises(InputError, match="row 0"):
        sequence_logprobs(Bigram(), [[], [1]], [[2], [1]])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_log_probability_that_is_not_finite_is_refused(value):
    model = Bigram()
    model.logits.data[1, 2] = value
    sequence_logprobs(model, [[0]], [[0]])
    with pytest.raises(InputError, match=r"row 1.*not finite"):
        sequence_logprobs(model, [[0], [0, 1]], [[0], [2]])


@given(lengths=st.lists(st.integers(1, 120), max_size=40), budget=st.integers(1, 600))
def test_batches_cover_every_row_once_within_the_budget(lengths, budget):
    made = list(batches(lengths, budget))
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    assert all(
        len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget for batch in made
    )


def test_batches_are_filled():
    assert [len(batch) for batch in batches([20] * 10, 80)] == [4, 4, 2]


# (prompt length, response lengths) of different prompts
GROUPS = st.lists(
    st.tuples(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=6)),
    min_size=1,
    max_size=8,
)


@given(groups=GROUPS, budget=st.integers(1, 600), share=st.sampled_from([True, False, None]))
def test_packs_hold_every_row_once_within_the_budget(groups, budget, share):
    prompts = [[g] * length for g, (length, lengths) in enumerate(groups) for _ in lengths]
    responses = [[0] * length for _, lengths in groups for length in lengths]
    made = packs(range(len(prompts)), prompts, responses, budget, share)
    assert sorted(i for pack in made for batch in pack.batches for i in batch) == list(
        range(len(prompts))
    )
    for pack in made:
        inside = [i for batch in pack.batches for i in batch]
        assert bool(pack.prefixes) == bool(made[0].prefixes)
        # each prompt of the pack once
        if pack.prefixes:
            assert sorted(prompts[i][0] for i in pack.prefixes) == sorted(
                {prompts[i][0] for i in inside}
            )
        for batch in pack.batches:
            longest = max(len(prompts[i]) + len(responses[i]) for i in batch)
            assert len(batch) == 1 or len(batch) * longest <= budget
    if share is None:
        others = [
            packs(range(len(prompts)), prompts, responses, budget, each) for each in (True, False)
        ]
        assert sum(pack.run for pack in made) <= sum(pack.run for pack in others[1])
        assert made in others


def test_prompts_are_shared_where_that_saves_work():
    def shared(prompt, response, n):
        rows = [[1] * prompt] * n, [[2] * response] * n
        return bool(packs(range(n), *rows, 4096, None)[0].prefixes)

    assert shared(prompt=100, response=20, n=10)
    assert not shared(prompt=100, response=20, n=1)
    assert not shared(prompt=5, response=500, n=10)


# The families.


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(model, prompts, responses, reference): three responses to each prompt, of many lengths, one
    of them cut and one its end of turn alone."""
    models = fp32(request.param)
    model, tokenizer = load_base(models), load_tokenizer(models)
    prompts, responses = rows_of_a_family(tokenizer)
    assert min(map(len, responses)) in (1, 2)
    return (
        model,
        prompts,
        responses,
        [reference(model, *row) for row in zip(prompts, responses, strict=True)],
    )


def rows_of_a_family(tokenizer):
    prompts = [prompt_ids(tokenizer, text) for text in TEXTS for _ in range(3)]
    texts = [TEXTS[(i + k) % len(TEXTS)][: 7 * i + k] for i in range(len(TEXTS)) for k in range(3)]
    responses = [response_ids(tokenizer, "", text) for text in texts]
    responses[9] = responses[9][:-1]
    return prompts, responses


def reference(model, prompt, response):
    """One row alone: no padding, log-softmax over every position, a loop over tokens."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *response]], device=model.device)).logits[0]
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    return torch.tensor(
        [logprobs[len(prompt) - 1 + t, token].item() for t, token in enumerate(response)]
    )


def assert_close(actual, expected):
    for values, others in zip(actual, expected, strict=True):
        torch.testing.assert_close(values, others, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("share", [False, True, None])
def test_every_family_agrees_with_one_forward_pass_an_example(family, share):
    model, prompts, responses, expected = family
    assert_close(sequence_logprobs(model, prompts, responses, share_prefix=share), expected)


@pytest.mark.parametrize("share", [False, True])
def test_neither_order_nor_batch_size_nor_neighbours_matter(family, share):
    model, prompts, responses, expected = family
    for budget in (1, 150, 400):
        actual = sequence_logprobs(
            model, prompts, responses, batch_tokens=budget, share_prefix=share
        )
        assert_close(actual, expected)
    assert_close(
        sequence_logprobs(model, prompts[::-1], responses[::-1], share_prefix=share), expected[::-1]
    )
    # of the first row
    for neighbour in range(1, len(prompts)):
        rows = [0, neighbour]
        both = [prompts[i] for i in rows], [responses[i] for i in rows]
        assert_close(
            sequence_logprobs(model, *both, share_prefix=share), [expected[i] for i in rows]
        )


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("chunk", [1, 7])
def test_no_more_logits_than_a_chunk_and_the_same_numbers(family, chunk, share, monkeypatch):
    model, prompts, responses, expected = family
    monkeypatch.setattr(output_head, "CHUNK", chunk)
    sizes = []
    hook = model.get_output_embeddings().register_forward_hook(
        lambda *call: sizes.append(call[2].shape)
    )
    try:
        assert_close(sequence_logprobs(model, prompts, responses, share_prefix=share), expected)
    finally:
        hook.remove()
    assert {shape[0] * shape[1] for shape in sizes} <= set(range(1, chunk + 1))
    assert sum(shape[0] * shape[1] for shape in sizes) == sum(
        map(len, responses)
    )  # at response positions alone


def test_a_shared_prompt_is_run_once(family):
    model, prompts, responses, _ = family
    seen = []
    hook = model.get_input_embeddings().register_forward_hook(lambda *call: seen.append(call[1][0]))
    try:
        sequence_logprobs(model, prompts, responses, share_prefix=True)
    finally:
        hook.remove()
    prefixes, *rest = seen
    assert prefixes.shape == (len(TEXTS), max(map(len, prompts)))
    assert sum(ids.numel() for ids in rest) <= len(responses) * (max(map(len, responses)) - 1)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("share", [False, True])
def test_two_adapters_and_the_bare_base_on_one_base_or_two(name, share, tmp_path):
    models = fp32(name)
    folders = {
        f"adapter{seed}": save_adapter(models, tmp_path / f"{seed}", seed) for seed in range(2)
    }
    model, prompts, responses = (
        load_model(models, folders),
        *rows_of_a_family(load_tokenizer(models)),
    )
    expected = {}
    for side in ("adapter0", "adapter1", None):
        with active(model, side):
            expected[side] = [
                reference(model, *row) for row in zip(prompts, responses, strict=True)
            ]
    assert not torch.allclose(expected["adapter0"][0], expected["adapter1"][0], atol=0.01)
    for policy, ref in (("adapter0", "adapter1"), ("adapter1", None)):
        sides = score_responses(
            model, policy, ref, prompts, responses, batch_tokens=300, share_prefix=share
        )
        for side, wanted in zip(sides, (policy, ref), strict=True):
            assert_close(side, expected[wanted])
    other = load_model(models, {"adapter1": folders["adapter1"]})
    sides = score_responses(
        model,
        "adapter0",
        "adapter1",
        prompts,
        responses,
        batch_tokens=300,
        share_prefix=share,
        ref_model=other,
    )
    assert_close(sides[0], expected["adapter0"])
    assert_close(sides[1], expected["adapter1"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_one_side_gives_the_same(family, side):
    model, prompts, responses, _ = family
    width = max(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
    pads = [width - len(p) - len(r) for p, r in zip(prompts, responses, strict=True)]
    before = [pad if side == "left" else 0 for pad in pads]
    ids, mask = (
        torch.zeros(len(pads), width, dtype=torch.long),
        torch.zeros(len(pads), width, dtype=torch.long),
    )
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        ids[i, before[i] : before[i] + len(prompt + response)] = torch.tensor(prompt + response)
        mask[i, before[i] : before[i] + len(prompt + response)] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        logits = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()}).logits
    logprobs = logits.float().log_softmax(-1).cpu()
    expected = []
    for i, response in enumerate(responses):
        first = before[i] + len(prompts[i])
        expected.append(
            torch.stack([logprobs[i, first + t - 1, token] for t, token in enumerate(response)])
        )
    assert_close(sequence_logprobs(model, prompts, responses), expected)


def test_random_lengths_and_orders(family):
    model, *_ = family

    @settings(max_examples=12, deadline=None)
    @given(
        groups=st.lists(
            st.tuples(st.integers(1, 24), st.lists(st.integers(1, 24), min_size=1, max_size=3)),
            min_size=1,
            max_size=3,
        ),
        budget=st.integers(1, 300),
        share=st.booleans(),
        seed=st.integers(0, 2**16),
    )
    def check(groups, budget, share, seed):
        rng = random.Random(seed)
        draw = []
        for length, lengths in groups:
            prompt = rng.choices(range(608), k=length)
            draw += [(prompt, rng.choices(range(608), k=n)) for n in lengths]
        rng.shuffle(draw)
        prompts, responses = fields(draw)
        actual = sequence_logprobs(
            model, prompts, responses, batch_tokens=budget, share_prefix=share
        )
        assert_close(actual, [reference(model, *row) for row in draw])

    check()


def test_response_logprobs_is_differentiable_and_the_same(family):
    model, prompts, responses, expected = family
    weight = model.get_input_embeddings().weight
    weight.requires_grad_()
    batch = {name: tensor.to(model.device) for name, tensor in collate(prompts, responses).items()}
    values = response_logprobs(model, batch)
    (gradient,) = torch.autograd.grad(values.sum(), weight)
    weight.requires_grad_(False)
    assert torch.isfinite(gradient).all()
    assert gradient.any()
    rows = [
        row[: len(response)].cpu() for row, response in zip(values.detach(), responses, strict=True)
    ]
    assert_close(rows, expected)


@pytest.mark.parametrize("share", [False, True])
def test_a_model_has_reward_0_against_itself(family, share):
    model, prompts, responses, _ = family
    policy, ref = score_responses(
        model, None, None, prompts, responses, batch_tokens=300, share_prefix=share
    )
    assert all(torch.equal(a, b) for a, b in zip(policy, ref, strict=True))


def test_repeated_responses_are_scored_as_the_others_are(family):
    model, prompts, responses, expected = family
    doubled = score_responses(model, None, None, prompts * 2, responses * 2, batch_tokens=300)
    assert_close(doubled[0], expected * 2)
    assert score_responses(model, None, None, [], [], batch_tokens=300) == ([], [])


@pytest.mark.parametrize("share", [False, True])
def test_a_fresh_adapter_has_reward_0(share):
    models = fp32("llama3")
    model = new_adapter(load_base(models), models.base, Training(lora_r=4, lora_alpha=8)).eval()
    prompts, responses = rows_of_a_family(load_tokenizer(models))

    def rewards():
        sides = score_responses(
            model, "default", None, prompts, responses, batch_tokens=300, share_prefix=share
        )
        return implicit_reward(
            *([values.sum().item() for values in side] for side in sides), beta=0.1
        )

    assert rewards() == [0.0] * len(prompts)
    next(p for name, p in model.named_parameters() if "lora_B" in name).data.fill_(0.1)
    assert all(rewards())


# Memory that runs out.


class Memory:
    """A model's memory: running more than `limit` token ids at once raises what PyTorch raises."""

    def __init__(self, model, limit, error=None):
        self.limit, self.shapes = limit, []
        self.error = error or torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB"
        )
        self.hook = model.get_input_embeddings().register_forward_pre_hook(self.check)

    def check(self, _, arguments):
        self.shapes.append(tuple(arguments[0].shape))
        if arguments[0].numel() > self.limit:
            raise self.error


@pytest.fixture
def memory(family):
    watched = []

    def limited(*arguments):
        watched.append(Memory(family[0], *arguments))
        return watched[-1]

    yield limited
    for each in watched:
        each.hook.remove()


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        None,
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB …)"),
    ],
)
def test_batches_get_smaller_where_memory_runs_out(family, memory, share, error, capsys):
    model, prompts, responses, expected = family
    memory(400, error)
    budget = Budget(16384)
    assert_close(
        sequence_logprobs(model, prompts, responses, batch_tokens=budget, share_prefix=share),
        expected,
    )
    assert budget.tokens < 16384
    assert f"going on with at most {budget.tokens}" in capsys.readouterr().out
    left = budget.tokens
    sequence_logprobs(
        model, prompts, responses, batch_tokens=budget, share_prefix=share
    )  # begins small
    assert capsys.readouterr().out == ""
    assert budget.tokens == left


def test_both_models_go_through_the_same_batches_after_memory_ran_out_under_one(family, memory):
    """It runs out only under the second model: the first is run again in the smaller batches."""
    model, prompts, responses, _ = family
    other = copy.deepcopy(model)
    mine, theirs = memory(10**9), Memory(other, 400)
    sides = score_responses(
        model,
        None,
        None,
        prompts,
        responses,
        batch_tokens=16384,
        share_prefix=False,
        ref_model=other,
    )
    assert mine.shapes == theirs.shapes
    assert (
        max(rows * columns for rows, columns in mine.shapes) > 400
    )  # tried, and given up, by both
    assert all(torch.equal(a, b) for a, b in zip(*sides, strict=True))


@pytest.mark.parametrize("share", [False, True])
def test_a_row_that_does_not_fit_alone_is_named(family, memory, share):
    model, prompts, responses, _ = family
    longest = max(range(len(prompts)), key=lambda i: len(prompts[i]) + len(responses[i]))
    memory(20)
    with pytest.raises(
        InputError, match="tokens do not fit into memory" if share else f"row {longest}: its"
    ):
        sequence_logprobs(model, prompts, responses, share_prefix=share)


def test_a_sharded_model_does_not_try_again(family, memory, monkeypatch):
    """The other processes are in the middle of the same pass and would wait for ever."""
    model, prompts, responses, _ = family
    monkeypatch.setattr("xlnb.logprobs.is_sharded", lambda model: True)
    memory(20)
    with pytest.raises(
        InputError, match=r"out of memory with \d+ tokens in a batch; lower scoring\.batch_tokens"
    ):
        sequence_logprobs(model, prompts, responses)


def test_other_errors_are_not_taken_for_missing_memory(family, memory):
    model, prompts, responses, _ = family
    memory(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sequence_logprobs(model, prompts, responses)


def test_a_model_with_more_than_keys_and_values_runs_prompts_with_each_response(capsys):
    prompts, responses, expected = fields(WORKED)
    for share in (None, True):
        logprobs = sequence_logprobs(Bigram(), prompts, responses, share_prefix=share)
        assert [math.exp(values.sum()) for values in logprobs] == pytest.approx(
            [math.prod(p) for p in expected]
        )
        assert ("prompts are run with each response" in capsys.readouterr().out) == bool(share)


def test_nan_weights_are_refused():
    model = load_base(fp32("llama3"))
    next(model.parameters()).data.fill_(math.nan)
    with pytest.raises(InputError, match="not finite"):
        sequence_logprobs(model, [[5, 6]], [[7]])


# The lab's own base, in the types it may run in.


@pytest.fixture(scope="module")
def lab():
    """Lab conversations' first turns as rows, and the fp32 log-probabilities of all response tokens
    in one tensor."""
    models = Models(quantization="none", dtype="float32")
    tokenizer = load_tokenizer(models)
    turns = [(messages[0]["content"], messages[1]["content"]) for messages in documents(48, seed=1)]
    prompts = [prompt_ids(tokenizer, question) for question, _ in turns]
    responses = [response_ids(tokenizer, question, answer) for question, answer in turns]
    return prompts, responses, torch.cat(sequence_logprobs(load_base(models), prompts, responses))


def test_nf4_keeps_the_lab_model(lab):
    prompts, responses, expected = lab
    actual = torch.cat(sequence_logprobs(load_base(Models(dtype="float32")), prompts, responses))
    correlation = torch.corrcoef(torch.stack([actual, expected]))[0, 1].item()
    print(
        f"NF4: correlation {correlation:.4f}, mean deviation {(actual - expected).abs().mean():.4f}"
        " nats a token"
    )
    assert correlation > 0.95


def test_bf16_deviates_little_and_is_summed_in_fp32(lab):
    prompts, responses, expected = lab
    values = sequence_logprobs(
        load_base(Models(quantization="none", dtype="bfloat16")), prompts, responses
    )
    assert {row.dtype for row in values} == {torch.float32}
    deviation = (torch.cat(values) - expected).abs()
    print(
        f"bf16: mean deviation {deviation.mean():.4f}, largest {deviation.max():.4f} nats a token"
    )
    assert deviation.mean() < 0.05
