""""""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from typing import Any

import torch
from peft import PeftModel

from xlnb.common import processes
from xlnb.common.errors import InputError


def shard(model: Any, device: torch.device) -> Any:
    """Deal the layers of a base on the CPU, with the adapters it is to have, out over all processes, to `device`.

    A layer at a time is whole there. Raises InputError for an architecture that does not name its layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    processes.group()
    causal = causal_of(model)
    body = causal.get_decoder()
    layers = [
        module
        for module in body.modules()
        if type(module).__name__ in (causal._no_split_modules or [])
    ]
    if not layers:
        raise InputError(
            f"models.shard: {type(causal).__name__} does not name its layers; set models.shard=false"
        )
    mesh = init_device_mesh(device.type, (processes.world(),))
    for layer in layers:
        layer.to(device)
        adapters = {parameter for name, parameter in layer.named_parameters() if "lora_" in name}
        fully_shard(layer, mesh=mesh, ignored_params=adapters)
    whole = {parameter for parameter in model.parameters() if not isinstance(parameter, DTensor)}
    for tensor in chain(whole, model.buffers()):
        tensor.data = tensor.data.to(device)
    fully_shard(
        body, mesh=mesh, ignored_params=whole
    )  # it holds none: the layers' common root, which paces them
    causal.hf_device_map = {"": device}
    # DDP has the adapters alone to keep alike.
    model._ddp_params_and_buffers_to_ignore = [
        n for n, p in model.named_parameters() if isinstance(p, DTensor)
    ]
    return model


def is_sharded(model: Any) -> bool:
    if processes.world() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, torch.nn.Module) and any(
        isinstance(module, FSDPModule) for module in model.modules()
    )


def inference(model: Any) -> AbstractContextManager[None]:
    """No gradients inside. The layers of a sharded model are gathered into tensors that training uses as well, which
    those that inference mode makes do not allow."""
    return torch.no_grad() if is_sharded(model) else torch.inference_mode()


@contextmanager
def in_step(*models: Any) -> Iterator[None]:
    """Inside, each process runs sharded models when it likes and as often as it needs; others may go on as ever.

    A pass through a sharded model is one of all processes at once. So before each the processes say which model they
    wait for, and those that need another one, or none any more, run a single token through it. A process leaves when
    all are done.
    """
    bodies: list[Any] = [causal_of(model).get_decoder() for model in models if is_sharded(model)]
    if not bodies:
        yield
        return
    lending = False

    def meet(own: int | None) -> None:
        nonlocal lending
        while not lending and (
            wanted := [number for number in processes.gather(own) if number is not None]
        ):
            if min(wanted) == own:
                break
            lending = True
            one = bodies[min(wanted)]
            with inference(one):
                one(
                    input_ids=torch.zeros(1, 1, dtype=torch.long, device=one.device),
                    use_cache=False,
                )
            lending = False

    def before(own: int, _module: Any, _args: Any, given: dict[str, Any]) -> None:
        if (
            given.get("input_ids") is not None
        ):  # else no layer is run: `logprobs._project` wants the output layer alone
            meet(own)

    hooks = [
        body.register_forward_pre_hook(partial(before, own), prepend=True, with_kwargs=True)
        for own, body in enumerate(bodies)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    meet(None)


def causal_of(model: Any) -> Any:
    """The model that speaks, without what PEFT has put around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model
