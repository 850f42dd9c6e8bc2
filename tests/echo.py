"""A worker for the chat page whose answers a test chooses."""

ECHO = """
self.addEventListener("message", ({ data: { type, id, messages } }) => {
  if (type === "load") postMessage({ type: "ready", id, device: "wasm", dtype: "q4", notice: "", threads: 1, crossOriginIsolated: true, isKept: true });
  if (type !== "generate") return;
  const text = messages.at(-1).content;
  const pieces = text.match(/[^]{1,7}/gu) ?? [];
  pieces.forEach((piece, index) => postMessage({ type: "token", id, tokenId: index, time: index, text: piece }));
  postMessage({ type: "done", id, tokenIds: pieces.map((_, i) => i), times: pieces.map((_, i) => i), text, promptTokens: 1,
    keptTokens: 0, droppedTurns: 0, contextTokens: 4096, pastBytes: 0, stopped: "end" });
});
"""
"""Stands in for worker.js: its answer is the question, in pieces as a model streams it."""
