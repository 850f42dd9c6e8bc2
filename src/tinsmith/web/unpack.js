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
 * @typedef {{bytes: number, sha256: string, files: Record<string, number>, products: Product[]}} Plan `files` of weights, with their bytes
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
 * Rows of a part, for one worker: `needs` is how much of their file must be there.
 *
 * @typedef {{product: Product, part: Part, first: number, start: number, end: number, needs: number}} Piece `first` of the part's
 *   rows among the product's, `start` and `end` among the part's
 * @typedef {{plan: Plan, files: Map<string, Uint8Array>, arrived: Int32Array, data: Uint8Array, next: Int32Array}} Work
 *   all but `plan` shared. `arrived`: of each file, in the order of `files`, the bytes that are there, and at the end how often
 *   that has changed. `next`: of each file the first piece that nobody has taken
 */

/** About as many, so that workers end together and none waits long for bytes. */
const PIECE_WEIGHTS = 2 ** 20;

/**
 * What the INT8 graph's weights file holds.
 *
 * @param {Plan} plan
 * @param {Map<string, Uint8Array>} files the package's files of weights, by the names in `plan`
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function unpack(plan, files) {
  const data = new Uint8Array(plan.bytes);
  for (const piece of piecesOf(plan, files).flat()) unpackPiece(piece, files, data);
  return data;
}

/** Workers that unpack beside the caller, in shared memory, while the files arrive there. */
export class Helpers {
  /** What there is to do, once it has begun. @type {Work & {data: Uint8Array<SharedArrayBuffer>} | null} */
  work = null;

  /** @type {(why: Error) => void} */
  #stop = () => {};

  /** @type {Promise<never>} */
  #ended = new Promise((_, reject) => {
    this.#stop = reject;
  });

  /** @param {number} count */
  constructor(count) {
    this.workers = Array.from({ length: count }, () => new Worker(new URL("./unpack_worker.js", import.meta.url), { type: "module" }));
    this.#ended.catch(() => {});
    this.ready = this.#all();
    this.ready.catch(() => {}); // told to whoever asks for work
  }

  /**
   * Begin with what has arrived. A worker takes a while to start, so this comes before anything that keeps the caller busy.
   *
   * @param {Plan} plan
   * @param {Map<string, Uint8Array<SharedArrayBuffer>>} files
   * @param {Int32Array<SharedArrayBuffer>} arrived as in `Work`; whoever changes it notifies those who wait for its last number
   */
  async begin(plan, files, arrived) {
    await this.ready;
    this.work = {
      plan, files, arrived, data: new Uint8Array(new SharedArrayBuffer(plan.bytes)), next: new Int32Array(new SharedArrayBuffer(4 * files.size)),
    };
    this.done = this.#all();
    this.done.catch(() => {}); // told to whoever asks for the result
    for (const worker of this.workers) worker.postMessage(this.work);
  }

  /**
   * Take part in what was begun, once all files are there.
   *
   * @returns {Promise<Uint8Array<SharedArrayBuffer>>} rejects where a worker has failed
   */
  async finish() {
    if (!this.work) throw new Error("Nothing was begun; call begin first.");
    const { data } = this.work;
    takePieces(this.work);
    await this.done;
    return data;
  }

  end() {
    for (const worker of this.workers) worker.terminate();
    this.work = null; // and its memory
    this.#stop(new Error("The workers that unpack weights were ended."));
  }

  /** @returns {Promise<unknown>} when every worker has said something */
  #all() {
    const heard = this.workers.map((worker) => new Promise((resolve, reject) => {
      worker.onmessage = resolve;
      worker.onerror = (event) => {
        event.preventDefault(); // the caller is told, and no page above
        reject(new Error("A worker that unpacks weights failed."));
      };
    }));
    return Promise.race([Promise.all(heard), this.#ended]);
  }
}

/**
 * Unpack pieces that nobody has taken until there are none, waiting where no file has the bytes of its next one.
 *
 * @param {Work} work
 */
export function takePieces({ plan, files, arrived, data, next }) {
  const pieces = piecesOf(plan, files);
  for (;;) {
    const changes = Atomics.load(arrived, files.size);
    const piece = takePiece(pieces, arrived, next);
    if (piece) unpackPiece(piece, files, data);
    else if (pieces.every((ofFile, at) => Atomics.load(next, at) >= ofFile.length)) return;
    else Atomics.wait(arrived, files.size, changes);
  }
}

/** @param {Piece[][]} pieces @param {Int32Array} arrived @param {Int32Array} next @returns {Piece | null} one that is there */
function takePiece(pieces, arrived, next) {
  for (let at = 0; at < pieces.length; at++) {
    for (let index; (index = Atomics.load(next, at)) < pieces[at].length && pieces[at][index].needs <= Atomics.load(arrived, at); ) {
      if (Atomics.compareExchange(next, at, index, index + 1) === index) return pieces[at][index];
    }
  }
  return null;
}

/**
 * @param {Plan} plan
 * @param {Map<string, Uint8Array>} files
 * @returns {Piece[][]} of each file, in the order in which their bytes arrive
 */
function piecesOf(plan, files) {
  /** @type {Map<string, Piece[]>} */
  const found = new Map([...files.keys()].map((name) => [name, []]));
  for (const product of plan.products) {
    const { columns } = product;
    const blocks = columns / BLOCK;
    const most = TILE * Math.max(1, Math.floor(PIECE_WEIGHTS / columns / TILE));
    let first = 0;
    for (const part of product.parts) {
      for (let start = 0; start < part.rows; start += most) {
        const end = Math.min(start + most, part.rows);
        const zerosEnd = part.zeros_at === undefined ? 0 : part.zeros_at + end * Math.ceil(blocks / 2);
        const needs = Math.max(part.packed_at + (end * columns * part.bits) / 8, part.scales_at + 2 * end * blocks, zerosEnd);
        if (!(needs <= (files.get(part.file)?.length ?? 0))) throw new Error(`${part.file} is shorter than its plan says.`);
        found.get(part.file)?.push({ product, part, first, start, end, needs });
      }
      first += part.rows;
    }
  }
  return [...found.values()].map((pieces) => pieces.sort((a, b) => a.needs - b.needs));
}

/** @param {Piece} piece @param {Map<string, Uint8Array>} files @param {Uint8Array} data */
function unpackPiece({ product, part, first, start: from, end }, files, data) {
  const { columns, width, factors } = product;
  const file = /** @type {Uint8Array} */ (files.get(part.file));
  const rows = product.parts.reduce((sum, one) => sum + one.rows, 0);
  const levels = data.subarray(product.weights_at, product.weights_at + columns * width * Math.ceil(rows / width));
  const scales = new Float32Array(data.buffer, product.scales_at, rows);
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
  for (let start = from, count; start < end; start += count) {
    const place = (first + start) % width;
    count = Math.min(TILE, end - start, width - place);
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
      const at = (start + row) * rowBytes;
      const into = row * columns;
      if (part.bits === 4) unpackRow4(packed, at, wide, points, step, tile, into);
      else unpackRow8(packed, at, wide, step, tile, into);
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
