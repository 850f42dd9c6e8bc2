/**
 * The benchmark page. `tinsmith bench` calls its global `bench`, and the page shows the log.
 */

import { Bench } from "./benchmark.js";

const log = /** @type {HTMLElement} */ (document.getElementById("log"));

Object.assign(globalThis, { bench: new Bench((line) => log.append(`${line}\n`)) });
