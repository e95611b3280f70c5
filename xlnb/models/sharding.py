"""Weights shared out over processes, for a base that one GPU cannot hold or train: PyTorch's FSDP2
on its layers.

Of each decoder layer a process keeps one part of the frozen weights. Where a layer is run, all
processes gather it whole and then drop it again. Embeddings, output layer and adapters stay whole
in each, and adapters are trained by DDP, as on a base that is not sharded: checkpoints, adapters
and, to the last bit in fp32, results are the same.

A pass through a sharded model is therefore one of all processes at once, while each has work of its
own, and not the same amount. `in_step` lets each run what it likes: before every pass they meet and
say which model they want, and whoever wants another, or none any more, lends a hand by running a
single token through it.

    process 0    wants A: runs its batch    wants B: lends a token to A    runs its batch     …
    process 1    wants A: runs its batch    wants A: runs its batch        lends a token to B …
                 └──────── meet ───────┘    └─────────── meet ─────────┘   └───── meet ─────┘
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from typing import Any

import torch
from peft import PeftModel

from xlnb.common import processes
from xlnb.common.errors import InputError


def causal_of(model: Any) -> Any:
    """The model that speaks, without what PEFT has put around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def shard(model: Any, device: torch.device) -> Any:
    """Share the layers of a base on the CPU, with the adapters it is to have, out over all
    processes, to `device`.

    A layer at a time is whole there. Raises InputError for an architecture that does not name its
    layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    processes.group()
    causal = causal_of(model)
    body = causal.get_decoder()
    names = causal._no_split_modules or []
    layers = [module for module in body.modules() if type(module).__name__ in names]
    if not layers:
        raise InputError(
            f"models.shard: {type(causal).__name__} does not name its layers; set "
            "models.shard=false"
        )
    mesh = init_device_mesh(device.type, (processes.world(),))
    for layer in layers:
        layer.to(device)
        adapters = {parameter for name, parameter in layer.named_parameters() if "lora_" in name}
        fully_shard(layer, mesh=mesh, ignored_params=adapters)
    whole = {parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)}
    for tensor in chain(whole, model.buffers()):
        tensor.data = tensor.data.to(device)
    # The body holds no weights: it is the layers' common root, which paces them.
    fully_shard(body, mesh=mesh, ignored_params=whole)
    causal.hf_device_map = {"": device}
    # DDP has the adapters alone to keep alike.
    model._ddp_params_and_buffers_to_ignore = [
        name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)
    ]
    return model


def is_sharded(model: Any) -> bool:
    """Whether this process holds a part of its layers only."""
    if processes.world() == 1 or not isinstance(model, torch.nn.Module):
        return False
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(module, FSDPModule) for module in model.modules())


def inference(model: Any) -> AbstractContextManager[None]:
    """No gradients inside.

    The layers of a sharded model are gathered into tensors that training uses as well, which those
    that inference mode makes do not allow.
    """
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


@contextmanager
def in_step(*models: Any) -> Iterator[None]:
    """Inside, each process runs sharded models when it likes and as often as it needs: see the
    module's drawing. A process leaves when all are done. Other models go on as ever."""
    bodies: list[Any] = [causal_of(model).get_decoder() for model in models if is_sharded(model)]
    if not bodies:
        yield
        return
    lending = False

    def meet(own: int | None) -> None:
        """Lend tokens until all want the model of number `own`; None: until none is wanted."""
        nonlocal lending
        # The pass of a lent token comes by here as well.
        while not lending:
            wanted = [number for number in processes.gather(own) if number is not None]
            if not wanted or min(wanted) == own:
                return
            lending = True
            lend(bodies[min(wanted)])
            lending = False

    def before(own: int, _module: Any, _args: Any, given: dict[str, Any]) -> None:
        # Without ids no layer is run: `output_head` wants the answer head alone.
        if given.get("input_ids") is not None:
            meet(own)

    hooks = []
    for own, body in enumerate(bodies):
        hook = partial(before, own)
        hooks.append(body.register_forward_pre_hook(hook, prepend=True, with_kwargs=True))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
    meet(None)


def lend(body: Any) -> None:
    """Run a single token, whose result nobody needs, so that others can run theirs."""
    with inference(body):
        ids = torch.zeros(1, 1, dtype=torch.long, device=body.device)
        body(input_ids=ids, use_cache=False)
