"""The plan: every model's parameters, what each strategy trains of them, and what training takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

from radcap.adapt.lora import rank_and_alpha
from radcap.adapt.strategies import Targets, resolve_targets
from radcap.errors import UserError
from radcap.models.family import get_family
from radcap.models.inputs import fill_template
from radcap.plan import memory
from radcap.plan.activations import AdapterOptions, activation_bytes, checkpointed_bytes
from radcap.plan.positions import Positions, positions
from radcap.plan.sizes import Sizes, build_on_meta, count_parameters, full_size, known_models, trained_parameters
from radcap.plan.study import Study, compare_with_study
from radcap.settings import Model, Profile, Settings, StrategyName

STRATEGIES: tuple[str, ...] = get_args(StrategyName)
# Of a model whose every weight trains, whatever the adapters' strategy.
FULL = "full"


def build_plan(
    params: Settings, *, strategies: Sequence[str] = (), keys: Sequence[str] = (), study: Study | None = None
) -> dict[str, Any]:
    """Plan the named models (none named: all of params.yaml that have a full-size configuration), as plain JSON.

    Counts are parameters, sizes bytes, percentages of the base's parameters. `study` puts the published figures
    beside them. UserError in one line: an unknown model or strategy.
    """
    for name in strategies:
        if name not in STRATEGIES:
            raise UserError(f"unknown strategy {name!r}; allowed: {', '.join(STRATEGIES)}")
    blocks = {key: params.model(key) for key in keys or [key for key in params.models if key in known_models()]}
    profile = full_size_profile(params)
    return {
        "profile": {
            "dtype": profile.dtype,
            "lora_batch": profile.lora.batch_size,
            "full_batch": profile.full.batch_size,
            "max_caption_tokens": params.train.max_caption_tokens,
        },
        "strategies": list(strategies or STRATEGIES),
        "models": {key: _model(key, params, profile, strategies or STRATEGIES, study) for key in blocks},
        "without_full_size": [key for key in params.models if key not in known_models()],
    }


def full_size_profile(params: Settings) -> Profile:
    """The active profile, or the first for published weights where the active one trains miniatures."""
    published = [profile for profile in params.profiles.values() if profile.weights == "published"]
    return params.active if params.active.weights == "published" or not published else published[0]


def _model(
    key: str, params: Settings, profile: Profile, strategies: Iterable[str], study: Study | None
) -> dict[str, Any]:
    block = params.model(key)
    adapter = get_family(block.family)
    model = build_on_meta(adapter, full_size(key))
    sizes = count_parameters(adapter, model)
    if block.tuning == "lora":
        prompt = fill_template(block.template, params.prompt.instruction)
        try:
            variants = {name: _adapted(name, sizes, block, params, profile, prompt) for name in strategies}
        except UserError as error:
            raise UserError(f"models.{key}: {error}") from None
    else:
        variants = {FULL: _tuned(model, sizes, adapter.ids_name, params, profile)}
    row = {
        "tuning": block.tuning,
        "components": sizes.components,
        "total": sizes.total,
        "variants": variants,
    }
    return row | ({"study": compare_with_study(key, row, study)} if study else {})


def _adapted(
    strategy: str, sizes: Sizes, block: Model, params: Settings, profile: Profile, prompt: str
) -> dict[str, Any]:
    lora, published = params.lora, block.published
    assert published is not None, "settings demand a published row of every model with tuning lora"
    targets = resolve_targets(strategy, sizes.inventory, published=published, vision_tower=lora.vision_tower)
    r, alpha = rank_and_alpha(lora, published)
    adapters = AdapterOptions(r, profile.lora.dropout if lora.dropout == "profile" else lora.dropout, lora.dora)
    image = {} if block.image == "none" else block.image
    where = positions(sizes.config, prompt=prompt, caption_tokens=params.train.max_caption_tokens, image=image)
    trained = trained_parameters(sizes.inventory, targets, r=r, dora=lora.dora, tied=sizes.tied)
    return {
        "trained": trained,
        "percent": 100 * trained / sizes.total,
        "disk": memory.disk_bytes(sizes, targets, r=r, dora=lora.dora),
        "r": r,
        "alpha": alpha,
        "positions": vars(where),
        "memory": {
            name: _memory(sizes, targets, adapters, where, trained, profile, quantized=name == "4bit").as_dict()
            for name in ("none", "4bit")
        },
    }


def _memory(
    sizes: Sizes,
    targets: Targets,
    adapters: AdapterOptions,
    where: Positions,
    trained: int,
    profile: Profile,
    *,
    quantized: bool,
) -> memory.Memory:
    batch, element = profile.lora.batch_size, memory.element_bytes(dtype=profile.dtype, quantized=quantized)
    shape: dict[str, Any] = {"positions": where, "batch": batch, "element": element}
    activations = activation_bytes(sizes.inventory, targets, adapters, config=sizes.config, **shape)
    return memory.estimate(
        weights=memory.weight_bytes(sizes, dtype=profile.dtype, quantized=quantized),
        trained=trained,
        logits=memory.logit_bytes(sizes, labels=batch * where.label, element=element),
        activations=sum(activations.values()),
        checkpointed=checkpointed_bytes(activations, sizes.inventory, **shape),
    )


def _tuned(model: Any, sizes: Sizes, ids: str, params: Settings, profile: Profile) -> dict[str, Any]:
    import torch

    batch, labels = profile.full.batch_size, params.train.max_caption_tokens
    side = sizes.config.encoder.image_size
    inputs = {
        "pixel_values": torch.empty(batch, 3, side, side, device="meta"),
        ids: torch.empty(batch, labels, dtype=torch.long, device="meta"),
        # A whole mask: to make one, transformers would look at values, which the meta device has not.
        "decoder_attention_mask": torch.empty(batch, 1, labels, labels, device="meta"),
    }
    estimate = memory.estimate(
        weights=0,
        trained=sizes.total,
        logits=memory.logit_bytes(sizes, labels=batch * labels, element=memory.FLOAT32),
        activations=memory.counted_activations(model, inputs),
    )
    return {
        "trained": sizes.total,
        "percent": 100.0,
        "disk": sizes.total * memory.FLOAT32,
        "memory": {"none": estimate.as_dict()},
    }
