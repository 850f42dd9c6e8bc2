/**
 * The versions of a package that the browser has cached: one Cache for each, named after the package's address and the
 * digest of its SHA256SUMS.
 *
 * The old version stays until the new one is complete, so that a failed download leaves a working model. A version is
 * complete once a model was loaded from its files; a mark in its Cache records that.
 */

const SUMS = "SHA256SUMS";
const COMPLETE = "SHA256SUMS?complete";

/** @param {URL} folder */
const prefixOf = (folder) => `tinsmith ${folder.href} `;

/** One version of one package. */
export class Version {
  /**
   * @param {URL} folder address of the package
   * @param {string} name of its Cache
   * @param {Cache} cache
   */
  constructor(folder, name, cache) {
    this.folder = folder;
    this.name = name;
    this.cache = cache;
  }

  /**
   * Open the version with these checksums, or start it. Other versions that are not complete are deleted.
   *
   * @param {URL} folder
   * @param {string} sums content of SHA256SUMS
   * @returns {Promise<Version | null>} null where the page may cache nothing
   */
  static async open(folder, sums) {
    if (!globalThis.caches || !globalThis.crypto?.subtle) return null;
    const digest = hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sums)));
    const name = prefixOf(folder) + digest.slice(0, 16);
    try {
      for (const other of await namesOf(folder)) {
        if (other !== name && !(await isComplete(folder, other))) await caches.delete(other);
      }
      return new Version(folder, name, await caches.open(name));
    } catch {
      return null; // browsers set to store nothing refuse here
    }
  }

  /**
   * The version to use when the host cannot be reached: a complete one if there is one.
   *
   * @param {URL} folder
   * @returns {Promise<{version: Version, sums: string} | null>}
   */
  static async cached(folder) {
    try {
      const names = await namesOf(folder);
      const complete = await Promise.all(names.map((name) => isComplete(folder, name)));
      const preferred = [...names.filter((_, index) => complete[index]), ...names];
      for (const name of preferred) {
        const cache = await caches.open(name);
        const response = await cache.match(new URL(SUMS, folder));
        if (response) return { version: new Version(folder, name, cache), sums: await response.text() };
      }
    } catch {
      // Browsers set to store nothing refuse here.
    }
    return null;
  }

  /**
   * Whether the browser has a complete version, which may be older than the host's.
   *
   * @param {URL} folder
   */
  static async isKept(folder) {
    try {
      const names = await namesOf(folder);
      return (await Promise.all(names.map((name) => isComplete(folder, name)))).includes(true);
    } catch {
      return false; // browsers set to store nothing refuse here
    }
  }

  /** Address of the mark that says this version is complete. */
  get completeMark() {
    return new URL(COMPLETE, this.folder).href;
  }

  /**
   * Delete all other versions of the package.
   *
   * @returns {Promise<boolean>} whether there were any
   */
  async removeOthers() {
    const others = (await namesOf(this.folder)).filter((name) => name !== this.name);
    for (const name of others) await caches.delete(name);
    return others.length > 0;
  }
}

/** @param {URL} folder @returns {Promise<string[]>} names of the package's Caches */
async function namesOf(folder) {
  const names = (await globalThis.caches?.keys()) ?? [];
  return names.filter((name) => name.startsWith(prefixOf(folder)));
}

/**
 * Whether a Cache has the mark. It is not opened: browsers free the space of a deleted Cache only once nobody has it open.
 *
 * @param {URL} folder
 * @param {string} cacheName
 */
async function isComplete(folder, cacheName) {
  return !!(await caches.match(new URL(COMPLETE, folder), { cacheName }));
}

/** @param {ArrayBuffer} bytes @returns {string} in hexadecimal */
export function hex(bytes) {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
