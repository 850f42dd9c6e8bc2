/**
 * Buffers on the GPU. Weights are copied from the package's files, part by part, so that no file is ever in memory as a whole.
 *
 * @import { Matrix, StoredVector, Vector } from "./plan.js"
 *
 * @typedef {(file: string, start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>} ReadFile bytes of a file
 *
 * @typedef {object} Placed a matrix and where its parts begin in its buffer, in words of 4 bytes
 * @property {Matrix} matrix
 * @property {number} packedAt
 * @property {number} scalesAt
 * @property {number} zerosAt
 */

import { partsOf } from "./plan.js";

/** Parts are aligned to what one load of a shader reads. */
const ALIGNMENT = 16;

/**
 * Where matrices lie in a buffer of their own. It depends on their sizes alone, so that kernels can have it built in.
 *
 * @param {Matrix[]} matrices
 * @returns {{placed: Placed[], bytes: number}}
 */
export function placeMatrices(matrices) {
  let bytes = 0;
  const reserve = (/** @type {number} */ size) => {
    const start = bytes;
    bytes += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
    return start / 4;
  };
  const placed = matrices.map((matrix) => {
    const [packedAt, scalesAt, zerosAt = 0] = partsOf(matrix).map(({ size }) => reserve(size));
    return { matrix, packedAt, scalesAt, zerosAt };
  });
  return { placed, bytes };
}

/** Creates and counts the buffers of one decoder. */
export class Buffers {
  /** Bytes of all buffers. */
  bytes = 0;

  /** @type {Set<GPUBuffer>} */
  #all = new Set();

  /** @param {GPUDevice} device @param {ReadFile} readFile */
  constructor(device, readFile) {
    this.device = device;
    this.readFile = readFile;
  }

  /**
   * An empty buffer for kernels.
   *
   * @param {string} label
   * @param {number} bytes
   * @returns {GPUBuffer}
   * @throws {Error} if a kernel could not read it as a whole
   */
  empty(label, bytes) {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.device.limits;
    const size = Math.max(ALIGNMENT, Math.ceil(bytes / ALIGNMENT) * ALIGNMENT);
    if (size > Math.min(maxStorageBufferBindingSize, maxBufferSize)) {
      throw new Error(`the model's largest tensor exceeds this GPU's limit`);
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.device.createBuffer({ label, size, usage });
    this.bytes += size;
    this.#all.add(buffer);
    return buffer;
  }

  /** @param {string} label @param {Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>} values @returns {GPUBuffer} */
  of(label, values) {
    const buffer = this.empty(label, values.byteLength);
    this.device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }

  /**
   * A buffer with matrices.
   *
   * @param {string} label
   * @param {Matrix[]} matrices
   * @param {StoredVector} [vector] to put behind them
   * @returns {Promise<GPUBuffer>}
   */
  async matrices(label, matrices, vector) {
    const { placed, bytes } = placeMatrices(matrices);
    const buffer = this.empty(label, bytes + 4 * (vector?.length ?? 0));
    if (vector) await this.#copy(buffer, bytes, vector.file, vector.at, 4 * vector.length);
    for (const { matrix, packedAt, scalesAt, zerosAt } of placed) {
      const targets = [packedAt, scalesAt, zerosAt];
      for (const [index, { at, size }] of partsOf(matrix).entries()) {
        await this.#copy(buffer, 4 * targets[index], matrix.file, at, size);
      }
    }
    return buffer;
  }

  /**
   * A buffer with vectors behind each other.
   *
   * @param {string} label
   * @param {Vector[]} vectors
   * @returns {Promise<GPUBuffer>}
   */
  async vectors(label, vectors) {
    const buffer = this.empty(label, 4 * vectors.reduce((sum, { length }) => sum + length, 0));
    let start = 0;
    for (const vector of vectors) {
      if ("values" in vector) this.device.queue.writeBuffer(buffer, start, Float32Array.from(vector.values));
      else await this.#copy(buffer, start, vector.file, vector.at, 4 * vector.length);
      start += 4 * vector.length;
    }
    return buffer;
  }

  /** Replace a buffer with a larger one that begins with its content. @param {GPUBuffer} old @param {number} bytes */
  grown(old, bytes) {
    const buffer = this.empty(old.label, bytes);
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(old, 0, buffer, 0, old.size);
    this.device.queue.submit([encoder.finish()]);
    this.destroy(old);
    return buffer;
  }

  /** @param {GPUBuffer} buffer */
  destroy(buffer) {
    this.#all.delete(buffer);
    this.bytes -= buffer.size;
    buffer.destroy();
  }

  destroyAll() {
    for (const buffer of this.#all) this.destroy(buffer);
  }

  /**
   * @param {GPUBuffer} buffer
   * @param {number} target
   * @param {string} file
   * @param {number} start
   * @param {number} size
   */
  async #copy(buffer, target, file, start, size) {
    for (let done = 0; done < size; done += CHUNK_BYTES) {
      const bytes = await this.readFile(file, start + done, start + Math.min(size, done + CHUNK_BYTES));
      const padded = bytes.length % 4 ? new Uint8Array(Math.ceil(bytes.length / 4) * 4) : bytes;
      if (padded !== bytes) padded.set(bytes);
      this.device.queue.writeBuffer(buffer, target + done, padded);
    }
  }
}

const CHUNK_BYTES = 8_000_000;
