/**
 * The benchmark's page. `tinsmith bench` drives its global `bench`, and the page shows what was done.
 */

import { Bench } from "./benchmark.js";

const log = /** @type {HTMLElement} */ (document.getElementById("log"));

Object.assign(globalThis, { bench: new Bench((line) => log.append(`${line}\n`)) });
