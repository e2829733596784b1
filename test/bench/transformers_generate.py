"""GPT-2 124M of Hugging Face's transformers, for `gpt-lab bench engine`: each line of stdin generates tokens, greedily and
with the key/value cache, after a prompt of 32 tokens, and prints the seconds that took.

    transformers_generate.py SEQUENCES TOKENS THREADS
"""

import json
import resource
import sys
import time

import torch
import transformers

transformers.logging.set_verbosity_error()


def main():
    sequences, tokens, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    prompt = torch.randint(50257, (sequences, 32))
    options = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens, "pad_token_id": 0}
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(prompt, attention_mask=torch.ones_like(prompt), use_cache=True, **options)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        version = f"{transformers.__version__} on PyTorch {torch.__version__}"
        print(json.dumps({"seconds": seconds, "peakBytes": peak, "version": version}), flush=True)


main()
