/**
 * The messages between a page (client.js) and worker.js. Types only: nothing here runs.
 *
 * Every request carries an `id`, which each reply to it repeats. The replies listed in `Events` may come first; then one
 * reply ends the request: the one listed in `Replies`, or `error`. `stop` gets no reply of its own.
 *
 * Times are milliseconds since the Unix epoch, at the resolution of performance.now().
 *
 * @import { Reference } from "./reference.js"
 * @import { Kind } from "./small_talk.js"
 */

/**
 * @typedef {{role: "system" | "user" | "assistant", content: string}} Message
 *
 * @typedef {"wasm" | "webgpu"} Device
 *
 * @typedef {"float32" | "float16" | "int8_page"} GraphId a graph of the package. All have the same 4-bit weights; they compute
 *   in float32, compute in float16, or multiply in INT8
 *
 * @typedef {"own" | "onnxruntime"} Engine what computes: the site's own kernels, for WebGPU, or ONNX Runtime
 *
 * @typedef {object} Adapter what a WebGPU adapter says about itself
 * @property {string} vendor
 * @property {string} architecture
 * @property {string} device
 * @property {string} description
 * @property {boolean} software whether it is emulated on the processor
 */

/**
 * @typedef {object} LoadRequest loads a package; a worker loads once
 * @property {string} modelUrl
 * @property {"auto" | Device} [device] `auto`, the default, uses WebGPU on a hardware adapter and WASM otherwise
 * @property {Engine} [engine] `own` kernels on WebGPU by default, ONNX Runtime where they cannot run or a graph is requested
 * @property {GraphId} [graph] the package's fastest graph for the device by default
 * @property {number} [threads] 0, the default, sets it by the number of cores
 * @property {boolean} [reportsPlacement] whether `ready` counts the graph's nodes by execution provider, which slows loading
 * @property {string} [notice] text for the `notice` of `ready`; by default, why the device is not the requested one
 *
 * @typedef {object} OpenAnswersRequest downloads and opens the owner's answers, which need no model
 * @property {string} url of their folder
 * @property {number} [threads] 0, the default, sets it by the number of cores
 *
 * @typedef {object} LookUpRequest asks for the passages closest to a question, once the answers are open
 * @property {string} question
 * @property {string[]} previous earlier questions of the conversation, oldest first
 *
 * @typedef {object} GenerateRequest asks for an answer. If the conversation does not fit, its oldest turns are left out
 * @property {Message[]} messages
 * @property {number} maxNewTokens
 * @property {number} [minNewTokens] no end token is generated before this many tokens; 0 by default
 * @property {boolean} [greedy] true by default; false samples
 *
 * @typedef {object} CompareRequest
 * @property {Reference} reference
 *
 * @typedef {object} TokenizeRequest
 * @property {Message[]} messages
 * @property {boolean} [addGenerationPrompt] whether to end with the opening of the next answer; false by default
 *
 * @typedef {object} Requests the content of each request, by type
 * @property {OpenAnswersRequest} open_answers
 * @property {LoadRequest} load
 * @property {GenerateRequest} generate
 * @property {LookUpRequest} look_up
 * @property {{}} forget frees the cache of the last conversation
 * @property {CompareRequest} compare
 * @property {TokenizeRequest} tokenize
 * @property {{}} stop ends the running generation and all queued ones
 */

/**
 * @template {keyof Requests} [T=keyof Requests]
 * @typedef {{[K in T]: {type: K} & Requests[K]}[T]} Request
 */

/**
 * @template {keyof Requests} [T=keyof Requests]
 * @typedef {Request<T> & {id: number}} SentRequest a request as the worker receives it
 */

/**
 * @typedef {object} Progress bytes of one file
 * @property {"progress"} type
 * @property {number} id
 * @property {string} file
 * @property {number} loaded
 * @property {number} total
 *
 * @typedef {object} Token
 * @property {"token"} type
 * @property {number} id
 * @property {number} tokenId
 * @property {number} time
 * @property {string} text what this token completes; often empty
 */

/**
 * @typedef {object} Source where a passage stands
 * @property {string} name file of the conversation or document
 * @property {string} place such as `line 12`, `page 3`, or the headings above the passage
 * @property {string} url public address; empty if unknown
 * @property {string} date ISO 8601; empty if unknown
 *
 * @typedef {object} Passage a piece of the owner's words
 * @property {string} id
 * @property {"answer" | "document"} kind
 * @property {string} title a question, headings such as `Returns > Refunds`, or the first words of the text
 * @property {string} text
 * @property {string} category empty if it has none
 * @property {Source} source
 *
 * @typedef {object} RankedPassage
 * @property {Passage} passage
 * @property {number} score
 * @property {number} closeness
 * @property {number} overlap
 *
 * @typedef {"sure" | "likely" | "unsure"} Rung of the ladder: the first passage is the answer, is probably the answer, or
 *   probably is not
 *
 * @typedef {object} Thresholds
 * @property {number} sure least confidence of `sure`
 * @property {number} likely least confidence of `likely`
 * @property {number} minCloseness least closeness of both
 *
 * @typedef {"unknown" | "offer" | "model"} Fallback what `unsure` shows: the owner's text for it, the same with a button that
 *   lets the model answer, or an answer of the model
 *
 * @typedef {object} Answers the owner's answers are open
 * @property {"answers"} type
 * @property {number} id
 * @property {number} passages
 * @property {Fallback} fallback
 * @property {string} unknown the owner's text for a question that no passage answers
 * @property {Kind[]} smallTalk kinds of small talk that passages may answer
 * @property {Thresholds} thresholds
 * @property {boolean} isKept whether the next visit needs no download
 *
 * @typedef {object} Ranked
 * @property {"ranked"} type
 * @property {number} id
 * @property {Rung} rung
 * @property {number} confidence estimated probability that the first passage is right
 * @property {number} milliseconds
 * @property {boolean} usedPrevious whether the question was read together with the previous one
 * @property {RankedPassage[]} passages at most five, best first
 */

/**
 * @typedef {object} Ready
 * @property {"ready"} type
 * @property {number} id
 * @property {Device} device
 * @property {Engine} engine
 * @property {GraphId} graph the graph that was loaded, or whose plan the own kernels follow
 * @property {string} notice empty, or why the device or engine is not the requested one
 * @property {number} contextTokens the longest conversation, in tokens
 * @property {number} threads
 * @property {boolean} crossOriginIsolated
 * @property {Adapter | null} adapter
 * @property {string[]} files that were used, from the network or the browser's cache
 * @property {boolean} isKept whether the next visit needs no download
 * @property {Record<string, string>} versions of the libraries
 * @property {Record<string, number> | null} placement nodes by execution provider, if requested or on a software adapter
 * @property {number} time
 *
 * @typedef {object} Done
 * @property {"done"} type
 * @property {number} id
 * @property {number[]} tokenIds
 * @property {number[]} times when each token was generated
 * @property {string} text
 * @property {number} promptTokens
 * @property {number} keptTokens tokens of the prompt that were still cached and not read again
 * @property {number} droppedTurns turns that were left out
 * @property {number} contextTokens
 * @property {number} pastBytes size of the keys and values that are cached for the next request
 * @property {"end" | "length" | "request"} stopped by an end token, by `maxNewTokens`, or by a `stop` request
 *
 * @typedef {object} Forgotten
 * @property {"forgotten"} type
 * @property {number} id
 *
 * @typedef {object} Compared
 * @property {"compared"} type
 * @property {number} id
 * @property {number} disagreement see reference.js
 *
 * @typedef {object} Tokens
 * @property {"tokens"} type
 * @property {number} id
 * @property {number[]} tokenIds
 *
 * @typedef {object} Failure
 * @property {"error"} type
 * @property {number} id
 * @property {string} message
 * @property {boolean} isUnsuitable whether the GPU could not load or run the model; a new worker can, on the processor
 * @property {Adapter | null} adapter the GPU's
 *
 * @typedef {object} Replies the reply that ends each request, by the request's type
 * @property {Answers} open_answers
 * @property {Ready} load
 * @property {Done} generate
 * @property {Ranked} look_up
 * @property {Forgotten} forget
 * @property {Compared} compare
 * @property {Tokens} tokenize
 *
 * @typedef {object} Events replies that may come before the final one, by the request's type
 * @property {Progress} open_answers
 * @property {Progress} load
 * @property {Token} generate
 * @property {never} look_up
 * @property {never} forget
 * @property {never} compare
 * @property {never} tokenize
 *
 * @typedef {Replies[keyof Replies] | Events[keyof Events] | Failure} Reply
 */

export {};
