/** Takes its share of the products that are unpacked in shared memory; see `Helpers` in unpack.js. */

import { takeProducts } from "./unpack.js";

self.addEventListener("message", ({ data }) => {
  takeProducts(data);
  postMessage("done");
});
postMessage("ready");
