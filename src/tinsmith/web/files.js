/** The bytes of a package's files: buffers for those in use, parts for the browser's cache, and digests. */

import { hex } from "./versions.js";

const PART_BYTES = 8_000_000;

/** The bytes of one file in memory, for callers that use them while they arrive. */
export class FileBuffer {
  /** Bytes that have arrived. */
  received = 0;

  /** Whether bytes were replaced, which invalidates everything computed from them. */
  isOverwritten = false;

  /**
   * @param {Uint8Array} bytes as long as the file
   * @param {(received: number) => void} [onReceived]
   */
  constructor(bytes, onReceived = () => {}) {
    this.bytes = bytes;
    this.onReceived = onReceived;
  }

  /** @param {Uint8Array} chunk the next bytes */
  append(chunk) {
    const target = this.bytes.subarray(this.received, this.received + chunk.length);
    target.set(chunk.subarray(0, target.length));
    this.received += chunk.length;
    this.onReceived(this.received);
  }

  reset() {
    this.isOverwritten ||= this.received > 0;
    this.received = 0;
    this.onReceived(0);
  }
}

/** Collects chunks of a download into parts that are worth caching. */
export class PartWriter {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  #chunks = [];
  #size = 0;

  /** @param {(part: Blob) => Promise<void>} write */
  constructor(write) {
    this.write = write;
  }

  /** @param {Uint8Array<ArrayBuffer>} chunk @returns {Promise<boolean>} whether a part was written */
  async append(chunk) {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < PART_BYTES) return false;
    await this.flush();
    return true;
  }

  async flush() {
    if (!this.#chunks.length) return;
    const part = new Blob(this.#chunks);
    this.#chunks = [];
    this.#size = 0;
    await this.write(part);
  }
}

/** @param {Blob[]} parts @returns {number} bytes */
export function sizeOf(parts) {
  return parts.reduce((sum, part) => sum + part.size, 0);
}

/**
 * @param {Blob} file
 * @param {FileBuffer} [buffer] with the file's bytes, if a caller uses them
 * @returns {Promise<string | null>} null outside secure contexts, where browsers cannot compute digests
 */
export async function sha256(file, buffer) {
  if (!globalThis.crypto?.subtle) return null;
  return hex(await crypto.subtle.digest("SHA-256", await unsharedBytes(file, buffer)));
}

/**
 * All bytes of a file in unshared memory, which digests require.
 *
 * @param {Blob} file
 * @param {FileBuffer} [buffer]
 * @returns {Promise<BufferSource>}
 */
async function unsharedBytes(file, buffer) {
  if (buffer?.bytes.length !== file.size) return file.arrayBuffer(); // no buffer, or a file of another size
  const isShared = !(buffer.bytes.buffer instanceof ArrayBuffer);
  return /** @type {Uint8Array<ArrayBuffer>} */ (isShared ? buffer.bytes.slice() : buffer.bytes);
}

/** @param {string} text @param {URL} address @returns {Map<string, string>} file name -> SHA-256 */
export function parseSums(text, address) {
  const lines = text.split("\n").filter(Boolean);
  return new Map(
    lines.map((line) => {
      const match = /^([0-9a-f]{64}) {2}(.+)$/.exec(line);
      if (!match) {
        throw new Error(`${address.href} is not a list of checksums; it begins with: ${text.slice(0, 60)}`);
      }
      return [match[2], match[1]];
    }),
  );
}
