"""What PyTorch says about two tiny GPT-2s, in float64: test/oracle/gpt2-*.json, read by gpt2.test.ts.

    python -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python test/oracle/make_gpt2_oracle.py

For each model: the loss, the logits and every gradient at the initial weights, then ten steps of AdamW with clipping
and a warm-up + cosine schedule, a fresh batch each, and the weights after them. The model is written with PyTorch's own
layer norm, GELU, softmax and cross-entropy; the gradients are autograd's; the optimizer is torch.optim.AdamW.

Initial weights are not stored but follow from a formula (`hashed`) that numpy and JavaScript compute alike and
that float32 holds exactly: multiples of 2^-13 in [-1/4, 1/4), plus 1 for the gains of layer norms.
Arrays are stored as base64 of little-endian float64.
"""

import base64
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

SEQUENCES, TOKENS, STEPS = 3, 11, 10
BETAS, EPSILON, WEIGHT_DECAY, CLIP_NORM = (0.9, 0.95), 1e-8, 0.1, 1.0
PEAK_LEARNING_RATE, WARM_UP_STEPS, MINIMUM_RATIO = 0.01, 3, 0.1

MODELS = {
    "gpt2-tied-tanh": dict(
        vocabularySize=61, contextLength=16, width=24, layers=2, heads=4, activation="gelu-tanh", tieHead=True
    ),
    "gpt2-untied-erf": dict(
        vocabularySize=53, contextLength=11, width=16, layers=2, heads=2, activation="gelu-erf", tieHead=False
    ),
}


def hashed(first: int, count: int) -> np.ndarray:
    """Numbers first .. first+count-1 of a fixed sequence of 32-bit integers (an integer mix as in murmur3)."""
    h = np.arange(first + 1, first + count + 1, dtype=np.uint64) * 2654435761 % 2**32
    h = (h ^ (h >> 15)) * 2246822519 % 2**32
    h = (h ^ (h >> 13)) * 3266489917 % 2**32
    return h ^ (h >> 16)


def shapes(model: dict) -> dict[str, tuple[int, ...]]:
    """Names as in Hugging Face's GPT-2; linear weights are [inputs, outputs]."""
    width, hidden = model["width"], 4 * model["width"]
    named = {"wte.weight": (model["vocabularySize"], width), "wpe.weight": (model["contextLength"], width)}
    for layer in range(model["layers"]):
        for name, shape in {
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "attn.c_attn.weight": (width, 3 * width),
            "attn.c_attn.bias": (3 * width,),
            "attn.c_proj.weight": (width, width),
            "attn.c_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
            "mlp.c_fc.weight": (width, hidden),
            "mlp.c_fc.bias": (hidden,),
            "mlp.c_proj.weight": (hidden, width),
            "mlp.c_proj.bias": (width,),
        }.items():
            named[f"h.{layer}.{name}"] = shape
    named["ln_f.weight"] = (width,)
    named["ln_f.bias"] = (width,)
    if not model["tieHead"]:
        named["lm_head.weight"] = (model["vocabularySize"], width)
    return named


def initial_weights(model: dict) -> dict[str, torch.Tensor]:
    weights, first = {}, 0
    for name, shape in shapes(model).items():
        count = math.prod(shape)
        values = (hashed(first, count) % 4096).astype(np.float64) / 8192 - 0.25
        if ".ln_" in f".{name}" and name.endswith(".weight"):
            values += 1
        weights[name] = torch.from_numpy(values.reshape(shape)).requires_grad_()
        first += count
    return weights


def logits_of(model: dict, weights: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """tokens [B, T] -> logits [B, T, V]."""
    B, T = tokens.shape
    C, H = model["width"], model["heads"]
    approximate = {"gelu-tanh": "tanh", "gelu-erf": "none"}[model["activation"]]
    causal = torch.ones(T, T, dtype=torch.bool).tril()

    def norm(x, name):
        return F.layer_norm(x, (C,), weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-5)

    def linear(x, name):
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["wte.weight"][tokens] + weights["wpe.weight"][:T]
    for layer in range(model["layers"]):
        h = f"h.{layer}"
        q, k, v = linear(norm(x, f"{h}.ln_1"), f"{h}.attn.c_attn").split(C, dim=-1)
        q, k, v = (part.view(B, T, H, C // H).transpose(1, 2) for part in (q, k, v))
        scores = (q @ k.transpose(2, 3)) / math.sqrt(C // H)
        attended = scores.masked_fill(~causal, -math.inf).softmax(-1) @ v
        x = x + linear(attended.transpose(1, 2).reshape(B, T, C), f"{h}.attn.c_proj")
        hidden = F.gelu(linear(norm(x, f"{h}.ln_2"), f"{h}.mlp.c_fc"), approximate=approximate)
        x = x + linear(hidden, f"{h}.mlp.c_proj")
    head = weights["wte.weight" if model["tieHead"] else "lm_head.weight"]
    return norm(x, "ln_f") @ head.T


def loss_of(model: dict, weights: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """batch [B, T+1]: each token but the last is an input, each but the first a target. Mean over B*T, in nats."""
    logits = logits_of(model, weights, batch[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


def learning_rate(step: int) -> float:
    if step <= WARM_UP_STEPS:
        return PEAK_LEARNING_RATE * step / WARM_UP_STEPS
    progress = (step - WARM_UP_STEPS) / (STEPS - WARM_UP_STEPS)
    return PEAK_LEARNING_RATE * (MINIMUM_RATIO + (1 - MINIMUM_RATIO) * 0.5 * (1 + math.cos(math.pi * progress)))


def encoded(tensor: torch.Tensor) -> str:
    return base64.b64encode(tensor.detach().numpy().astype("<f8").tobytes()).decode()


def oracle(model: dict) -> dict:
    weights = initial_weights(model)
    numbers = hashed(1_000_000, (STEPS + 1) * SEQUENCES * (TOKENS + 1)) % model["vocabularySize"]
    batches = torch.from_numpy(numbers.astype(np.int64)).view(STEPS + 1, SEQUENCES, TOKENS + 1)
    # Repeated tokens within one batch, so that gradients of one embedding row add up.
    batches[:, 1, 3:6] = batches[:, 0, 0:1]

    logits = logits_of(model, weights, batches[0, :, :-1])
    loss = loss_of(model, weights, batches[0])
    loss.backward()
    gradients = {name: weight.grad.clone() for name, weight in weights.items()}
    result = {
        "madeBy": f"test/oracle/make_gpt2_oracle.py with torch {torch.__version__.split('+')[0]}, float64",
        "model": model,
        "parameters": [
            {"name": name, "shape": list(weight.shape), "decay": weight.dim() >= 2} for name, weight in weights.items()
        ],
        "sumOfWeights": sum(float(weight.detach().sum()) for weight in weights.values()),
        "batches": [batch.flatten().tolist() for batch in batches],
        "sequences": SEQUENCES,
        "tokens": TOKENS,
        "loss": loss.item(),
        "gradientNorm": math.sqrt(sum(float((g * g).sum()) for g in gradients.values())),
        "logits": encoded(logits),
        "gradients": {name: encoded(gradient) for name, gradient in gradients.items()},
    }

    matrices = [weight for weight in weights.values() if weight.dim() >= 2]
    vectors = [weight for weight in weights.values() if weight.dim() < 2]
    optimizer = torch.optim.AdamW(
        [dict(params=matrices, weight_decay=WEIGHT_DECAY), dict(params=vectors, weight_decay=0.0)],
        betas=BETAS,
        eps=EPSILON,
    )
    steps = []
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss = loss_of(model, weights, batches[step])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), CLIP_NORM)
        optimizer.step()
        steps.append(dict(learningRate=learning_rate(step), loss=loss.item(), gradientNorm=norm.item()))
    result["optimizer"] = dict(
        betas=BETAS, epsilon=EPSILON, weightDecay=WEIGHT_DECAY, clipNorm=CLIP_NORM
    )
    result["schedule"] = dict(
        learningRate=PEAK_LEARNING_RATE, warmupSteps=WARM_UP_STEPS, minimumRatio=MINIMUM_RATIO, steps=STEPS
    )
    result["steps"] = steps
    result["weightsAfterSteps"] = {name: encoded(weight) for name, weight in weights.items()}
    return result


if __name__ == "__main__":
    for name, model in MODELS.items():
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(oracle(model), indent=1) + "\n")
        print(path, path.stat().st_size)
