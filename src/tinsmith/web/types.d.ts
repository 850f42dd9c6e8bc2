/** Types of the libraries that the worker's files use, where the libraries' own are missing or too wide. */

import type { PreTrainedModel, PreTrainedTokenizer } from "@huggingface/transformers";
import type { InferenceSession } from "onnxruntime-web";

/** The Transformers.js module. */
export type Transformers = typeof import("@huggingface/transformers");

export type Tokenizer = PreTrainedTokenizer;

/** Keys and values of earlier tokens. */
export type Cache = InstanceType<Transformers["DynamicCache"]>;

/** An ONNX Runtime session, extended by rows.js. */
export interface Session extends InferenceSession {
  /** Tokens of the last run that were not read, because it was stopped. */
  unread: number;
}

/** A causal language model of one session. */
export type Model = PreTrainedModel & { sessions: { model: Session } };

/** What the loader reads of a package's `config.json`. */
export interface PackageConfig {
  "transformers.js_config": {
    /** Number of files of weights, by graph. */
    use_external_data_format: Record<string, number>;
  };
}

/** A package's `browser.json`. */
export interface BrowserFacts {
  /** Largest tensor of the 4-bit graph. */
  largest_tensor_bytes: number;
  reference: import("./reference.js").Reference;
}
