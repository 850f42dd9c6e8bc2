/**
 * Unpacks pieces of weights in shared memory; see `Unpackers` in unpack.js.
 *
 * @import { Work } from "./unpack.js"
 */

import { takePieces } from "./unpack.js";

self.addEventListener("message", (/** @type {MessageEvent<Work>} */ event) => {
  takePieces(event.data);
  postMessage("done");
});
postMessage("ready");
