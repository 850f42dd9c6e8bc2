/**
 * The benchmark's page: `tinsmith bench` asks its `bench` to measure the shipped worker, and it shows what it did.
 */

import { Bench } from "./protocol.js";

const log = /** @type {HTMLElement} */ (document.getElementById("log"));

Object.assign(globalThis, { bench: new Bench((line) => log.append(`${line}\n`)) });
