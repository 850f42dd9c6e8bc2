/**
 * Unpacks a package's 4- and 8-bit weights for its INT8 graph, to the last bit as ONNX Runtime would while it loads one.
 *
 * The arithmetic is that of src/tinsmith/export/unpack.py: products and steps are rounded to halves, quotients to floats.
 *
 * @typedef {{bits: 4 | 8, rows: number, file: string, packed_at: number, scales_at: number, zeros_at?: number}} Part stored integers, scales
 *   and, in 4 bits, zero points
 * @typedef {{columns: number, width: number, weights_at: number, scales_at: number, factors: number[] | null, parts: Part[]}} Product
 *   of all rows of its parts; `weights_at` is where its levels go, in matrices of (columns, width), `scales_at` where a float
 *   for each row. What fills the last matrix stays zero
 * @typedef {{bytes: number, sha256: string, products: Product[]}} Plan
 */

const BLOCK = 32;
const MIDDLE = 128;
/** Of a row's bound: the step of 127 levels. */
const SHARE = Math.fround(1 / 127);
/** Rows that are turned together, so that what is written lies together. */
const TILE = 64;

const { fround } = Math;
const half = halves();
const float = new Float32Array(1);
const bitsOfFloat = new Uint32Array(float.buffer);

/** The smallest half that is not subnormal; below, halves lie 2^-24 apart, as doubles do beside 1.5 * 2^28. */
const NORMAL = 2 ** -14;
const SMALLEST = 2 ** -24;
const SUBNORMAL_ROUNDER = 1.5 * 2 ** 28;

/** @returns {Float32Array} the value of every 16 bits as a half */
function halves() {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    values[bits] = bits & 0x8000 ? -size : size;
  }
  return values;
}

/** @param {number} value a float @returns {number} the nearest half, ties to even */
function toHalf(value) {
  if (value > -NORMAL && value < NORMAL) return value + SUBNORMAL_ROUNDER - SUBNORMAL_ROUNDER;
  float[0] = value;
  const bits = bitsOfFloat[0];
  bitsOfFloat[0] = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fff;
  return float[0];
}

/**
 * What the INT8 graph's weights file holds.
 *
 * @param {Plan} plan
 * @param {Map<string, Uint8Array>} files the package's files of weights, by the names in `plan`
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function unpack(plan, files) {
  const data = new Uint8Array(plan.bytes);
  for (const product of plan.products) unpackProduct(product, files, data);
  return data;
}

/** Workers that unpack beside the caller, in shared memory. They take a while to start, which nothing should keep waiting for. */
export class Helpers {
  /** @param {number} count */
  constructor(count) {
    this.workers = Array.from({ length: count }, () => new Worker(new URL("./unpack_worker.js", import.meta.url), { type: "module" }));
    this.ready = this.#all();
    this.ready.catch(() => {}); // told to whoever asks for work
  }

  /**
   * @param {Plan} plan
   * @param {Map<string, Uint8Array<SharedArrayBuffer>>} files
   * @param {() => Promise<unknown>} meanwhile what the caller does before it takes products itself
   * @returns {Promise<Uint8Array<SharedArrayBuffer>>} rejects where a worker does not start, or fails
   */
  async unpack(plan, files, meanwhile) {
    await this.ready;
    const work = {
      products: [...plan.products].sort((a, b) => weightsOf(b) - weightsOf(a)), // the largest first, so that nobody ends late
      files, data: new Uint8Array(new SharedArrayBuffer(plan.bytes)), next: new Int32Array(new SharedArrayBuffer(4)),
    };
    const done = this.#all();
    for (const worker of this.workers) worker.postMessage(work);
    await meanwhile();
    takeProducts(work);
    await done;
    return work.data;
  }

  end() {
    for (const worker of this.workers) worker.terminate();
  }

  /** @returns {Promise<unknown>} when every worker has said something */
  #all() {
    return Promise.all(this.workers.map((worker) => new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => {
        event.preventDefault(); // the caller is told, and no page above
        reject(new Error("A worker that unpacks weights failed."));
      };
    })));
  }
}

/**
 * Unpack products that nobody has taken until there are none.
 *
 * @param {{products: Product[], files: Map<string, Uint8Array>, data: Uint8Array, next: Int32Array}} work all but `products` shared
 */
export function takeProducts({ products, files, data, next }) {
  for (let index; (index = Atomics.add(next, 0, 1)) < products.length; ) unpackProduct(products[index], files, data);
}

/** @param {Product} product @returns {number} of all its parts */
function weightsOf(product) {
  return product.columns * rowsOf(product);
}

/** @param {Product} product @returns {number} of all its parts */
function rowsOf(product) {
  return product.parts.reduce((sum, part) => sum + part.rows, 0);
}

/** @param {Product} product @param {Map<string, Uint8Array>} files @param {Uint8Array} data */
function unpackProduct(product, files, data) {
  const rows = rowsOf(product);
  const levels = data.subarray(product.weights_at, product.weights_at + product.columns * product.width * Math.ceil(rows / product.width));
  const scales = new Float32Array(data.buffer, product.scales_at, rows);
  let first = 0;
  for (const part of product.parts) {
    unpackPart(part, product, /** @type {Uint8Array} */ (files.get(part.file)), levels, scales, first);
    first += part.rows;
  }
}

/**
 * @param {Part} part @param {Product} product @param {Uint8Array} file
 * @param {Uint8Array} levels matrices of (columns, width) @param {Float32Array} scales of all rows
 * @param {number} first of the part's rows among all
 */
function unpackPart(part, { columns, width, factors }, file, levels, scales, first) {
  const blocks = columns / BLOCK;
  const rowBytes = (columns * part.bits) / 8;
  const packed = file.subarray(part.packed_at, part.packed_at + part.rows * rowBytes);
  const stored = new Uint16Array(file.buffer, file.byteOffset + part.scales_at, part.rows * blocks);
  const zeroBytes = Math.ceil(blocks / 2);
  const zeros = part.zeros_at === undefined ? null : file.subarray(part.zeros_at, part.zeros_at + part.rows * zeroBytes);
  const points = new Uint8Array(blocks).fill(2 ** (part.bits - 1));
  const highest = 2 ** part.bits - 1;
  const wide = new Float32Array(blocks);
  const tile = new Uint8ClampedArray(TILE * columns);
  const floatFactors = factors && new Float32Array(factors);
  for (let start = 0, count; start < part.rows; start += count) {
    const place = (first + start) % width;
    count = Math.min(TILE, part.rows - start, width - place);
    for (let row = 0; row < count; row++) {
      let largest = 0;
      for (let block = 0; block < blocks; block++) {
        const scale = half[stored[(start + row) * blocks + block]];
        wide[block] = floatFactors ? scale * floatFactors[block] : scale;
        if (zeros) points[block] = (zeros[(start + row) * zeroBytes + (block >> 1)] >> (4 * (block & 1))) & 15;
        largest = Math.max(largest, fround(Math.abs(wide[block]) * Math.max(points[block], highest - points[block])));
      }
      const step = toHalf(Math.max(fround(largest * SHARE), SMALLEST));
      scales[first + start + row] = step;
      const from = (start + row) * rowBytes;
      const into = row * columns;
      if (part.bits === 4) unpackRow4(packed, from, wide, points, step, tile, into);
      else unpackRow8(packed, from, wide, step, tile, into);
    }
    turn(tile, count, columns, levels, width, (first + start - place) * columns + place);
  }
}

/** Write `count` rows of `tile` as columns, `width` apart from `at` on. @param {Uint8ClampedArray} tile @param {number} count @param {number} columns @param {Uint8Array} levels @param {number} width @param {number} at */
function turn(tile, count, columns, levels, width, at) {
  if ((count | width | at) & 3) {
    for (let column = 0; column < columns; column++, at += width) {
      for (let row = 0; row < count; row++) levels[at + row] = tile[row * columns + column];
    }
    return;
  }
  const fours = new Uint32Array(levels.buffer, levels.byteOffset, levels.length / 4);
  for (let column = 0; column < columns; column++, at += width) {
    let into = at / 4;
    for (let from = column, end = count * columns; from < end; from += 4 * columns) {
      fours[into++] = tile[from] | (tile[from + columns] << 8) | (tile[from + 2 * columns] << 16) | (tile[from + 3 * columns] << 24);
    }
  }
}

/** The levels of -15 to 15 times the scale of the block at hand, rounded to even and clamped as ONNX does. */
const table = new Uint8ClampedArray(31).fill(MIDDLE);
const ZERO = 15;

/** Fill in the integers `size` above and below zero. @param {number} size @param {number} quotient in steps */
function both(size, quotient) {
  table[ZERO + size] = MIDDLE + quotient;
  table[ZERO - size] = MIDDLE - quotient;
}

/** @param {Uint8Array} packed @param {number} from @param {Float32Array} wide @param {Uint8Array} points @param {number} step @param {Uint8ClampedArray} tile @param {number} into */
function unpackRow4(packed, from, wide, points, step, tile, into) {
  for (let block = 0; block < wide.length; block++) {
    const scale = toHalf(wide[block]);
    // Twice a half is a half, and twice a quotient a quotient: four roundings do for eight sizes.
    const one = fround(scale / step);
    const three = fround(toHalf(fround(3 * scale)) / step);
    both(1, one);
    both(2, 2 * one);
    both(3, three);
    both(4, 4 * one);
    both(5, fround(toHalf(fround(5 * scale)) / step));
    both(6, 2 * three);
    both(7, fround(toHalf(fround(7 * scale)) / step));
    both(8, 8 * one);
    const farthest = Math.max(points[block], 15 - points[block]);
    for (let size = 9; size <= farthest; size++) both(size, fround(toHalf(fround(size * scale)) / step));
    const lowest = ZERO - points[block];
    for (let index = 0; index < BLOCK / 2; index++) {
      const two = packed[from++];
      tile[into++] = table[lowest + (two & 15)];
      tile[into++] = table[lowest + (two >> 4)];
    }
  }
}

/** @param {Uint8Array} packed @param {number} from @param {Float32Array} wide @param {number} step @param {Uint8ClampedArray} tile @param {number} into */
function unpackRow8(packed, from, wide, step, tile, into) {
  for (let block = 0; block < wide.length; block++) {
    const scale = toHalf(wide[block]);
    for (let index = 0; index < BLOCK; index++) tile[into++] = fround(toHalf(fround((packed[from++] - 128) * scale)) / step) + MIDDLE;
  }
}
