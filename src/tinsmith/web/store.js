/**
 * A package's files: downloaded in parts, checked against SHA256SUMS, and cached in the browser for the next visit.
 *
 * A broken or stalled download resumes where it stopped, at once or on a later visit. If the browser has no room, files
 * are used from memory. Without a network, the version cached by an earlier visit is used.
 *
 * @import { FileBuffer } from "./files.js"
 */

import { parseSums, PartWriter, sha256, sizeOf } from "./files.js";
import { Version } from "./versions.js";

const MAX_ATTEMPTS = 5;
const FIRST_DELAY_MS = 500;
const STALL_TIMEOUT_MS = 30_000;

/** HTTP statuses worth retrying. */
const RETRYABLE_STATUSES = [408, 425, 429, 500, 502, 503, 504];

/**
 * @typedef {(progress: {file: string, loaded: number, total: number}) => void} OnProgress bytes of one file
 */

/** The files of one version of one package. */
export class Store {
  /** Whether the browser had no room, so that the next visit downloads again. */
  isFull = false;

  /** Milliseconds without a byte after which a download is requested again. */
  stallTimeoutMs = STALL_TIMEOUT_MS;

  /** Whether this is the host's current version, rather than an older cached one. */
  #isCurrent = false;

  /** Files in use, by name. @type {Map<string, Promise<Blob>>} */
  #files = new Map();

  /** Buffers that receive a file's bytes as they arrive, by name. @type {Map<string, FileBuffer>} */
  #buffers = new Map();

  /** The last digest. They are computed one at a time, since each may need a copy of its file. @type {Promise<unknown>} */
  #digesting = Promise.resolve();

  /** Files that another page of this origin is caching right now. @type {Set<string>} */
  #cachedElsewhere = new Set();

  /** Deletion of the old version to make room, once it has begun. @type {Promise<void> | undefined} */
  #makingRoom;

  /**
   * @param {URL} folder ends in a slash
   * @param {Map<string, string>} sums file name -> SHA-256 in hexadecimal
   * @param {Version | null} version null where the page may cache nothing
   * @param {OnProgress} onProgress
   */
  constructor(folder, sums, version, onProgress) {
    this.folder = folder;
    this.sums = sums;
    this.version = version;
    this.onProgress = onProgress;
  }

  /**
   * Open the package at `folder`: the host's current version, or a cached one if the host cannot be reached.
   *
   * @param {URL} folder
   * @param {OnProgress} [onProgress]
   * @returns {Promise<Store>}
   * @throws {Error} if the host cannot be reached and nothing is cached, or if there is no package at `folder`
   */
  static async open(folder, onProgress = () => {}) {
    const address = new URL("SHA256SUMS", folder);
    const response = await fetchText(address);
    const isBusy = !!response && RETRYABLE_STATUSES.includes(response.status);
    if (!response || isBusy) {
      const cached = await Version.cached(folder);
      if (cached) return new Store(folder, parseSums(cached.sums, address), cached.version, onProgress);
    }
    if (!response) {
      throw new Error(
        `${address.href} cannot be reached. Is the address right, and does the host allow this page to read it (CORS)?`,
      );
    }
    const { status, text } = response;
    if (isBusy) throw new Error(`${address.href} answered ${status}. The host may be busy: load the page again later.`);
    if (status !== 200) {
      throw new Error(
        `${address.href} answered ${status}. The address must be the folder that holds it and config.json.`,
      );
    }
    const sums = parseSums(text, address);
    const store = new Store(folder, sums, await Version.open(folder, text), onProgress);
    store.#isCurrent = true;
    await store.#put(address.href, new Blob([text]));
    return store;
  }

  /** Whether the next visit needs no download. */
  get isKept() {
    return !!this.version && !this.isFull;
  }

  /**
   * @param {string} name
   * @returns {Promise<unknown>} the JSON document in a file
   */
  async json(name) {
    const text = await (await this.file(name)).text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${this.#url(name)} is not JSON; it begins with: ${text.slice(0, 60)}`);
    }
  }

  /**
   * For `env.customCache` of Transformers.js, which then downloads nothing itself.
   *
   * @param {string} request
   * @returns {Promise<Response | undefined>}
   */
  async match(request) {
    if (!request.startsWith(this.folder.href)) return undefined;
    const name = request.slice(this.folder.href.length);
    if (!this.sums.has(name)) return undefined;
    const file = await this.file(name);
    return new Response(file, { headers: { "content-length": String(file.size) } });
  }

  /** For `env.customCache` too: everything is cached already. */
  async put() {}

  /**
   * A whole file, from the browser's cache or the network, with the SHA-256 that is listed.
   *
   * @param {string} name
   * @returns {Promise<Blob>}
   */
  file(name) {
    const file = this.#files.get(name) ?? this.#lockedFile(name);
    this.#files.set(name, file);
    file.catch(() => this.#files.delete(name)); // so that the next call tries again
    return file;
  }

  /**
   * Write a file's bytes into `buffer` as they arrive. When this resolves, they are verified like those of `file`.
   *
   * @param {string} name
   * @param {FileBuffer} buffer
   */
  async fill(name, buffer) {
    this.#buffers.set(name, buffer);
    try {
      await this.file(name);
    } finally {
      this.#buffers.delete(name);
    }
    if (buffer.received !== buffer.bytes.length) {
      throw new Error(
        `${this.#url(name)} has ${buffer.received} bytes, but the package plans for ${buffer.bytes.length}. ` +
          "Was the file replaced?",
      );
    }
  }

  /**
   * Free the files, after the model was loaded. If all of the host's current version are cached, mark it as complete and
   * delete the other versions.
   */
  async finish() {
    this.#files.clear();
    if (!this.version || !this.#isCurrent || this.#cachedElsewhere.size) return;
    await this.#put(this.version.completeMark, new Blob());
    if (this.isKept) await this.version.removeOthers();
  }

  /** @param {string} name @returns {Promise<Blob>} */
  #lockedFile(name) {
    if (!this.version || !navigator.locks) return this.#verifiedFile(name);
    // Two pages that cache one file at the same time would mix its parts, so the second one does not cache it.
    return navigator.locks.request(`tinsmith ${this.#url(name)}`, { ifAvailable: true }, (lock) => {
      if (!lock) this.#cachedElsewhere.add(name);
      return this.#verifiedFile(name);
    });
  }

  /** @param {string} name @returns {Promise<Blob>} */
  async #verifiedFile(name) {
    const buffer = this.#buffers.get(name);
    const parts = await this.#cachedParts(name, buffer);
    if (await this.version?.cache.match(this.#url(name, "whole"))) {
      const whole = new Blob(parts);
      if ((await this.#sha256(whole, buffer)) === this.sums.get(name)) {
        this.onProgress({ file: name, loaded: whole.size, total: whole.size });
        return whole;
      }
      await this.#drop(name, parts);
    }
    for (const isLastTry of [false, true]) {
      const whole = await this.#download(name, parts);
      const digest = await this.#sha256(whole, buffer);
      const expected = this.sums.get(name);
      if (digest === null || digest === expected) {
        await this.#cacheFile(name, "whole", new Blob());
        return whole;
      }
      await this.#drop(name, parts);
      if (isLastTry) {
        throw new Error(
          `${this.#url(name)} is damaged or belongs to another version: its SHA-256 is ${digest}, SHA256SUMS says ${expected}.`,
        );
      }
    }
    throw new Error("unreachable");
  }

  /** @param {Blob} file @param {FileBuffer} [buffer] @returns {Promise<string | null>} see `sha256` */
  #sha256(file, buffer) {
    const digest = this.#digesting.then(() => sha256(file, buffer));
    this.#digesting = digest.catch(() => {});
    return digest;
  }

  /**
   * Download what is missing after `parts`, and append it to them.
   *
   * @param {string} name
   * @param {Blob[]} parts
   * @returns {Promise<Blob>}
   */
  async #download(name, parts) {
    for (let failures = 0; ;) {
      const before = sizeOf(parts);
      try {
        await this.#resume(name, parts);
        return new Blob(parts);
      } catch (error) {
        if (error instanceof Refused) throw error;
        failures = sizeOf(parts) > before ? 1 : failures + 1;
        if (failures >= MAX_ATTEMPTS) {
          const reason = error instanceof Error ? error.message : error;
          throw new Error(
            `${this.#url(name)}: the connection broke ${MAX_ATTEMPTS} times (${reason}). ` +
              "Load the page again to resume the download where it stopped.",
            { cause: error },
          );
        }
        await new Promise((resolve) => setTimeout(resolve, FIRST_DELAY_MS * 2 ** (failures - 1)));
      }
    }
  }

  /** @param {string} name @param {Blob[]} parts */
  async #resume(name, parts) {
    const loaded = sizeOf(parts);
    /** @type {Record<string, string>} */
    const headers = loaded ? { Range: `bytes=${loaded}-` } : {};
    const stalled = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const restartTimer = () => {
      clearTimeout(timer);
      const seconds = this.stallTimeoutMs / 1000;
      timer = setTimeout(() => stalled.abort(new Error(`no data for ${seconds} s`)), this.stallTimeoutMs);
    };
    try {
      restartTimer();
      const response = await fetch(this.#url(name), { headers, cache: "no-store", signal: stalled.signal });
      await this.#readBody(name, parts, response, restartTimer);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {string} name
   * @param {Blob[]} parts
   * @param {Response} response
   * @param {() => void} onChunk
   */
  async #readBody(name, parts, response, onChunk) {
    if (response.status === 416 && sizeOf(parts)) return; // nothing is missing
    if (RETRYABLE_STATUSES.includes(response.status)) throw new Error(`the host answered ${response.status}`);
    if (!response.ok) {
      throw new Refused(
        `${this.#url(name)} answered ${response.status}. The address must be the folder that holds config.json.`,
      );
    }
    const isWholeFile = response.status !== 206; // the host ignored the range
    if (sizeOf(parts) && isWholeFile) await this.#drop(name, parts);
    let loaded = sizeOf(parts);
    const total = loaded + Number(response.headers.get("content-length") ?? 0);
    const buffer = this.#buffers.get(name);
    const part = new PartWriter((blob) => {
      parts.push(blob);
      return this.#cacheFile(name, `part${parts.length - 1}`, blob);
    });
    const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
    try {
      for (let read; !(read = await reader.read()).done;) {
        onChunk();
        buffer?.append(read.value);
        loaded += read.value.length;
        this.onProgress({ file: name, loaded, total: Math.max(loaded, total) });
        if (await part.append(read.value)) onChunk(); // writing to a slow disk is not a stall
      }
    } finally {
      await part.flush();
    }
  }

  /** @param {string} name @param {FileBuffer} [buffer] @returns {Promise<Blob[]>} */
  async #cachedParts(name, buffer) {
    const parts = [];
    for (let response; (response = await this.version?.cache.match(this.#url(name, `part${parts.length}`)));) {
      const part = await response.blob();
      buffer?.append(new Uint8Array(await part.arrayBuffer()));
      parts.push(part);
    }
    return parts;
  }

  /** @param {string} name @param {string} what `whole` or a part @param {Blob} content */
  async #cacheFile(name, what, content) {
    if (!this.#cachedElsewhere.has(name)) await this.#put(this.#url(name, what), content);
  }

  /**
   * Put `content` into the browser's cache. If there is no room for two versions of the package, delete the old one.
   *
   * @param {string} address
   * @param {Blob} content
   */
  async #put(address, content) {
    const { version } = this;
    if (!version || this.isFull) return;
    const put = () => version.cache.put(address, new Response(content));
    try {
      await put().catch(async (error) => {
        if (!this.#isCurrent || !isQuotaExceeded(error)) throw error;
        // Several files may fail at the same time; the old version is deleted once, and each is tried again.
        this.#makingRoom ??= removeOldVersion(version, error);
        await this.#makingRoom;
        await put();
      });
    } catch {
      this.isFull = true; // the files are used from memory
    }
  }

  /** @param {string} name @param {Blob[]} parts */
  async #drop(name, parts) {
    if (!this.#cachedElsewhere.has(name)) {
      const cached = ["whole", ...parts.map((_, index) => `part${index}`)];
      for (const what of cached) await this.version?.cache.delete(this.#url(name, what));
    }
    parts.length = 0;
    this.#buffers.get(name)?.reset();
  }

  /** @param {string} name @param {string} [what] @returns {string} address of a file, or of its entry `what` in the cache */
  #url(name, what) {
    const url = new URL(name, this.folder);
    if (what) url.search = what;
    return url.href;
  }
}

/** The host refused a request, and a retry would not help. */
class Refused extends Error {}

/** @param {URL} address @returns {Promise<{status: number, text: string} | null>} null if it cannot be reached */
async function fetchText(address) {
  try {
    const response = await fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(STALL_TIMEOUT_MS) });
    return { status: response.status, text: await response.text() };
  } catch {
    return null;
  }
}

/** @param {Version} version @param {DOMException} error the browser's message */
async function removeOldVersion(version, error) {
  if (!(await version.removeOthers())) return;
  console.info(
    `The browser has no room for two versions of the model (${error.name}). ` +
      "The old one was deleted before the new one was complete.",
  );
}

/** @param {unknown} error @returns {error is DOMException} */
function isQuotaExceeded(error) {
  return error instanceof DOMException && error.name === "QuotaExceededError";
}

/** @param {string | URL} url @returns {URL} ending in a slash, without query and fragment */
export function folderUrl(url) {
  const folder = new URL(url, globalThis.location?.href);
  if (!folder.pathname.endsWith("/")) folder.pathname += "/";
  folder.search = folder.hash = "";
  return folder;
}
