/**
 * The device that a model runs on: GPU or processor, number of threads, and the matching build of the runtime.
 *
 * @import { Adapter, Device } from "./messages.js"
 * @import { Features } from "./gpu/kernels.js"
 * @import { LoadOptions } from "./loader.js"
 * @import { OnnxRuntime, Transformers } from "./types.d.ts"
 */

import { gpuFailed } from "./loader.js";
import { importRuntimeFile } from "./runtime.js";

/** Tokens of the package's reference that are compared on a software adapter, which needs seconds for each. */
const SOFTWARE_REFERENCE_TOKENS = 2;

// ONNX Runtime's prefill attention computes eight keys at a time across a subgroup. On narrower subgroups its results are
// wrong from 32 prompt tokens on, without an error; without subgroups it uses another path. Remove this when onnxruntime-web
// checks the width: https://github.com/microsoft/onnxruntime/pull/28520 made that path usable.
const MIN_SUBGROUP_LANES = 8;
/** Fewest lanes of a subgroup with which adding within it beats adding through the workgroup's memory. */
const MIN_LANES_FOR_SUMS = 4;

/** Most lanes of a subgroup that share a row of a matrix. */
const MAX_LANES_FOR_SUMS = 32;

/** @type {(keyof GPUSupportedLimits)[]} */
const DEVICE_LIMITS = [
  "maxBindGroups",
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
];

/**
 * The build of Transformers.js for a device. It loads ONNX Runtime's binary from this site; the default is a public CDN. The
 * glue code is inside the bundle, so only the binary needs an address.
 *
 * @param {Device} device
 * @param {number} threads
 * @returns {Promise<Transformers>}
 */
export async function importTransformers(device, threads) {
  /** @type {Transformers} */
  const transformers = await importRuntimeFile(`transformers.${device}.js`);
  const build = device === "webgpu" ? "ort-wasm-simd-threaded.asyncify.wasm" : "ort-wasm-simd-threaded.wasm";
  const wasm = /** @type {NonNullable<Transformers["env"]["backends"]["onnx"]["wasm"]>} */ (
    transformers.env.backends.onnx.wasm
  );
  wasm.wasmPaths = { wasm: new URL(`./runtime/${build}`, import.meta.url).href };
  wasm.numThreads = threads;
  return transformers;
}

/**
 * The ONNX Runtime that Transformers.js uses on a device, for other graphs beside the model. Both share its threads.
 *
 * @param {Device} device
 * @returns {Promise<OnnxRuntime>}
 */
export function importRuntime(device) {
  return importRuntimeFile(`ort.${device}.bundle.min.mjs`);
}

/** @returns {Promise<GPUAdapter | null>} */
export async function requestAdapter() {
  return (await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
}

/** @param {GPUAdapter} gpu @returns {Adapter} */
export function describe(gpu) {
  /** @type {Partial<GPUAdapterInfo>} */
  const info = gpu.info ?? {};
  const { vendor = "", architecture = "", device = "", description = "", isFallbackAdapter = false } = info;
  const words = `${vendor} ${architecture} ${device} ${description}`;
  const software = isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|softpipe|basic render|warp/i.test(words);
  return { vendor, architecture, device, description, software };
}

/**
 * Options of `loadChat` for a GPU.
 *
 * @param {GPUAdapter} gpu
 * @param {boolean} isSoftware
 * @returns {Promise<Partial<LoadOptions>>}
 */
export async function gpuOptions(gpu, isSoftware) {
  return {
    canFloat16: gpu.features.has("shader-f16"),
    maxTensorBytes: gpu.limits.maxStorageBufferBindingSize,
    referenceTokens: isSoftware ? SOFTWARE_REFERENCE_TOKENS : undefined,
    gpuDevice: await deviceWithoutSubgroups(gpu),
  };
}

/**
 * Options of `loadOwn`, with a device for the site's own kernels. It comes from an adapter of its own, because an adapter
 * gives one device only, and ONNX Runtime may still need one.
 *
 * @param {boolean} isSoftware
 * @returns {Promise<Pick<LoadOptions, "maxTensorBytes" | "referenceTokens"> & {gpuDevice: GPUDevice, features: Features}>}
 * @throws {Unsuitable} if the GPU provides no device
 */
export async function ownOptions(isSoftware) {
  const gpu = await requestAdapter();
  if (!gpu) throw gpuFailed("its adapter is gone");
  const { subgroupMinSize = 0 } = gpu.info ?? {};
  const hasSubgroups = gpu.features.has("subgroups") && subgroupMinSize >= MIN_LANES_FOR_SUMS;
  const requesting = gpu.requestDevice({
    requiredFeatures: hasSubgroups ? ["subgroups"] : [],
    requiredLimits: Object.fromEntries(DEVICE_LIMITS.map((name) => [name, Number(gpu.limits[name])])),
  });
  const gpuDevice = await requesting.catch((error) => {
    throw gpuFailed(error);
  });
  return {
    gpuDevice,
    features: {
      subgroupLanes: hasSubgroups ? Math.min(subgroupMinSize, MAX_LANES_FOR_SUMS) : 0,
      workgroupBytes: gpuDevice.limits.maxComputeWorkgroupStorageSize,
    },
    maxTensorBytes: gpu.limits.maxStorageBufferBindingSize,
    referenceTokens: isSoftware ? SOFTWARE_REFERENCE_TOKENS : undefined,
  };
}

/**
 * A device that hides subgroups too narrow for ONNX Runtime.
 *
 * @param {GPUAdapter} gpu
 * @returns {Promise<GPUDevice | undefined>} undefined if there is nothing to hide
 * @throws {Unsuitable} if the adapter provides no device
 */
async function deviceWithoutSubgroups(gpu) {
  const { subgroupMinSize = Infinity } = gpu.info ?? {};
  if (!gpu.features.has("subgroups") || subgroupMinSize >= MIN_SUBGROUP_LANES) return undefined;
  const requesting = gpu.requestDevice({
    requiredFeatures: gpu.features.has("shader-f16") ? ["shader-f16"] : [],
    requiredLimits: Object.fromEntries(DEVICE_LIMITS.map((name) => [name, Number(gpu.limits[name])])),
  });
  return requesting.catch((error) => {
    throw gpuFailed(error);
  });
}

/**
 * The device to use, and why it is not the requested one.
 *
 * @param {"auto" | Device} requested
 * @param {Adapter | null} gpu
 * @returns {{device: Device, notice: string}}
 */
export function chooseDevice(requested, gpu) {
  if (requested === "wasm") return { device: "wasm", notice: "" };
  if (gpu && (requested === "webgpu" || !gpu.software)) return { device: "webgpu", notice: "" };
  const reason = gpu ? "only a software WebGPU adapter was found" : "no WebGPU adapter was found";
  return { device: "wasm", notice: `Running on the processor: ${reason}` };
}

/**
 * One thread without cross-origin isolation, which shared memory needs. Otherwise the requested number, or all cores of a
 * small machine and at most half of a larger one.
 *
 * @param {number} [requested]
 */
export function chooseThreads(requested) {
  if (!crossOriginIsolated) return 1;
  if (requested) return requested;
  const cores = navigator.hardwareConcurrency || 1;
  return cores <= 4 ? cores : Math.min(8, Math.ceil(cores / 2));
}

/**
 * Counts of nodes by execution provider, filled while a session is created. ONNX Runtime only writes them to its log.
 *
 * @returns {Record<string, number>}
 */
export function watchPlacement() {
  /** @type {Record<string, number>} */
  const placement = {};
  const report = console.error.bind(console);
  // The runtime binds console.error when it starts, so restoring it later would do nothing; this worker has one session.
  console.error = (/** @type {unknown[]} */ ...words) => {
    const line = words.join(" ");
    const match = /placed on \[(\w+)\]\. Number of nodes: (\d+)/.exec(line);
    if (match) placement[match[1]] = (placement[match[1]] ?? 0) + Number(match[2]);
    else if (!/\[[VIW]:onnxruntime/.test(line)) report(...words);
  };
  return placement;
}
