/**
 * Imports scripts of the browser runtime, each only if it is the one that this version of the pages was tested with.
 *
 * Browsers compare the digest of a `<script>` and of a fetch, but not that of an import, nor of a worker. So a script is
 * fetched first, which fails if it differs; the import then takes it from the browser's cache. The binary, which is large and
 * compiled while it arrives, is compared only when the site is made.
 */

import { RUNTIME_DIGESTS } from "./runtime_digests.js";

/** Files that the first of them imports. @type {Record<string, string[]>} */
const IMPORTS = {
  "transformers.wasm.js": ["ort.wasm.bundle.min.mjs"],
  "transformers.webgpu.js": ["ort.webgpu.bundle.min.mjs"],
};

/**
 * Import a file of the runtime.
 *
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function importRuntimeFile(name) {
  await Promise.all([name, ...(IMPORTS[name] ?? [])].map(check));
  return import(`./runtime/${name}`);
}

/** @param {string} name */
async function check(name) {
  const integrity = RUNTIME_DIGESTS[name];
  if (!integrity) throw new Error(`runtime/${name} is not part of the runtime.`);
  let response;
  try {
    response = await fetch(new URL(`./runtime/${name}`, import.meta.url), { integrity });
  } catch (cause) {
    throw new Error(`runtime/${name} cannot be loaded, or is not the file that this page was made with.`, { cause });
  }
  if (!response.ok) throw new Error(`runtime/${name}: the host answers ${response.status}.`);
  await response.arrayBuffer(); // an import may use what has arrived
}
