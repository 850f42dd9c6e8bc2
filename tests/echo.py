"""A worker for the chat page whose answers a test chooses."""

ECHO = """
self.addEventListener("message", ({ data: { type, id, messages } }) => {
  const device = "wasm", graph = "float32", notice = "", threads = 1;
  if (type === "load") {
    postMessage({ type: "ready", id, device, graph, notice, threads, crossOriginIsolated: true, isKept: true });
  }
  if (type !== "generate") return;
  const text = messages.at(-1).content;
  const pieces = text.match(/[^]{1,7}/gu) ?? [];
  pieces.forEach((piece, index) => postMessage({ type: "token", id, tokenId: index, time: index, text: piece }));
  const tokenIds = pieces.map((_, i) => i);
  postMessage({ type: "done", id, tokenIds, times: tokenIds, text, promptTokens: 1, keptTokens: 0,
    droppedTurns: 0, contextTokens: 4096, pastBytes: 0, stopped: "end" });
});
"""
"""Stands in for worker.js: its answer is the question, in pieces as a model streams it."""
