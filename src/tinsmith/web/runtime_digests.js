/**
 * Digests of the browser runtime's files, written by `make runtime-digests`. tinsmith compares them when it makes a
 * site, and pages when they load the files.
 *
 * @type {Record<string, string>}
 */
export const RUNTIME_DIGESTS = {
  "LICENSE.onnxruntime.txt": "sha384-bl7NuZdSzrGzjnxOjh2zhDJUfFuluriPPYBA8hqhRHE4vVjGqnTmzHjs6nUCDef5",
  "LICENSE.transformers.txt": "sha384-II9e1ieUDl5AxyiVq3/FflTua1Sr0kMJ25e6imG7rXg7SiAsA2VemsvEqVsLqM7/",
  "ort-wasm-simd-threaded.asyncify.wasm": "sha384-JuzrCV6BUmTUbsgNhgU94qo0vZ4l3w0VqgQAKPm0La2hXL9kmv8P9pGenfsWJY9c",
  "ort-wasm-simd-threaded.wasm": "sha384-LrOPe1yNsLVzhsriuQfxO06RWx/XakR0S8uiOMx7HVJP6N/IEaR1EAgJMFeTanif",
  "ort.wasm.bundle.min.mjs": "sha384-rb+zD6nKrYqdffKZxEFA2qD+Aq+gDcqQOJ7VEOAWUCsrlpRf6VALFrRzLPo/dt5J",
  "ort.webgpu.bundle.min.mjs": "sha384-0u/ngI6b5LeDnUArZPybV5t9Q7eySD/UKuZcLB/mSBQhIi1Mz4G7YJxwfsYY5Rzp",
  "transformers.wasm.js": "sha384-mmcmw9zbTHu7PJTaZyz/4+P8a5AB49QxDqkSSI9RmCE8QZdQ3O1flVKZNCxYLJbm",
  "transformers.webgpu.js": "sha384-ATAcvlnua0cCcfb9abxCs4rOBpXZCY5Li9RH/vyFhl9Vq2n6ahea4qyd5s/m909Q"
};
