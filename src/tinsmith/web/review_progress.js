/**
 * What a rater has done so far. It is kept in this browser, under the digest of the page's items.
 *
 * @typedef {{value: number, label: string, meaning: string, points: number}} Grade
 *
 * @typedef {"accuracy" | "factual" | "quality"} CriterionName
 *
 * @typedef {{name: CriterionName, title: string, question: string, grades: Grade[]}} Criterion
 *
 * @typedef {object} Item
 * @property {string} id
 * @property {string} system what the assistant was told before the question
 * @property {string} question
 * @property {string} reference the owner's answer
 * @property {{text: string, about: string}[]} facts of the reference
 * @property {{name: string, text: string}[]} replies under names that do not say whose they are
 *
 * @typedef {object} ReviewData what `tinsmith.assess.review_set` gives the page
 * @property {string} run
 * @property {string} set digest of the items
 * @property {string} code key of the signature, in hexadecimal
 * @property {number} min_items items that have to be complete
 * @property {string[]} of
 * @property {string[]} groups
 * @property {number} count
 * @property {Criterion[]} criteria
 * @property {Item[]} items
 *
 * @typedef {{name: string, accuracy: number | null, factual: number | null, quality: number | null}} ReviewedReply
 *
 * @typedef {{text: string, is_confirmed: boolean | null, forbidden: string[]}} ReviewedFact
 *
 * @typedef {object} ReviewedItem
 * @property {string} id
 * @property {boolean} isRevealed whether the rater has seen the reference answer
 * @property {boolean} isDone
 * @property {ReviewedReply[]} replies in the order shown
 * @property {ReviewedFact[]} facts
 *
 * @typedef {object} Progress
 * @property {{name: string, is_author: boolean}} rater
 * @property {string} startedAt
 * @property {ReviewedItem[]} items in the order shown
 */

/** @param {string} name @returns {string} the same for two spellings of a name */
function raterKey(name) {
  return name.trim().split(/\s+/).join(" ").toLowerCase();
}

/**
 * @template T
 * @param {T[]} things
 * @returns {T[]} in a random order
 */
function shuffled(things) {
  const keys = crypto.getRandomValues(new Uint32Array(things.length));
  return things
    .map((thing, index) => ({ thing, key: keys[index] }))
    .sort((one, other) => one.key - other.key)
    .map(({ thing }) => thing);
}

/** @param {ReviewData} data @param {{name: string, is_author: boolean}} rater @returns {Progress} with nothing done */
export function newProgress(data, rater) {
  const items = shuffled(data.items).map(({ id, replies, facts }) => ({
    id,
    isRevealed: false,
    isDone: false,
    replies: shuffled(replies).map(({ name }) => ({ name, quality: null, accuracy: null, factual: null })),
    facts: facts.map(({ text }) => ({ text, is_confirmed: null, forbidden: [] })),
  }));
  return { rater, startedAt: new Date().toISOString(), items };
}

/** @param {Progress} progress @returns {number} complete items */
export function doneCount(progress) {
  return progress.items.filter((item) => item.isDone).length;
}

/** Reviews of this page's items in the browser's storage. */
export class Kept {
  #prefix;

  /** @param {string} set digest of the items */
  constructor(set) {
    this.#prefix = `tinsmith-review:${set}:`;
  }

  /** @param {Progress} progress @returns {boolean} whether the browser keeps it */
  save(progress) {
    try {
      localStorage.setItem(this.#prefix + raterKey(progress.rater.name), JSON.stringify(progress));
      return true;
    } catch {
      return false; // no storage for files, or it is full; the page says so
    }
  }

  /** @param {string} name @returns {Progress | null} what a rater has done so far */
  find(name) {
    return this.all().find((progress) => raterKey(progress.rater.name) === raterKey(name)) ?? null;
  }

  /** @returns {Progress[]} */
  all() {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.#prefix));
      return keys.sort().map((key) => JSON.parse(localStorage.getItem(key) ?? ""));
    } catch {
      return [];
    }
  }
}

/**
 * @param {ReviewData} data
 * @param {Progress} progress
 * @returns {Promise<{name: string, content: string}>} the file of all complete items, signed with the page's code
 */
export async function signedReview(data, progress) {
  const review = {
    run: data.run,
    set: data.set,
    of: data.of,
    groups: data.groups,
    count: data.count,
    rater: progress.rater,
    started_at: progress.startedAt,
    saved_at: new Date().toISOString(),
    items: progress.items.filter((item) => item.isDone).map(({ id, replies, facts }) => ({ id, replies, facts })),
  };
  const code = data.code.match(/../g) ?? [];
  const key = Uint8Array.from(code, (byte) => parseInt(byte, 16));
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const secret = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  const digest = await crypto.subtle.sign("HMAC", secret, new TextEncoder().encode(JSON.stringify(review)));
  const signature = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const slug = raterKey(progress.rater.name).replace(/[^\p{L}\p{N}]+/gu, "-");
  return {
    name: `review-${slug.replace(/^-|-$/g, "") || "rater"}.json`,
    content: `${JSON.stringify({ ...review, signature }, null, 1)}\n`,
  };
}
