/** Types for libraries that the worker uses, where the libraries' own types are missing or too wide. */

import type { PreTrainedModel, PreTrainedTokenizer } from "@huggingface/transformers";
import type { InferenceSession } from "onnxruntime-web";

/** The Transformers.js module. */
export type Transformers = typeof import("@huggingface/transformers");

/** The onnxruntime-web module. */
export type OnnxRuntime = typeof import("onnxruntime-web");

export type Tokenizer = PreTrainedTokenizer;

/** Keys and values of earlier tokens. */
export type Cache = InstanceType<Transformers["DynamicCache"]>;

/** An ONNX Runtime session, extended by rows.js. */
export interface Session extends InferenceSession {
  /** Number of tokens that the last run did not read, because it was stopped. */
  unread: number;
}

/** A causal language model of one session. */
export type Model = PreTrainedModel & { sessions: { model: Session } };

/** One graph of a package. */
export interface GraphFacts {
  /** A `GraphId`, or the id of a graph that pages do not use. */
  id: string;
  /** Path inside the package. */
  file: string;
  /** Option of Transformers.js that loads it. */
  dtype: "q4" | "q4f16" | "int8" | "q8";
  /** How a page unpacks the graph's weights; missing if it need not. */
  unpack?: {
    /** Path of the plan inside the package. */
    plan: string;
    /** Name of the file that the graph expects. It exists in memory only. */
    data: string;
  };
}

/** What a package's `browser.json` says. */
export interface BrowserFacts {
  graphs: GraphFacts[];
  /** Names of the files of weights in `onnx/`, which all graphs share. */
  weights: string[];
  /** Path of the plan for the pages' own kernels, see gpu/plan.js. */
  decoder_plan: string;
  /** Largest tensor of the float32 graph. */
  largest_tensor_bytes: number;
  reference: import("./reference.js").Reference;
}
