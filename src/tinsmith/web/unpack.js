/**
 * Unpacks a package's 4- and 8-bit weights for its INT8 graph, bit for bit as ONNX Runtime unpacks them at load.
 *
 * The arithmetic is that of `tinsmith.model.int8_weights`: products and steps are rounded to halves, quotients to floats.
 *
 * @typedef {object} Part a stored matrix: integers, scales and, in 4 bits, zero points
 * @property {4 | 8} bits
 * @property {number} rows
 * @property {string} file
 * @property {number} packed_at offset in bytes, as in the next two
 * @property {number} scales_at
 * @property {number} [zeros_at]
 *
 * @typedef {object} Product a matrix of the INT8 graph, made of all rows of its parts. Padding in its last tile is zero
 * @property {number} columns
 * @property {number} width columns of a tile: levels are stored in matrices of (columns, width)
 * @property {number} weights_at offset of the levels in the result, in bytes
 * @property {number} scales_at offset of a float for each row
 * @property {number[] | null} factors of the blocks
 * @property {Part[]} parts
 *
 * @typedef {object} Plan
 * @property {number} bytes of the result
 * @property {string} sha256 of the result
 * @property {Record<string, number>} files sizes of the files of weights, in bytes
 * @property {Product[]} products
 */

const BLOCK = 32;

/** The level of zero. */
const MIDDLE = 128;

/** The step as a share of a row's bound: there are 127 levels up to it. */
const STEP_SHARE = Math.fround(1 / 127);

/** Rows that are transposed together, so that neighbours in memory are written together. */
const TILE_ROWS = 64;

/** Approximate weights of a piece: so few that workers finish together and none waits long for bytes. */
const PIECE_WEIGHTS = 2 ** 20;

/** The smallest half that is not subnormal. Below it halves are 2^-24 apart, as doubles are near 1.5 * 2^28. */
const SMALLEST_NORMAL = 2 ** -14;
const SMALLEST_SUBNORMAL = 2 ** -24;
const SUBNORMAL_ROUNDER = 1.5 * 2 ** 28;

const { fround } = Math;
/** The value of every 16 bits as a half. */
export const halfValues = allHalves();

const float = new Float32Array(1);
const floatBits = new Uint32Array(float.buffer);

/** @returns {Float32Array} */
function allHalves() {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let size = (1 + fraction / 1024) * 2 ** (exponent - 15);
    if (exponent === 0) size = fraction * 2 ** -24;
    else if (exponent === 31) size = fraction ? NaN : Infinity;
    values[bits] = bits & 0x8000 ? -size : size;
  }
  return values;
}

/** @param {number} value a float @returns {number} the nearest half, ties to even */
function toHalf(value) {
  if (value > -SMALLEST_NORMAL && value < SMALLEST_NORMAL) return value + SUBNORMAL_ROUNDER - SUBNORMAL_ROUNDER;
  float[0] = value;
  const bits = floatBits[0];
  floatBits[0] = (bits + 0xfff + ((bits >> 13) & 1)) & ~0x1fff;
  return float[0];
}

/**
 * @typedef {object} Piece rows of a part, for one worker
 * @property {Product} product
 * @property {Part} part
 * @property {number} first row of the product at which the part begins
 * @property {number} start row of the part
 * @property {number} end row of the part, exclusive
 * @property {number} needs bytes of the part's file that must have arrived
 *
 * @typedef {object} Work shared by all workers, except for `plan`
 * @property {Plan} plan
 * @property {Map<string, Uint8Array<ArrayBufferLike>>} files the package's files of weights, by the names in `plan`
 * @property {Int32Array<ArrayBufferLike>} received bytes of each file that have arrived, in the order of `files`; then a counter of changes
 * @property {Uint8Array<ArrayBufferLike>} data the result
 * @property {Int32Array<ArrayBufferLike>} next index of each file's first piece that no worker has claimed
 */

/**
 * Content of the INT8 graph's file of weights.
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
export class Unpackers {
  /** Set by `begin`. @type {Work | null} */
  work = null;

  /** @type {(reason: Error) => void} */
  #rejectEnded = () => {};

  /** @type {Promise<never>} */
  #ended = new Promise((_, reject) => {
    this.#rejectEnded = reject;
  });

  /** @type {Promise<unknown>} */
  #done = Promise.resolve();

  /** @param {number} count */
  constructor(count) {
    const address = new URL("./unpack_worker.js", import.meta.url);
    this.workers = Array.from({ length: count }, () => new Worker(address, { type: "module" }));
    this.#ended.catch(() => {});
    this.ready = this.#nextMessages();
    this.ready.catch(() => {}); // `begin` rejects
  }

  /**
   * Start unpacking what has arrived. Workers need time to start, so call this before anything that blocks the thread.
   *
   * @param {Plan} plan
   * @param {Map<string, Uint8Array>} files in shared memory
   * @param {Int32Array} received see `Work`. After a change, notify those who wait for its last number
   */
  async begin(plan, files, received) {
    await this.ready;
    const data = new Uint8Array(new SharedArrayBuffer(plan.bytes));
    const next = new Int32Array(new SharedArrayBuffer(4 * files.size));
    this.work = { plan, files, received, data, next };
    this.#done = this.#nextMessages();
    this.#done.catch(() => {}); // `finish` rejects
    for (const worker of this.workers) worker.postMessage(this.work);
  }

  /**
   * Help the workers to unpack, once all files have arrived.
   *
   * @returns {Promise<Uint8Array>} rejects if a worker failed
   */
  async finish() {
    if (!this.work) throw new Error("There is no work to finish; call begin first.");
    const { data } = this.work;
    unpackPieces(this.work);
    await this.#done;
    return data;
  }

  /** End the workers and free the memory of their work. */
  end() {
    for (const worker of this.workers) worker.terminate();
    this.work = null;
    this.#rejectEnded(new Error("The workers that unpack weights were ended."));
  }

  /** @returns {Promise<unknown>} resolves when every worker has sent its next message */
  #nextMessages() {
    const messages = this.workers.map(
      (worker) =>
        new Promise((resolve, reject) => {
          worker.onmessage = resolve;
          worker.onerror = (event) => {
            event.preventDefault(); // the rejection reports it, so keep it out of the page's console
            reject(new Error("A worker that unpacks weights failed."));
          };
        }),
    );
    return Promise.race([Promise.all(messages), this.#ended]);
  }
}

/**
 * Claim and unpack pieces until none is left. Wait while no next piece has all its bytes.
 *
 * @param {Work} work
 */
export function unpackPieces({ plan, files, received, data, next }) {
  const pieces = piecesOf(plan, files);
  for (;;) {
    const changes = Atomics.load(received, files.size);
    const piece = claimPiece(pieces, received, next);
    if (piece) unpackPiece(piece, files, data);
    else if (pieces.every((ofFile, file) => Atomics.load(next, file) >= ofFile.length)) return;
    else Atomics.wait(received, files.size, changes);
  }
}

/**
 * @param {Piece[][]} pieces of each file
 * @param {Int32Array} received
 * @param {Int32Array} next
 * @returns {Piece | null} null if no piece's bytes have arrived
 */
function claimPiece(pieces, received, next) {
  for (let file = 0; file < pieces.length; file++) {
    for (;;) {
      const index = Atomics.load(next, file);
      const hasArrived = index < pieces[file].length && pieces[file][index].needs <= Atomics.load(received, file);
      if (!hasArrived) break;
      if (Atomics.compareExchange(next, file, index, index + 1) === index) return pieces[file][index];
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
  const pieces = new Map([...files.keys()].map((name) => [name, []]));
  for (const product of plan.products) {
    const { columns } = product;
    const maxRows = TILE_ROWS * Math.max(1, Math.floor(PIECE_WEIGHTS / columns / TILE_ROWS));
    let first = 0;
    for (const part of product.parts) {
      for (let start = 0; start < part.rows; start += maxRows) {
        const end = Math.min(start + maxRows, part.rows);
        const needs = bytesNeeded(part, columns, end);
        if (!(needs <= (files.get(part.file)?.length ?? 0))) {
          throw new Error(`${part.file} is shorter than its plan says.`);
        }
        pieces.get(part.file)?.push({ product, part, first, start, end, needs });
      }
      first += part.rows;
    }
  }
  return [...pieces.values()].map((ofFile) => ofFile.sort((a, b) => a.needs - b.needs));
}

/** @param {Part} part @param {number} columns @param {number} rows @returns {number} end of the first `rows` in its file */
function bytesNeeded(part, columns, rows) {
  const blocks = columns / BLOCK;
  const zerosEnd = part.zeros_at === undefined ? 0 : part.zeros_at + rows * Math.ceil(blocks / 2);
  return Math.max(part.packed_at + (rows * columns * part.bits) / 8, part.scales_at + 2 * rows * blocks, zerosEnd);
}

/** @param {Piece} piece @param {Map<string, Uint8Array>} files @param {Uint8Array} data */
function unpackPiece({ product, part, first, start: pieceStart, end }, files, data) {
  const { columns, width } = product;
  const rows = product.parts.reduce((sum, one) => sum + one.rows, 0);
  const levels = data.subarray(product.weights_at, product.weights_at + columns * width * Math.ceil(rows / width));
  const scales = new Float32Array(data.buffer, product.scales_at, rows);
  const file = /** @type {Uint8Array} */ (files.get(part.file));
  const reader = new RowReader(part, columns, product.factors, file);
  const tile = new Uint8ClampedArray(TILE_ROWS * columns);
  for (let start = pieceStart, count; start < end; start += count) {
    const place = (first + start) % width;
    count = Math.min(TILE_ROWS, end - start, width - place);
    for (let row = 0; row < count; row++) {
      scales[first + start + row] = reader.read(start + row, tile, row * columns);
    }
    transpose(tile, count, columns, levels, width, (first + start - place) * columns + place);
  }
}

/** Unpacks the rows of one part. */
class RowReader {
  /**
   * @param {Part} part
   * @param {number} columns
   * @param {number[] | null} factors
   * @param {Uint8Array} file
   */
  constructor(part, columns, factors, file) {
    const blocks = columns / BLOCK;
    this.bits = part.bits;
    this.rowBytes = (columns * part.bits) / 8;
    this.zeroBytes = Math.ceil(blocks / 2);
    this.packed = file.subarray(part.packed_at, part.packed_at + part.rows * this.rowBytes);
    this.halves = new Uint16Array(file.buffer, file.byteOffset + part.scales_at, part.rows * blocks);
    const { zeros_at } = part;
    this.zeros = zeros_at === undefined ? null : file.subarray(zeros_at, zeros_at + part.rows * this.zeroBytes);
    this.factors = factors && new Float32Array(factors);
    this.highest = 2 ** part.bits - 1;
    /** Scale of each block of the current row. */
    this.scales = new Float32Array(blocks);
    /** Zero point of each block of the current row. */
    this.points = new Uint8Array(blocks).fill(2 ** (part.bits - 1));
  }

  /**
   * Write a row's levels to `tile` from `target` on.
   *
   * @param {number} row
   * @param {Uint8ClampedArray} tile
   * @param {number} target
   * @returns {number} the step between levels
   */
  read(row, tile, target) {
    const { scales, points } = this;
    const step = toHalf(Math.max(fround(this.#readScales(row) * STEP_SHARE), SMALLEST_SUBNORMAL));
    if (this.bits === 4) unpackRow4(this.packed, row * this.rowBytes, scales, points, step, tile, target);
    else unpackRow8(this.packed, row * this.rowBytes, scales, step, tile, target);
    return step;
  }

  /** @param {number} row @returns {number} a bound of the row's weights */
  #readScales(row) {
    const { scales, points, zeros, highest } = this;
    const blocks = scales.length;
    let bound = 0;
    for (let block = 0; block < blocks; block++) {
      const scale = halfValues[this.halves[row * blocks + block]];
      scales[block] = this.factors ? scale * this.factors[block] : scale;
      if (zeros) points[block] = (zeros[row * this.zeroBytes + (block >> 1)] >> (4 * (block & 1))) & 15;
      const farthest = Math.max(points[block], highest - points[block]);
      bound = Math.max(bound, fround(Math.abs(scales[block]) * farthest));
    }
    return bound;
  }
}

/**
 * Write the first `count` rows of `tile` as columns, `width` apart from each other, to `levels` from `target` on.
 *
 * @param {Uint8ClampedArray} tile
 * @param {number} count
 * @param {number} columns
 * @param {Uint8Array} levels
 * @param {number} width
 * @param {number} target
 */
export function transpose(tile, count, columns, levels, width, target) {
  if ((count | width | target) & 3) {
    for (let column = 0; column < columns; column++, target += width) {
      for (let row = 0; row < count; row++) levels[target + row] = tile[row * columns + column];
    }
    return;
  }
  const fours = new Uint32Array(levels.buffer, levels.byteOffset, levels.length / 4);
  for (let column = 0; column < columns; column++, target += width) {
    let four = target / 4;
    for (let from = column, end = count * columns; from < end; from += 4 * columns) {
      fours[four++] =
        tile[from] | (tile[from + columns] << 8) | (tile[from + 2 * columns] << 16) | (tile[from + 3 * columns] << 24);
    }
  }
}

/** Levels of the integers -15 to 15 times the scale of the current block, rounded to even and clamped as ONNX does. */
const table = new Uint8ClampedArray(31).fill(MIDDLE);
const TABLE_ZERO = 15;

/** Set the levels of the integers `size` and `-size`. @param {number} size @param {number} quotient in steps */
function setLevels(size, quotient) {
  table[TABLE_ZERO + size] = MIDDLE + quotient;
  table[TABLE_ZERO - size] = MIDDLE - quotient;
}

/**
 * @param {Uint8Array} packed
 * @param {number} from
 * @param {Float32Array} scales
 * @param {Uint8Array} points
 * @param {number} step
 * @param {Uint8ClampedArray} tile
 * @param {number} target
 */
function unpackRow4(packed, from, scales, points, step, tile, target) {
  for (let block = 0; block < scales.length; block++) {
    const scale = toHalf(scales[block]);
    // Doubling a half or a quotient is exact, so four roundings suffice for eight sizes.
    const one = fround(scale / step);
    const three = fround(toHalf(fround(3 * scale)) / step);
    setLevels(1, one);
    setLevels(2, 2 * one);
    setLevels(3, three);
    setLevels(4, 4 * one);
    setLevels(5, fround(toHalf(fround(5 * scale)) / step));
    setLevels(6, 2 * three);
    setLevels(7, fround(toHalf(fround(7 * scale)) / step));
    setLevels(8, 8 * one);
    const farthest = Math.max(points[block], 15 - points[block]);
    for (let size = 9; size <= farthest; size++) setLevels(size, fround(toHalf(fround(size * scale)) / step));
    const lowest = TABLE_ZERO - points[block];
    for (let index = 0; index < BLOCK / 2; index++) {
      const two = packed[from++];
      tile[target++] = table[lowest + (two & 15)];
      tile[target++] = table[lowest + (two >> 4)];
    }
  }
}

/**
 * @param {Uint8Array} packed
 * @param {number} from
 * @param {Float32Array} scales
 * @param {number} step
 * @param {Uint8ClampedArray} tile
 * @param {number} target
 */
function unpackRow8(packed, from, scales, step, tile, target) {
  for (let block = 0; block < scales.length; block++) {
    const scale = toHalf(scales[block]);
    for (let index = 0; index < BLOCK; index++) {
      tile[target++] = fround(toHalf(fround((packed[from++] - MIDDLE) * scale)) / step) + MIDDLE;
    }
  }
}
