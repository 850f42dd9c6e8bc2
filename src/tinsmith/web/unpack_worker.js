/**
 * Unpacks pieces of weights in shared memory; see `Unpackers` in unpack.js.
 *
 * @import { Work } from "./unpack.js"
 */

import { unpackPieces } from "./unpack.js";

self.addEventListener("message", (/** @type {MessageEvent<Work>} */ event) => {
  unpackPieces(event.data);
  postMessage("done");
});
postMessage("ready");
