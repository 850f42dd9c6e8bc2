/** Takes its share of what is unpacked in shared memory; see `Helpers` in unpack.js. */

import { takePieces } from "./unpack.js";

self.addEventListener("message", ({ data }) => {
  takePieces(data);
  postMessage("done");
});
postMessage("ready");
