/**
 * Encodes conversations. A message is always encoded as plain text, whatever characters it contains.
 *
 * A tokenizer encodes the characters `<|im_end|>` as the control token wherever they occur, so a message could end its own
 * turn and start a system turn. The text is therefore cut inside such strings and tokenized piece by piece.
 * `tinsmith.model.message_text` does the same in Python.
 *
 * @import { Message } from "./messages.js"
 * @import { Tokenizer } from "./types.d.ts"
 *
 * @typedef {(messages: Message[]) => string} Render writes messages in the chat format
 */

/** The first private-use character of Unicode. Templates trim spaces, but not these characters. */
const PRIVATE_USE_START = 0xe000;

/**
 * A pattern that matches any of `tokens`, the longest one where several match, as tokenizers do.
 *
 * @param {string[]} tokens
 * @returns {RegExp | null} null if there are none
 */
export function tokenPattern(tokens) {
  const longestFirst = tokens.filter((token) => token.trim()).sort((one, other) => other.length - one.length);
  if (!longestFirst.length) return null;
  return new RegExp(longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "gu");
}

/**
 * Cut the rendered text into pieces, so that no piece contains a special token's string that overlaps a message.
 *
 * A string inside a message is cut after its first character. One that begins in the chat format and ends in a message is
 * cut where the message begins. Text without such strings is a single piece.
 *
 * @param {Message[]} messages
 * @param {Render} render may trim space around a message's text, but must not change it otherwise
 * @param {RegExp | null} special finds special tokens
 * @returns {string[]}
 */
export function textPieces(messages, render, special) {
  const mark = unusedCharacter(messages);
  const parts = render(messages.map(({ role, content }) => ({ role, content: enclose(content, mark) }))).split(mark);
  const text = parts.join("");
  if (!special) return [text];
  const bounds = messageBounds(parts);
  const cuts = [0];
  for (let position = 0; ;) {
    special.lastIndex = position;
    const match = special.exec(text);
    if (!match) break;
    const start = match.index;
    const end = start + match[0].length;
    const message = bounds.find((bound) => bound.start < end && start < bound.end);
    if (message) cuts.push(Math.max(start + firstCharacter(match[0]).length, message.start));
    position = message ? /** @type {number} */ (cuts.at(-1)) : end;
  }
  return cuts.map((cut, index) => text.slice(cut, cuts[index + 1]));
}

/** @param {string} text */
function firstCharacter(text) {
  return String.fromCodePoint(/** @type {number} */ (text.codePointAt(0)));
}

/** @param {Message[]} messages @returns {string} a character that occurs in none of them */
function unusedCharacter(messages) {
  let code = PRIVATE_USE_START;
  while (messages.some(({ content }) => content.includes(String.fromCodePoint(code)))) code += 1;
  return String.fromCodePoint(code);
}

/** @param {string} content @param {string} mark @returns {string} with marks around its text, without the space around it */
function enclose(content, mark) {
  const text = content.trim();
  const start = content.indexOf(text);
  return content.slice(0, start) + mark + text + mark + content.slice(start + text.length);
}

/**
 * Start and end of every second part in the joined text: chat format and message text alternate.
 *
 * @param {string[]} parts
 */
function messageBounds(parts) {
  const bounds = [];
  let start = 0;
  for (const [index, part] of parts.entries()) {
    if (index % 2) bounds.push({ start, end: start + part.length });
    start += part.length;
  }
  return bounds;
}

/** Encodes conversations in a package's own chat template. */
export class ChatEncoder {
  /** @param {Tokenizer} tokenizer */
  constructor(tokenizer) {
    this.tokenizer = tokenizer;
    this.special = tokenPattern(tokenizer.all_special_tokens);
  }

  /**
   * Text of a conversation, in pieces to be tokenized one by one.
   *
   * @param {Message[]} messages
   * @param {boolean} addGenerationPrompt whether to end with the opening of the next answer
   * @returns {string[]}
   */
  pieces(messages, addGenerationPrompt) {
    const options = { add_generation_prompt: addGenerationPrompt, tokenize: /** @type {false} */ (false) };
    return textPieces(messages, (turns) => this.tokenizer.apply_chat_template(turns, options), this.special);
  }

  /** @param {string} piece @returns {number[]} token ids, none added at its beginning or end */
  encode(piece) {
    return this.tokenizer.encode(piece, { add_special_tokens: false }).map(Number);
  }
}
