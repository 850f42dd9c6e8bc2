import js from "@eslint/js";
import globals from "globals";

const PAGES = [
  "bench.js",
  "benchmark.js",
  "chat.js",
  "client.js",
  "elements.js",
  "feedback.js",
  "ladder_view.js",
  "markdown.js",
  "owner.js",
  "questions.js",
  "remote.js",
  "review.js",
  "review_item.js",
  "review_progress.js",
  "sources.js",
  "statistics.js",
  "turns.js",
];

const SHADERS = ["gpu/attention.js", "gpu/choice.js", "gpu/product.js", "gpu/tiles.js"];

export default [
  js.configs.recommended,
  {
    languageOptions: { globals: { ...globals.es2024, ...globals.worker } },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      complexity: ["error", 14],
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "max-lines-per-function": ["error", { max: 42, skipBlankLines: true, skipComments: true }],
      "no-implicit-coercion": ["error", { allow: ["!!"] }],
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  // Most of these functions' lines are WGSL.
  { files: SHADERS, rules: { "max-lines-per-function": "off" } },
  { files: PAGES, languageOptions: { globals: globals.browser } },
  { files: ["sw.js"], languageOptions: { globals: globals.serviceworker } },
];
