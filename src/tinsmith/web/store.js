/**
 * A package's files: downloaded in parts, checked against SHA256SUMS, kept in the browser for the next visit.
 *
 * A download that breaks off or stands still goes on where it stopped, at once or on a later visit. Without room for them, the
 * files are used from memory. Without a network, what an earlier visit has kept is used.
 */

const PART_BYTES = 8_000_000;
const ATTEMPTS = 5;
const FIRST_DELAY_MS = 500;
const STALLED_MS = 30_000;
/** Answers of a host that may be others in a moment. */
const PASSING = [408, 425, 429, 500, 502, 503, 504];

/**
 * @typedef {(progress: {file: string, loaded: number, total: number}) => void} OnProgress bytes of one file
 */

/** Where the bytes of a file go while they come, for whoever does not want to wait for the last one. */
export class Memory {
  /** Bytes that are there. */
  count = 0;

  /** Whether bytes were put in place of earlier ones, so that what was made of those is void. */
  isOverwritten = false;

  /**
   * @param {Uint8Array} bytes as many as the file has
   * @param {(count: number) => void} [onArrived]
   */
  constructor(bytes, onArrived = () => {}) {
    this.bytes = bytes;
    this.onArrived = onArrived;
  }

  /** @param {Uint8Array} piece the next one */
  add(piece) {
    const place = this.bytes.subarray(this.count, this.count + piece.length);
    place.set(piece.subarray(0, place.length));
    this.count += piece.length;
    this.onArrived(this.count);
  }

  clear() {
    this.isOverwritten ||= this.count > 0;
    this.count = 0;
    this.onArrived(0);
  }
}

/** The files of one version of one package. */
export class Store {
  /** Whether the browser had no room, so that the next visit downloads again. */
  isFull = false;

  /** Milliseconds without a byte after which a download is asked for again. */
  stalledMs = STALLED_MS;

  /** Digests one after the other, since each takes a copy of its file. @type {Promise<unknown>} */
  #proving = Promise.resolve();

  /** Files that another page of this origin is keeping right now. @type {Set<string>} */
  #keptElsewhere = new Set();

  /**
   * @param {URL} folder ends in a slash
   * @param {Map<string, string>} sums file name -> SHA-256 in hexadecimal
   * @param {Cache | null} cache null outside secure contexts
   * @param {OnProgress} onProgress
   */
  constructor(folder, sums, cache, onProgress) {
    this.folder = folder;
    this.sums = sums;
    this.cache = cache;
    this.onProgress = onProgress;
    /** @type {Map<string, Promise<Blob>>} */
    this.files = new Map();
    /** @type {Map<string, Memory>} */
    this.memories = new Map();
  }

  /**
   * The package at `folder`, in the version that its host has now; versions before are deleted.
   *
   * @param {URL} folder
   * @param {OnProgress} [onProgress]
   * @returns {Promise<Store>}
   */
  static async open(folder, onProgress = () => {}) {
    const address = new URL("SHA256SUMS", folder);
    const asking = fetch(address, { cache: "no-cache", signal: AbortSignal.timeout(STALLED_MS) });
    const found = await asking.then(async (response) => ({ status: response.status, text: await response.text() })).catch(() => null);
    const isBusy = !!found && PASSING.includes(found.status);
    if (!found || isBusy) {
      const kept = await keptVersion(folder).catch(() => null); // browsers that were told to keep nothing refuse here
      if (kept) return new Store(folder, parseSums(kept.text, address), kept.cache, onProgress);
    }
    if (!found) throw new Error(`${address.href} cannot be reached. Is the address right, and does the host allow this page to read it (CORS)?`);
    const { status, text } = found;
    if (isBusy) throw new Error(`${address.href} answered ${status}, which may pass. Load the page again in a while.`);
    if (status !== 200) throw new Error(`${address.href} answered ${status}. The address must be the folder that holds it and config.json.`);
    const sums = parseSums(text, address);
    const cache = await openCache(folder, text);
    await cache?.put(address, new Response(text)).catch(() => {});
    return new Store(folder, sums, cache, onProgress);
  }

  /** @param {string} name @returns {Promise<any>} the JSON document in a file */
  async json(name) {
    const text = await (await this.file(name)).text();
    try {
      return JSON.parse(text);
    } catch {
      throw new Error(`${this.#url(name)} is not JSON; the host answered with: ${text.slice(0, 60)}`);
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
    const file = await this.file(name); // Transformers.js would go on after an error, so ask for the files it needs before
    return new Response(file, { headers: { "content-length": String(file.size) } });
  }

  async put() {}

  /**
   * A whole file, from the browser's store or the network, proved to be the one that was listed.
   *
   * @param {string} name
   * @returns {Promise<Blob>}
   */
  file(name) {
    const found = this.files.get(name) ?? this.#wholeFile(name);
    this.files.set(name, found);
    found.catch(() => this.files.delete(name)); // asked for again, it is tried again
    return found;
  }

  /**
   * Have a file's bytes in `memory`, from the first one on as they come; as proved as `file` when this resolves.
   *
   * @param {string} name
   * @param {Memory} memory
   */
  async fill(name, memory) {
    this.memories.set(name, memory);
    try {
      await this.file(name);
    } finally {
      this.memories.delete(name);
    }
    if (memory.count !== memory.bytes.length) {
      throw new Error(`${this.#url(name)} has ${memory.count} bytes, not ${memory.bytes.length} as planned. Was another file put in its place?`);
    }
  }

  /** @param {string} name @returns {Promise<Blob>} */
  #wholeFile(name) {
    if (!this.cache || !navigator.locks) return this.#proved(name);
    // Two pages that keep one file at once would mix their parts; the second one keeps nothing.
    return navigator.locks.request(`tinsmith ${this.#url(name)}`, { ifAvailable: true }, (lock) => {
      if (!lock) this.#keptElsewhere.add(name);
      return this.#proved(name);
    });
  }

  /** @param {string} name @returns {Promise<Blob>} */
  async #proved(name) {
    const memory = this.memories.get(name);
    const parts = await this.#keptParts(name, memory);
    if (await this.cache?.match(this.#url(name, "whole"))) {
      const whole = new Blob(parts);
      if ((await this.#sha256(whole, memory)) === this.sums.get(name)) {
        this.onProgress({ file: name, loaded: whole.size, total: whole.size });
        return whole;
      }
      await this.#drop(name, parts);
    }
    for (const isLast of [false, true]) {
      const whole = await this.#download(name, parts);
      const found = await this.#sha256(whole, memory);
      const expected = this.sums.get(name);
      if (found === null || found === expected) {
        await this.#keep(name, "whole", new Blob());
        return whole;
      }
      await this.#drop(name, parts);
      if (isLast) {
        throw new Error(`${this.#url(name)} is damaged, or not of this version: its SHA-256 is ${found}, SHA256SUMS says ${expected}.`);
      }
    }
    throw new Error("unreachable");
  }

  /** @param {Blob} file @param {Memory} [memory] @returns {Promise<string | null>} as `sha256` */
  #sha256(file, memory) {
    const found = this.#proving.then(() => sha256(file, memory));
    this.#proving = found.catch(() => {});
    return found;
  }

  /**
   * Download what is missing after `parts`, adding to them.
   *
   * @param {string} name @param {Blob[]} parts @returns {Promise<Blob>}
   */
  async #download(name, parts) {
    for (let failures = 0; ; ) {
      const before = sizeOf(parts);
      try {
        await this.#readOn(name, parts);
        return new Blob(parts);
      } catch (error) {
        if (error instanceof Refused) throw error;
        failures = sizeOf(parts) > before ? 1 : failures + 1;
        if (failures >= ATTEMPTS) {
          throw new Error(`${this.#url(name)}: the connection broke ${ATTEMPTS} times (${/** @type {Error} */ (error).message}). Loading the page again goes on where it stopped.`);
        }
        await new Promise((resolve) => setTimeout(resolve, FIRST_DELAY_MS * 2 ** (failures - 1)));
      }
    }
  }

  /** @param {string} name @param {Blob[]} parts */
  async #readOn(name, parts) {
    const loaded = sizeOf(parts);
    const headers = loaded ? { Range: `bytes=${loaded}-` } : {};
    const stalled = new AbortController();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const waitOn = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stalled.abort(new Error(`nothing came for ${this.stalledMs / 1000} s`)), this.stalledMs);
    };
    try {
      waitOn();
      const response = await fetch(this.#url(name), { headers, cache: "no-store", signal: stalled.signal });
      await this.#readBody(name, parts, response, waitOn);
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param {string} name @param {Blob[]} parts @param {Response} response @param {() => void} heard called with every piece */
  async #readBody(name, parts, response, heard) {
    let loaded = sizeOf(parts);
    if (response.status === 416 && loaded) return; // nothing is missing
    if (PASSING.includes(response.status)) throw new Error(`the host answered ${response.status}`);
    if (!response.ok) throw new Refused(`${this.#url(name)} answered ${response.status}. The address must be the folder that holds config.json.`);
    if (loaded && response.status !== 206) {
      await this.#drop(name, parts); // a host that cannot start in the middle
      loaded = 0;
    }
    const memory = this.memories.get(name);
    const total = loaded + Number(response.headers.get("content-length") ?? 0);
    /** @type {Uint8Array<ArrayBuffer>[]} */
    let waiting = [];
    const flush = async () => {
      if (!waiting.length) return;
      const part = new Blob(waiting);
      waiting = [];
      parts.push(part);
      await this.#keep(name, `part${parts.length - 1}`, part);
    };
    const reader = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body).getReader();
    try {
      for (let read; !(read = await reader.read()).done; ) {
        heard();
        memory?.add(read.value);
        waiting.push(read.value);
        loaded += read.value.length;
        this.onProgress({ file: name, loaded, total: Math.max(loaded, total) });
        if (waiting.reduce((sum, bytes) => sum + bytes.length, 0) >= PART_BYTES) {
          await flush();
          heard(); // a slow disk is no silent host
        }
      }
    } finally {
      await flush();
    }
  }

  /** @param {string} name @param {Memory} [memory] @returns {Promise<Blob[]>} */
  async #keptParts(name, memory) {
    const parts = [];
    for (let found; (found = await this.cache?.match(this.#url(name, `part${parts.length}`))); ) {
      const part = await found.blob();
      memory?.add(new Uint8Array(await part.arrayBuffer()));
      parts.push(part);
    }
    return parts;
  }

  /** @param {string} name @param {string} what @param {Blob} content */
  async #keep(name, what, content) {
    if (!this.cache || this.isFull || this.#keptElsewhere.has(name)) return;
    try {
      await this.cache.put(this.#url(name, what), new Response(content));
    } catch {
      this.isFull = true;
    }
  }

  /** @param {string} name @param {Blob[]} parts */
  async #drop(name, parts) {
    const kept = this.#keptElsewhere.has(name) ? [] : ["whole", ...[...parts.keys()].map((index) => `part${index}`)];
    for (const what of kept) await this.cache?.delete(this.#url(name, what));
    parts.length = 0;
    this.memories.get(name)?.clear();
  }

  /** @param {string} name @param {string} [what] @returns {string} address of a file, or of what is kept of it */
  #url(name, what) {
    const url = new URL(name, this.folder);
    if (what) url.search = what;
    return url.href;
  }
}

/** The host's answer, which asking again will not change. */
class Refused extends Error {}

/** @param {Blob[]} parts @returns {number} bytes */
function sizeOf(parts) {
  return parts.reduce((sum, part) => sum + part.size, 0);
}

/**
 * @param {Blob} file
 * @param {Memory} [memory] with its bytes, if they were wanted there
 * @returns {Promise<string | null>} null outside secure contexts, where browsers cannot say
 */
async function sha256(file, memory) {
  if (!globalThis.crypto?.subtle) return null;
  return hex(await crypto.subtle.digest("SHA-256", await digestible(file, memory)));
}

/** @param {Blob} file @param {Memory} [memory] @returns {Promise<BufferSource>} all bytes of a file, in memory that nobody shares */
async function digestible(file, memory) {
  if (memory?.bytes.length !== file.size) return file.arrayBuffer(); // without memory, or a file that does not fit
  return /** @type {any} */ (memory.bytes.buffer instanceof ArrayBuffer ? memory.bytes : memory.bytes.slice());
}

/** @param {ArrayBuffer} bytes */
function hex(bytes) {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text @param {URL} address @returns {Map<string, string>} */
function parseSums(text, address) {
  const lines = text.split("\n").filter(Boolean);
  return new Map(lines.map((line) => {
    const found = /^([0-9a-f]{64})  (.+)$/.exec(line);
    if (!found) throw new Error(`${address.href} is not a list of checksums; the host answered with: ${text.slice(0, 60)}`);
    return [found[2], found[1]];
  }));
}

/** @param {URL} folder @param {string} sums @returns {Promise<Cache | null>} null where nothing may be kept */
async function openCache(folder, sums) {
  if (!globalThis.caches || !globalThis.crypto?.subtle) return null;
  try {
    return await openVersion(folder, sums);
  } catch {
    return null; // browsers that were told to keep nothing refuse here
  }
}

/** @param {URL} folder @param {string} sums @returns {Promise<Cache>} of exactly this version; those of others are deleted */
async function openVersion(folder, sums) {
  const version = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sums))).slice(0, 16);
  const prefix = `tinsmith ${folder.href} `;
  for (const name of await caches.keys()) {
    if (name.startsWith(prefix) && name !== prefix + version) await caches.delete(name);
  }
  return caches.open(prefix + version);
}

/** @param {URL} folder @returns {Promise<{cache: Cache, text: string} | null>} what an earlier visit has kept */
async function keptVersion(folder) {
  for (const name of (await globalThis.caches?.keys()) ?? []) {
    if (!name.startsWith(`tinsmith ${folder.href} `)) continue;
    const cache = await caches.open(name);
    const kept = await cache.match(new URL("SHA256SUMS", folder));
    if (kept) return { cache, text: await kept.text() };
  }
  return null;
}
