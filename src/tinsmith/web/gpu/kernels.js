/**
 * Builds kernels: WGSL from parts, a pipeline for each text, bind groups from named buffers.
 *
 * @typedef {object} Binding
 * @property {string} name
 * @property {string} type in WGSL
 * @property {"read" | "read_write"} access
 *
 * @typedef {object} Kernel
 * @property {string} name
 * @property {Binding[]} bindings
 * @property {GPUComputePipeline} pipeline
 *
 * @typedef {object} Features what kernels may use of the adapter
 * @property {number} subgroupLanes lanes that are sure to be in one subgroup; 0 without subgroups
 * @property {number} workgroupBytes memory that the threads of a workgroup can share
 *
 * @typedef {object} Dispatch one dispatch of a kernel; made once
 * @property {GPUComputePipeline} pipeline
 * @property {GPUBindGroup} group
 * @property {[number, number]} size
 */

/** @param {string} name @param {string} type @returns {Binding} */
export function reads(name, type = "array<vec4f>") {
  return { name, type, access: "read" };
}

/** @param {string} name @param {string} type @returns {Binding} */
export function writes(name, type = "array<f32>") {
  return { name, type, access: "read_write" };
}

/** Compiles each kernel once. */
export class Kernels {
  /** @type {Map<string, Promise<Kernel>>} */
  #made = new Map();

  /** @param {GPUDevice} device @param {Features} features */
  constructor(device, features) {
    this.device = device;
    this.features = features;
  }

  /**
   * @param {{name: string, bindings: Binding[], code: string}} source
   * @returns {Promise<Kernel>}
   */
  make({ name, bindings, code }) {
    const declared = bindings.map(
      (one, index) => `@group(0) @binding(${index}) var<storage, ${one.access}> ${one.name}: ${one.type};`,
    );
    const enabled = code.includes("subgroup") ? ["enable subgroups;"] : [];
    const text = [...enabled, ...declared, code].join("\n");
    const known = this.#made.get(text);
    if (known) return known;
    const making = this.#compile(name, bindings, text);
    this.#made.set(text, making);
    return making;
  }

  /** @param {string} name @param {Binding[]} bindings @param {string} text @returns {Promise<Kernel>} */
  async #compile(name, bindings, text) {
    const module = this.device.createShaderModule({ label: name, code: text });
    const pipeline = await this.device.createComputePipelineAsync({
      label: name,
      layout: "auto",
      compute: { module, entryPoint: "main" },
    });
    return { name, bindings, pipeline };
  }

  /**
   * @param {Kernel} kernel
   * @param {Record<string, GPUBuffer>} buffers by the names of its bindings
   * @param {[number, number]} size
   * @returns {Dispatch}
   */
  dispatch({ name, bindings, pipeline }, buffers, size) {
    const entries = bindings.map((one, binding) => ({ binding, resource: { buffer: buffers[one.name] } }));
    const group = this.device.createBindGroup({ label: name, layout: pipeline.getBindGroupLayout(0), entries });
    return { pipeline, group, size };
  }
}

/** Most end tokens that are ruled out before the least length of an answer is reached. */
export const MAX_ENDS = 8;

/**
 * Numbers that all kernels of a token share: `position` of the token, or of the first of `count` tokens; `step`, the number of
 * tokens generated so far; how to choose the next one.
 */
export const STATE = `struct State {
  position: u32, count: u32, step: u32, unused: u32,
  least: u32, top: u32, temperature: f32, seed: u32, ends: array<u32, ${MAX_ENDS}>
}`;

/** Bytes of `State`. */
export const STATE_BYTES = 4 * (8 + MAX_ENDS);

/**
 * `total_of(thread, value)`: the sum of a number of all threads of a workgroup, which all must call it.
 *
 * @param {number} threads a power of two
 */
export function sumOf(threads) {
  return `
var<workgroup> sums: array<f32, ${threads}>;
fn total_of(thread: u32, value: f32) -> f32 {
  workgroupBarrier();
  sums[thread] = value;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half >>= 1u) {
    if (thread < half) { sums[thread] += sums[thread + half]; }
    workgroupBarrier();
  }
  return sums[0];
}`;
}
