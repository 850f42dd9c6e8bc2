"""rows.js: what a session gives with its cache kept outside is what one would that joins it inside."""

import json
import subprocess

from tinsmith.browser.runtime import WEB_DIR

SCRIPT = """
import { readInPieces } from "%s";
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const ints = (values, dims) => new Tensor("int64", BigInt64Array.from(values, BigInt), dims);
const runs = [];
// Every new row is (token, position, tokens seen by then): what a graph could know of it.
const session = {
  inputNames: ["input_ids", "attention_mask", "position_ids", "num_logits_to_keep", "past_key_values.0.key"],
  outputNames: ["logits", "present.0.key"],
  async run(feeds) {
    const [, count] = feeds.input_ids.dims;
    const seen = feeds["past_key_values.0.key"].dims[1];
    if (feeds.attention_mask.dims[1] !== seen + count) throw new Error("mask");
    runs.push(count);
    const [ids, positions] = [feeds.input_ids.data, feeds.position_ids.data];
    const rows = Array.from({ length: count }, (_, i) => [Number(ids[i]), Number(positions[i]), seen + i]);
    const key = new Tensor("float32", Float32Array.from(rows.flat()), [1, count, 3]);
    return { logits: rows.at(-1)[0], "present.0.key": key };
  },
};
let stopsBefore = Infinity;
readInPieces(session, async () => runs.length >= stopsBefore);
async function read(past, first, count, keep = 1) {
  const before = past.dims[1];
  const numbers = Array.from({ length: count }, (_, i) => i);
  const outputs = await session.run({
    input_ids: ints(numbers.map((i) => first + i), [1, count]),
    position_ids: ints(numbers.map((i) => before + i), [1, count]),
    attention_mask: ints(Array(before + count).fill(1), [1, before + count]), num_logits_to_keep: ints([keep], []),
    "past_key_values.0.key": past,
  });
  return outputs;
}
const empty = new Tensor("float32", new Float32Array(0), [1, 0, 3]);
const results = {};
let outputs = await read(empty, 1000, 1300);
results.pieces = [...runs]; results.logits = outputs.logits;
let past = outputs["present.0.key"];
for (let i = 0; i < 900; i++) past = (await read(past, 5000 + i, 1))["present.0.key"];
results.dims = past.dims;
results.isRight = Array.from({ length: 2200 }, (_, i) => past.data[3 * i] === (i < 1300 ? 1000 + i : 5000 + i - 1300)
  && past.data[3 * i + 1] === i && past.data[3 * i + 2] === i).every(Boolean);
const cut = new Tensor("float32", past.data.subarray(0, 3 * 1400), [1, 1400, 3]);
const again = (await read(cut, 9000, 2))["present.0.key"];
results.again = [again.dims[1], again.data[3 * 1399], again.data[3 * 1400], again.data[3 * 1401]];
results.isInPlace = again.data.buffer === past.data.buffer;
runs.length = 0;
await read(empty, 0, 700, 0);
results.all = [...runs];
runs.length = 0; stopsBefore = 2;
const stopped = await read(empty, 3000, 700);
results.stopped = [[...runs], session.unread, stopped["present.0.key"].dims[1], stopped.logits];
stopsBefore = Infinity;
results.goesOn = [(await read(stopped["present.0.key"], 3512, 188)).logits, session.unread];
// A graph that gives all rows, (1, H, T, D), is only read in pieces.
const whole = { ...session, async run(feeds) {
  const [count, before] = [feeds.input_ids.dims[1], feeds["past_key_values.0.key"].dims[2]];
  runs.push([count, before]);
  const key = new Tensor("float32", new Float32Array(before + count), [1, 1, before + count, 1]);
  return { logits: 0, "present.0.key": key };
} };
runs.length = 0;
readInPieces(whole);
const feeds = { input_ids: ints(Array(300).fill(1), [1, 300]), position_ids: ints(Array(300).fill(1), [1, 300]),
  attention_mask: ints(Array(300).fill(1), [1, 300]), num_logits_to_keep: ints([1], []),
  "past_key_values.0.key": new Tensor("float32", new Float32Array(0), [1, 1, 0, 1]) };
results.whole = [(await whole.run(feeds))["present.0.key"].dims, runs];
console.log(JSON.stringify(results));
"""


def test_rows_are_joined_grown_and_cut(tmp_path):
    script = tmp_path / "rows.mjs"
    script.write_text(SCRIPT % (WEB_DIR / "rows.js"))
    answer = subprocess.run(["node", str(script)], capture_output=True, text=True, check=True).stdout
    results = json.loads(answer)
    assert results["pieces"] == [256, 256, 256, 256, 256, 20] and results["logits"] == 2299
    assert results["dims"] == [1, 2200, 3] and results["isRight"]
    assert results["again"] == [1402, 5099, 9000, 9001] and results["isInPlace"]
    assert results["all"] == [700]  # whoever wants all logits gets them from one run
    assert results["stopped"] == [[256, 256], 188, 512, 3511] and results["goesOn"] == [3699, 0]
    assert results["whole"] == [[1, 1, 300, 1], [[256, 0], [44, 256]]]
