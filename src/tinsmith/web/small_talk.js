/**
 * Recognises greetings, thanks, goodbyes and questions about the page itself, in the languages of its phrases.
 *
 * A message is small talk only if listed phrases cover all of its words, so a question never is.
 * `tinsmith.model.answers.small_talk` does the same in Python with the same file, small_talk.json.
 *
 * @typedef {"about" | "goodbye" | "thanks" | "hello"} Kind
 */

/** Phrases that may stand beside others, such as "so much". */
const FILLER = "filler";

/** Kinds that a message with a question mark never has: "OK, and again?" is a follow-up. */
const NO_QUESTIONS = ["goodbye", "thanks"];

/** The phrases of small_talk.json. */
export class SmallTalk {
  /** Words of each phrase -> its kind. @type {Map<string, string>} */
  #kinds = new Map();

  /** Words of the longest phrase. */
  #longest = 0;

  /** @param {Record<string, Record<string, string[]>>} phrases by kind and language. The first kind in a message counts */
  constructor(phrases) {
    this.order = Object.keys(phrases).filter((kind) => kind !== FILLER);
    for (const [kind, languages] of Object.entries(phrases)) {
      for (const words of Object.values(languages).flat().map(wordsOf)) {
        const phrase = words.join(" ");
        if (!this.#kinds.has(phrase)) this.#kinds.set(phrase, kind);
        this.#longest = Math.max(this.#longest, words.length);
      }
    }
  }

  /** @param {string} message @returns {Kind | null} null if it is anything else */
  kindOf(message) {
    const words = wordsOf(message);
    const present = new Set();
    for (let start = 0; start < words.length;) {
      let end = Math.min(words.length, start + this.#longest);
      while (end > start && !this.#kinds.has(words.slice(start, end).join(" "))) end -= 1;
      if (end === start) return null;
      present.add(this.#kinds.get(words.slice(start, end).join(" ")));
      start = end;
    }
    const kind = /** @type {Kind | undefined} */ (this.order.find((one) => present.has(one))) ?? null;
    return message.includes("?") && NO_QUESTIONS.includes(kind ?? "") ? null : kind;
  }
}

/** @param {string} text @returns {string[]} words in lower case, without accents and apostrophes; "hiii" is "hi" */
function wordsOf(text) {
  const letters = text
    .replace(/['’‘`´]/g, "")
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .toLowerCase();
  return letters.replace(/(.)\1{2,}/gu, "$1").match(/[\p{L}\p{N}]+/gu) ?? [];
}
