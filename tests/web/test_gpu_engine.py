"""The engine over the pages' own WebGPU kernels: long prompts, a growing cache, stops, sampled tokens, small GPUs."""

import numpy as np
import pytest

from own_kernels import MAX_ERROR, PATHS, WEBGPU_BYTES, Opened, error, opened_package
from packages import tiny_run, wide_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with opened_package(tiny_run("llama", tmp_path_factory) / "export/package", *PATHS["subgroups"]) as opened:
        yield opened


LONG = """
async ({ plan, ids, grownAt }) => {
  const engine = await createEngine(plan);
  const { decoder } = engine;
  const logits = [], sizes = [decoder.buffers.bytes], capacities = [decoder.capacity];
  const read = await engine.read(ids.slice(0, grownAt), 0, async () => true);
  await engine.read(ids.slice(read, grownAt), read);
  logits.push([...(await engine.logitsAfterPrompt())]);
  // The cache grows between the prompt and its answer, which the rest of the prompt writes over.
  const answer = await engine.generate({ position: grownAt, count: 512 - grownAt + 8, ends: [] });
  await engine.read(ids.slice(grownAt, -1), grownAt);
  logits.push([...(await engine.logitsAfterPrompt())]);
  logits.push([...(await engine.logitsAfter(ids.at(-1), ids.length - 1))]);
  for (const tokens of [ids.length, 1025, 4096]) {
    await decoder.reserve(tokens);
    sizes.push(decoder.buffers.bytes);
    capacities.push(decoder.capacity);
  }
  logits.push([...(await engine.logitsAfter(ids.at(-1), ids.length - 1))]);
  const tooLong = await engine.read([1], 4096).catch(({ message }) => message);
  engine.destroy();
  return { read, logits, answer, sizes, capacities, tooLong, left: decoder.buffers.bytes };
}
"""


def test_long_prompts_are_read_in_pieces_and_the_cache_grows_with_its_content(opened: Opened):
    ids, grown_at = opened.ids(601), 500
    result = opened.run(LONG, ids=ids, grownAt=grown_at)
    assert result["read"] == 256  # the stop came between pieces
    sequence = opened.decoder.start()
    expected = [sequence.feed(part, 1) for part in (ids[:grown_at], ids[grown_at:-1], ids[-1:])]
    assert error(result["logits"], np.concatenate([*expected, expected[-1]])) <= MAX_ERROR
    assert result["answer"] == opened.greedy(ids[:grown_at], 512 - grown_at + 8)
    assert result["capacities"] == [512, 1024, 2048, 4096]
    plan = opened.plan
    floats_per_token = 2 * len(plan["layers"]) * plan["kv_heads"] * plan["head_size"]
    floats_per_token += sum(2 * len(rope["frequencies"]) for rope in plan["ropes"])
    capacities, sizes = np.array(result["capacities"]), np.array(result["sizes"])
    assert (np.diff(sizes) == 4 * floats_per_token * np.diff(capacities)).all()  # nothing else stays behind
    assert result["tooLong"] == "The context has 4096 tokens; 4097 are needed." and result["left"] == 0


LONGEST = """
async ({ plan, ids }) => {
  const engine = await createEngine(plan);
  await engine.read(ids.slice(0, -1), 0);
  const logits = [[...(await engine.logitsAfterPrompt())], [...(await engine.logitsAfter(ids.at(-1), ids.length - 1))]];
  engine.destroy();
  return logits;
}
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_last_token_of_the_longest_conversation(kind, tmp_path_factory):
    with opened_package(tiny_run(kind, tmp_path_factory) / "export/package", *PATHS["subgroups"]) as opened:
        ids = opened.ids(4096)
        difference = error(opened.run(LONGEST, ids=ids), opened.logits(ids, 4095))
    print(f"{kind}, 4,096 tokens: {difference:.1e}")
    assert difference <= MAX_ERROR


STOPPED = """
async ({ plan, ids, stopAt }) => {
  const engine = await createEngine(plan);
  await engine.read(ids, 0);
  const heard = [];
  const stopped = await engine.generate({
    position: ids.length, count: 200, ends: [],
    onToken: (token) => heard.push(token), isStopped: () => heard.length >= stopAt,
  });
  // What ran ahead is in the cache behind the tokens that count, and is written over.
  await engine.read(stopped, ids.length);
  const logits = [[...(await engine.logitsAfterPrompt())]];
  engine.destroy();
  return { heard, stopped, logits };
}
"""


def test_a_stop_ends_an_answer_at_the_token_that_was_read_last(opened: Opened):
    ids, stop_at = opened.ids(9), 3
    result = opened.run(STOPPED, ids=ids, stopAt=stop_at)
    greedy = opened.greedy(ids, stop_at)
    assert result["stopped"] == result["heard"] == greedy
    assert error(result["logits"], opened.logits(ids + greedy, 12)) <= MAX_ERROR


SAMPLED = """
async ({ plan, ids, settings, newTokens }) => {
  const engine = await createEngine(plan);
  await engine.read(ids, 0);
  const logits = [[...(await engine.logitsAfterPrompt())]];
  const first = [];
  for (const sampling of settings) {
    first.push(...(await engine.generate({ position: ids.length, count: 1, ends: [], sampling })));
  }
  const [sampling] = settings;
  const answer = { position: ids.length, count: newTokens, ends: [], sampling };
  const answers = [await engine.generate(answer)];
  await engine.read(ids, 0);
  answers.push(await engine.generate(answer));
  for (const [step, token] of answers[0].entries()) {
    logits.push([...(await engine.logitsAfter(token, ids.length + step))]);
  }
  engine.destroy();
  return { logits, first, answers };
}
"""
MOST_TOP = 64
SETTINGS = [
    {"top": top, "temperature": temperature, "seed": seed}
    for top, temperature in ((50, 0.7), (3, 2.0), (100, 1.5), (1, 0.7))
    for seed in (7, 11, 4_000_000_000, *range(100, 117))
]


def random_number(seed: int, step: int) -> float:
    """A PCG hash of seed and step, in [0, 1)."""
    mask = 0xFFFFFFFF
    x = ((seed ^ (step * 0x9E3779B9 & mask)) * 747796405 + 2891336453) & mask
    x = (((x >> ((x >> 28) + 4)) ^ x) * 277803737) & mask
    x ^= x >> 22
    return (x >> 8) / 2**24


def sampled_token(logits: list[float], step: int, *, top: int, temperature: float, seed: int) -> int:
    """The token at a random place among the most likely ones, laid end to end by their likelihood."""
    rows = sorted(range(len(logits)), key=lambda row: (-logits[row], row))[: min(top, MOST_TOP)]
    weights = np.exp((np.array([logits[row] for row in rows]) - logits[rows[0]]) / temperature)
    place = int(np.searchsorted(weights.cumsum(), random_number(seed, step) * weights.sum(), side="right"))
    return rows[place]


def test_sampled_tokens_follow_seed_temperature_and_the_number_to_choose_among(opened: Opened):
    result = opened.run(SAMPLED, ids=opened.ids(9), settings=SETTINGS, newTokens=8)
    first_logits, *_ = result["logits"]
    assert result["first"] == [sampled_token(first_logits, 0, **setting) for setting in SETTINGS]
    answer, again = result["answers"]
    assert answer == again
    assert answer == [sampled_token(result["logits"][step], step, **SETTINGS[0]) for step in range(8)]
    kinds = [len(set(result["first"][start : start + 20])) for start in range(0, len(SETTINGS), 20)]
    assert kinds[0] > 3 and 1 < kinds[1] <= 3 and kinds[2] > kinds[0] and kinds[3] == 1


REFUSED = """async ({ plan }) => createEngine(plan).then(() => "", ({ message }) => message)"""


def test_a_tensor_beyond_the_gpus_limit_is_refused_before_it_is_read(opened: Opened):
    """Gemma 3 1B's head has 151 MB and more. Every adapter has 128 MB, and the test's device asked for no more."""
    rows, columns = 262_144, 1152
    size = rows * columns // 2
    scales = rows * columns // 32 * 2
    head = {"bits": 4, "rows": rows, "columns": columns, "file": "head", "packed_at": 0, "scales_at": size}
    head |= {"zeros_at": size + scales}
    plan = opened.plan | {"head": head, "vocabulary": rows, "files": opened.plan["files"] | {"head": 2 * size}}
    assert opened.run(REFUSED, plan=plan) == "the model's largest tensor exceeds this GPU's limit"
    assert not any(request.url.endswith("/head") for request in opened.page.requests)


@pytest.mark.long
def test_kernels_for_more_memory_than_a_gpu_has_are_refused(tmp_path_factory):
    package = wide_run(tmp_path_factory) / "export/package"
    with opened_package(package, 4, 2 * WEBGPU_BYTES) as opened:
        assert "workgroup" in opened.run(REFUSED)
