/**
 * Turns conversations into tokens. What a message says is always read as text: the characters of a control token such as
 * `<|im_end|>` in a message do not become that token. `tinsmith.model.tokens` does the same in Python.
 *
 * @import { Message } from "./messages.js"
 * @import { Tokenizer } from "./types.d.ts"
 */

/** The first character of Unicode's private use area, which has 6,400. */
const PRIVATE_USE_START = 0xe000;

/**
 * A character that occurs in none of the messages.
 *
 * @param {Message[]} messages
 * @returns {string}
 */
export function unusedCharacter(messages) {
  const used = new Set(messages.flatMap(({ content }) => [...content]));
  let code = PRIVATE_USE_START;
  while (used.has(String.fromCodePoint(code))) code += 1;
  return String.fromCodePoint(code);
}

/**
 * `content` with `mark` after the first character of every special token's string in it, overlapping ones included.
 *
 * @param {string} content
 * @param {string[]} specialTokens
 * @param {string} mark
 * @returns {string}
 */
export function breakSpecialTokens(content, specialTokens, mark) {
  const breakable = specialTokens.filter((token) => [...token].length > 1);
  if (!breakable.some((token) => content.includes(token))) return content;
  let broken = "";
  let position = 0;
  for (const character of content) {
    broken += character;
    if (breakable.some((token) => content.startsWith(token, position))) broken += mark;
    position += character.length;
  }
  return broken;
}

/**
 * @param {Tokenizer} tokenizer
 * @param {Message[]} messages
 * @param {string} mark
 * @param {boolean} addGenerationPrompt whether to end with the opening of the next answer
 * @returns {string} the marked text of the conversation
 */
export function renderChat(tokenizer, messages, mark, addGenerationPrompt) {
  const broken = messages.map(({ role, content }) => ({
    role,
    content: breakSpecialTokens(content, tokenizer.all_special_tokens, mark),
  }));
  return tokenizer.apply_chat_template(broken, { add_generation_prompt: addGenerationPrompt, tokenize: false });
}

/**
 * @param {Tokenizer} tokenizer
 * @param {string} text of `renderChat`, or the end of it
 * @param {string} mark
 * @returns {number[]} token ids
 */
export function encodeMarked(tokenizer, text, mark) {
  const pieces = text.split(mark).filter(Boolean);
  return pieces.flatMap((piece) => tokenizer.encode(piece, { add_special_tokens: false }).map(Number));
}

/**
 * Token ids of a conversation.
 *
 * @param {Tokenizer} tokenizer
 * @param {Message[]} messages
 * @param {boolean} addGenerationPrompt
 * @returns {number[]}
 */
export function encodeChat(tokenizer, messages, addGenerationPrompt) {
  const mark = unusedCharacter(messages);
  return encodeMarked(tokenizer, renderChat(tokenizer, messages, mark, addGenerationPrompt), mark);
}
