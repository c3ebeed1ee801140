"""OpenVINO GenAI alone, continuing chats as its parent's lines say: `_generation_child.py FILE`.

A line `{"streams": 4, "tokens": 64, "mark": "3"}` is answered with the tokens made, the seconds
taken, and the seconds to each stream's first token. No HTTP, no process between, no queue.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from skerry.generation.openvino_runtime import genai
from skerry.inference.cpu import usable_cores
from skerry.workers.priority import give_way

BATCH_TOKENS = 256
CACHE_GB = 1


def main() -> None:
    file = Path(sys.argv[1])
    give_way()  # as the worker it is compared with
    pipeline = make_pipeline(file)
    say({})
    for count, line in enumerate(sys.stdin):
        asked = json.loads(line)
        say(continue_chats(pipeline, asked["prompts"], tokens=asked["tokens"], first=1000 * count))


def make_pipeline(file: Path) -> Any:
    """As Skerry's worker sets it up."""
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = CACHE_GB
    scheduler.max_num_batched_tokens = BATCH_TOKENS
    scheduler.enable_prefix_caching = True
    return genai.ContinuousBatchingPipeline(
        str(file),
        scheduler,
        "CPU",
        {"INFERENCE_NUM_THREADS": usable_cores(), "ENABLE_CPU_PINNING": False},
    )


def continue_chats(pipeline: Any, prompts: list[str], *, tokens: int, first: int) -> dict[str, Any]:
    """All prompts side by side."""
    config = genai.GenerationConfig()
    config.max_new_tokens = tokens
    config.do_sample = False
    tokenizer = pipeline.get_tokenizer()
    began = time.perf_counter()
    handles = []
    for place, prompt in enumerate(prompts):
        turns = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True)
        ids = tokenizer.encode(text, add_special_tokens=False).input_ids
        handles.append(pipeline.add_request(first + place, ids, config))
    firsts: dict[int, float] = {}
    made = 0
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for place, handle in enumerate(handles):
            while handle.can_read():
                made += sum(len(output.generated_ids) for output in handle.read().values())
                firsts.setdefault(place, time.perf_counter() - began)
    return {
        "tokens": made,
        "seconds": time.perf_counter() - began,
        "firsts": list(firsts.values()),
    }


def say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
